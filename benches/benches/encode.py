"""ONNX Runtime beside ours: builds MiniLM's graph from its safetensors, or takes a model that is there, and answers each line with the CPU
seconds of one run of one thread. Arguments: folder of MiniLM or an .onnx file, texts, tokens a text."""
import sys
import time

import numpy as np
import onnxruntime as ort


def graph(folder, length):
    """Matrix products, fused LayerNormalization and Gelu: what exporters write at best."""
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    w = load_file(folder + "/model.safetensors")
    heads, layers, width = 12, 6, 384
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def linear(x, name):
        product = node("MatMul", [x, constant(name + ".w", w[name + ".weight"].T)])
        return node("Add", [product, constant(name + ".b", w[name + ".bias"])])

    def norm(x, name):
        parts = [constant(name + ".g", w[name + ".weight"]), constant(name + ".b", w[name + ".bias"])]
        return node("LayerNormalization", [x, *parts], axis=-1, epsilon=1e-12)

    places = w["embeddings.position_embeddings.weight"][:length] + w["embeddings.token_type_embeddings.weight"][0]
    words = node("Gather", [constant("words", w["embeddings.word_embeddings.weight"]), "ids"])
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
    nodes.append(helper.make_node("Identity", [x], ["states"]))
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["texts", length])]
    outputs = [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["texts", length, width])]
    whole = helper.make_graph(nodes, "minilm", inputs, outputs, constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def main():
    path, texts, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    model = path if path.endswith(".onnx") else graph(path, length)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    ids = np.array([[(1000 + 7 * i + 13 * t) % 30000 for i in range(length)] for t in range(texts)], np.int64)
    feed = {}
    for given in session.get_inputs():
        ones = "mask" in given.name
        feed[given.name] = ids if given.name in ("ids", "input_ids") else np.full_like(ids, int(ones))
    for _ in sys.stdin:
        start = time.process_time()
        out = session.run(None, feed)[0]
        print(time.process_time() - start, float(np.asarray(out).ravel()[0]), flush=True)


main()
