"""Packs seeded matrices with the packing code of auto-gptq, autoawq and compressed-tensors.

For each case a file NAME.safetensors in the folder of argument 1: the tensors of a matrix `m`, and `want`, the weights by the package's own
decoder. A line `NAME CONFIG` on the output, with the object that a `config.json` has under `quantization_config`.
"""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import torch
from compressed_tensors import __version__
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.torch import save_file

OUT, IN = 64, 96
torch.manual_seed(1)


def stand_in(name, *folders):
    """A module that has whatever is asked of it, and finds those below it in `folders`."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder) for folder in folders]
    module.__getattr__ = lambda attribute: type(attribute, (), {})
    sys.modules[name] = module


# The packages' own `__init__` load much that packing does without.
for package, below in (("auto_gptq", ("nn_modules", "nn_modules.qlinear")), ("awq", ("modules", "modules.linear"))):
    folder = Path(importlib.util.find_spec(package).submodule_search_locations[0])
    stand_in(package, folder)
    for name in below:
        stand_in(f"{package}.{name}", folder.joinpath(*name.split(".")))


def grid(bits, group, symmetric, g_idx=None):
    """Weights that are exactly on a grid, its scales `[groups, outputs]` and its zero points: from 1, as the packages cannot pack 0."""
    groups = IN // group
    g_idx = torch.arange(IN) // group if g_idx is None else g_idx
    codes = torch.randint(0, 2**bits, (OUT, IN))
    scales = (0.25 + torch.rand(groups, OUT)).half().float()
    middle = torch.full((groups, OUT), 2 ** (bits - 1))
    zeros = middle if symmetric else torch.randint(1, 2**bits, (groups, OUT))
    weights = scales.T[:, g_idx] * (codes - zeros.T[:, g_idx])
    return weights, scales, zeros


def linear(weights):
    layer = torch.nn.Linear(IN, OUT, bias=False)
    layer.weight.data = weights.clone()
    return layer


def keep(name, tensors, want, config):
    tensors = {f"m.{part}": tensor.detach().contiguous() for part, tensor in tensors.items()}
    save_file({**tensors, "want": want.detach().float().contiguous()}, Path(sys.argv[1]) / f"{name}.safetensors")
    print(name, json.dumps(config))


def gptq():
    layer = importlib.import_module("auto_gptq.nn_modules.qlinear.qlinear_cuda").QuantLinear
    for bits in (2, 3, 4, 8):
        for group, symmetric, act in ((32, True, False), (32, False, False), (-1, False, False), (32, False, True)):
            size = IN if group == -1 else group
            g_idx = torch.randperm(IN) // size if act else None
            weights, scales, zeros = grid(bits, size, symmetric, g_idx)
            packed = layer(bits, group, IN, OUT, False, weight_dtype=torch.float32)
            packed.pack(linear(weights), scales.T.clone(), zeros.T.clone().float(), g_idx)
            packed.g_idx = packed.g_idx.int()
            want = packed(torch.eye(IN)).T
            tensors = {"qweight": packed.qweight, "qzeros": packed.qzeros, "scales": packed.scales.half(), "g_idx": packed.g_idx}
            config = {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric, "desc_act": act}
            keep(f"gptq-{bits}-g{group}-{'sym' if symmetric else 'asym'}{'-act' if act else ''}", tensors, want, config)


def awq():
    layer = importlib.import_module("awq.modules.linear.gemm").WQLinear_GEMM
    decode = importlib.import_module("awq.utils.packing_utils").dequantize_gemm
    for group in (32, 96):
        weights, scales, zeros = grid(4, group, False)
        packed = layer.from_linear(linear(weights), 4, group, scales=scales, zeros=zeros)
        want = decode(packed.qweight, packed.qzeros, packed.scales.float(), 4, group).T
        tensors = {"qweight": packed.qweight, "qzeros": packed.qzeros, "scales": packed.scales}
        config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
        keep(f"awq-4-g{group}", tensors, want, config)


def compressed():
    for form, widths in (("pack-quantized", (2, 3, 4, 8)), ("int-quantized", (8,))):
        compressor = BaseCompressor.get_value_from_registry(form)
        for bits in widths:
            for group, symmetric in ((32, True), (32, False), (None, True), (None, False)):
                strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
                args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, **strategy)
                scheme = QuantizationScheme(targets=["Linear"], weights=args)
                weights, scales, zeros = grid(bits, group or IN, symmetric)
                state = {"weight": weights, "weight_scale": scales.T.contiguous()}
                state["weight_zero_point"] = (zeros.T - 2 ** (bits - 1)).to(torch.int8).contiguous()
                tensors = compressor.compress(state, scheme)
                want = compressor.decompress(tensors, scheme)["weight"]
                tensors["weight_scale"] = tensors["weight_scale"].half()
                weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, **strategy}
                config = {"quant_method": "compressed-tensors", "format": form, "version": __version__}
                config["config_groups"] = {"group_0": {"targets": ["Linear"], "weights": weights}}
                keep(f"{form}-{bits}-{'g' + str(group) if group else 'channel'}-{'sym' if symmetric else 'asym'}", tensors, want, config)


gptq()
awq()
compressed()
