"""Writes every tensor of a GGUF file as float32: a line `name count`, then the numbers, little-endian."""

import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

out = sys.stdout.buffer
for tensor in GGUFReader(sys.argv[1]).tensors:
    values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype="<f4").ravel()
    out.write(f"{tensor.name} {values.size}\n".encode())
    out.write(values.tobytes())
