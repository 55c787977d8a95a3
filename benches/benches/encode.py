"""ONNX Runtime beside ours: builds an encoder's graph from its Hugging Face folder and answers each line with the CPU seconds of one run of one
thread. Arguments: folder, f32 or int8 (products quantized as ONNX Runtime's own tool does it), texts, tokens a text."""
import json
import os
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort


def graph(folder, length):
    """Matrix products, fused LayerNormalization and Gelu: what exporters write at best. With a masked-language head, the vector of each text."""
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    w = {name.removeprefix("bert."): tensor for name, tensor in load_file(folder + "/model.safetensors").items()}
    w = {name.replace(".gamma", ".weight").replace(".beta", ".bias"): tensor for name, tensor in w.items()}
    with open(folder + "/config.json") as file:
        config = json.load(file)
    heads, layers, width = (config[k] for k in ("num_attention_heads", "num_hidden_layers", "hidden_size"))
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def product(x, name, matrix, bias):
        return node("Add", [node("MatMul", [x, constant(name + ".w", matrix.T)]), constant(name + ".b", bias)])

    def linear(x, name):
        return product(x, name, w[name + ".weight"], w[name + ".bias"])

    def norm(x, name):
        parts = [constant(name + ".g", w[name + ".weight"]), constant(name + ".b", w[name + ".bias"])]
        return node("LayerNormalization", [x, *parts], axis=-1, epsilon=config["layer_norm_eps"])

    table = w["embeddings.word_embeddings.weight"]
    places = w["embeddings.position_embeddings.weight"][:length] + w["embeddings.token_type_embeddings.weight"][0]
    words = node("Gather", [constant("words", table), "ids"])
    x = norm(node("Add", [words, constant("places", places[None])]), "embeddings.LayerNorm")
    split = constant("split", np.array([0, 0, heads, width // heads], np.int64))
    join = constant("join", np.array([0, 0, width], np.int64))
    scale = constant("scale", np.float32((width // heads) ** -0.5))
    for layer in range(layers):
        part = f"encoder.layer.{layer}."
        q, k, v = (node("Reshape", [linear(x, part + "attention.self." + c), split]) for c in ("query", "key", "value"))
        q, k, v = (node("Transpose", [t], perm=p) for t, p in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])))
        weights = node("Softmax", [node("Mul", [node("MatMul", [q, k]), scale])], axis=-1)
        seen = node("Reshape", [node("Transpose", [node("MatMul", [weights, v])], perm=[0, 2, 1, 3]), join])
        x = norm(node("Add", [linear(seen, part + "attention.output.dense"), x]), part + "attention.output.LayerNorm")
        inner = node("Gelu", [linear(x, part + "intermediate.dense")], approximate="none")
        x = norm(node("Add", [linear(inner, part + "output.dense"), x]), part + "output.LayerNorm")
    if "cls.predictions.bias" in w:
        head = "cls.predictions.transform."
        x = norm(node("Gelu", [linear(x, head + "dense")], approximate="none"), head + "LayerNorm")
        best = node("ReduceMax", [product(x, "cls", table, w["cls.predictions.bias"]), constant("axes", np.array([1], np.int64))], keepdims=0)
        x = node("Log", [node("Add", [node("Relu", [best]), constant("one", np.float32(1))])])
    nodes.append(helper.make_node("Identity", [x], ["out"]))
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["texts", length])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    whole = helper.make_graph(nodes, "encoder", inputs, outputs, constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def int8(model):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "int8.onnx")
        quantize_dynamic(model, path, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
        with open(path, "rb") as file:
            return file.read()


def main():
    folder, kind, texts, length = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    model = graph(folder, length)
    session = ort.InferenceSession(int8(model) if kind == "int8" else model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ids = np.array([[(1000 + 7 * i + 13 * t) % 30000 for i in range(length)] for t in range(texts)], np.int64)
    for _ in sys.stdin:
        start = time.process_time()
        out = session.run(None, {"ids": ids})[0]
        print(time.process_time() - start, float(out.sum()), flush=True)


main()
