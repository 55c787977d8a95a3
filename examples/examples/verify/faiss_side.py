"""FAISS's side of the check: `make` builds and searches indexes of all kinds, `search` searches the files that it is given."""

import sys
from pathlib import Path

import faiss
import numpy as np

faiss.omp_set_num_threads(1)
job, folder, dim, k = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
L2, IP = faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT
SQ = faiss.ScalarQuantizer


def numbers(name):
    return np.fromfile(folder / name, "<f4").reshape(-1, dim)


def found(name, index, q, k):
    scores, ids = index.search(q, k)
    scores.astype("<f4").tofile(folder / f"{name}.scores")
    ids.astype("<i8").tofile(folder / f"{name}.ids")


if job == "search":
    q = numbers("queries")
    for file in sorted(folder.glob("*.ours")):
        found(file.stem, faiss.read_index(str(file)), q, k)
    sys.exit()

x, q = numbers("base"), numbers("queries")
n = len(x)
own_ids = np.arange(n, dtype="int64") * 7 + 1000


def save(name, index, reference=None, k=k):
    faiss.write_index(index, str(folder / f"{name}.theirs"))
    found(name, index if reference is None else reference, q, k)


def built(index, add=x, ids=None):
    if not index.is_trained:
        index.train(x)
    index.add(add) if ids is None else index.add_with_ids(add, ids)
    return index


def factory(text, metric=L2, ids=None):
    return built(faiss.index_factory(dim, text, metric), ids=ids)


def opq(index, ids=None):
    rotation = faiss.OPQMatrix(dim, 8)
    rotation.niter = rotation.niter_pq = rotation.niter_pq_0 = 4
    index = faiss.IndexPreTransform(rotation, index)
    return built(index if ids is None else faiss.IndexIDMap(index), ids=ids)


def probing(index, nprobe):
    index.nprobe = nprobe
    return index


def coarse(metric):
    return faiss.IndexFlatL2(dim) if metric == L2 else faiss.IndexFlatIP(dim)


def copied(source, target):
    faiss.copy_array_to_vector(faiss.vector_to_array(source), target)


for metric, m in [(L2, "l2"), (IP, "ip")]:
    save(f"flat-{m}", factory("Flat", metric))
    for text in ["PQ8x8np", "PQ8x4np", "PQ3x4np", "PQ24x8np"]:
        save(f"{text}-{m}", factory(text, metric))
    for text in ["SQ8", "SQ6", "SQ4", "SQfp16", "SQbf16"]:
        save(f"{text}-{m}", factory(text, metric))
    for kind in ["8bit_uniform", "4bit_uniform"]:
        save(f"SQ-{kind}-{m}", built(faiss.IndexScalarQuantizer(dim, getattr(SQ, f"QT_{kind}"), metric)))
    for kind, low in [("8bit_direct", 0), ("8bit_direct_signed", -128)]:
        bytes_ = np.clip(np.round(x * 20) + low + 128, low, low + 255).astype("float32")
        save(f"SQ-{kind}-{m}", built(faiss.IndexScalarQuantizer(dim, getattr(SQ, f"QT_{kind}"), metric), bytes_))
    save(f"IVF16-flat-{m}", probing(factory("IVF16,Flat", metric), 3))
    for residual in [True, False]:
        r = "residual" if residual else "direct"
        for bits in [4, 8]:
            index = faiss.IndexIVFPQ(coarse(metric), dim, 16, 8, bits, metric)
            index.by_residual = residual
            save(f"IVF16-PQ8x{bits}-{r}-{m}", probing(built(index), 4))
        for kind in ["8bit", "6bit", "4bit", "fp16"]:
            index = faiss.IndexIVFScalarQuantizer(coarse(metric), dim, 16, getattr(SQ, f"QT_{kind}"), metric, residual)
            save(f"IVF16-SQ-{kind}-{r}-{m}", probing(built(index), 4))
    one = faiss.IndexIVFPQ(coarse(metric), dim, 1, 8, 8, metric)
    save(f"IVF1-PQ8-residual-{m}", built(one))
    # Fast scans round their tables: the neighbours are those of the same codes without them.
    for text in ["PQ8x4", "PQ3x4"]:
        fast = factory(text + "fs", metric)
        plain = faiss.IndexPQ(dim, fast.pq.M, 4, metric)
        copied(fast.pq.centroids, plain.pq.centroids)
        plain.is_trained = True
        plain.add(x)
        save(f"{text}fs-{m}", fast, plain)
    for text in ["fs", "fsr"]:
        fast = factory("IVF16,PQ8x4" + text, metric)
        plain = faiss.IndexIVFPQ(fast.quantizer, dim, 16, 8, 4, metric)
        plain.by_residual = fast.by_residual
        copied(fast.pq.centroids, plain.pq.centroids)
        plain.is_trained = True
        plain.add(x)
        fast.nprobe = plain.nprobe = 5
        if fast.by_residual:
            plain.precompute_table()
        save(f"IVF16-PQ8x4{text}-{m}", fast, plain)
    # Their second stage skips what an error bound rules out, so that only all neighbours are the same; queries are not quantized.
    for bits in [1, 2, 4, 8]:
        index = faiss.IndexRaBitQ(dim, metric, bits)
        index.qb = 0
        save(f"RaBitQ{bits}-{m}", built(index), k=n)
        index = faiss.IndexIVFRaBitQ(coarse(metric), dim, 16, metric, True, bits)
        index.qb = 0
        save(f"IVF16-RaBitQ{bits}-{m}", probing(built(index), 16), k=n)
    save(f"OPQ8-PQ8x4-{m}", opq(faiss.IndexPQ(dim, 8, 4, metric)))
    save(f"OPQ8-IVF16-PQ8-{m}", opq(faiss.index_factory(dim, "IVF16,PQ8np", metric)))
    save(f"RR-SQ8-{m}", factory(f"RR{dim},SQ8", metric))
    save(f"PCA-flat-{m}", factory(f"PCA{dim},Flat", metric))
    save(f"PCAR-IVF16-SQ8-{m}", factory(f"PCAR{dim},IVF16,SQ8", metric))
    save(f"centred-PQ8-{m}", built(faiss.IndexPreTransform(faiss.CenteringTransform(dim), faiss.IndexPQ(dim, 8, 8, metric))))
    save(f"IDMap-PQ8-{m}", factory("IDMap,PQ8np", metric, own_ids))
    save(f"IDMap2-flat-{m}", factory("IDMap2,Flat", metric, own_ids))
    save(f"IVF16-flat-ids-{m}", factory("IVF16,Flat", metric, own_ids))
    save(f"IDMap-OPQ8-PQ8-{m}", opq(faiss.IndexPQ(dim, 8, 8, metric), own_ids))
    refined = factory("PQ8np,RFlat", metric)
    refined.k_factor = 4
    save(f"refined-PQ8-{m}", refined)
    refined = built(faiss.IndexIDMap(faiss.index_factory(dim, "IVF16,SQ4,RFlat", metric)), ids=own_ids)
    faiss.downcast_index(refined.index).k_factor = 3
    save(f"IDMap-refined-IVF16-SQ4-{m}", refined)
save("L2norm-PQ8-ip", factory("L2norm,PQ8np", IP))
save("L2norm-flat-ip", factory("L2norm,Flat", IP))

sparse = faiss.IndexIVFFlat(coarse(L2), dim, 40)
sparse.train(x)
sparse.add(x[:12])
save("IVF40-sparse-l2", probing(sparse, 40), k=12)
for kind in [faiss.DirectMap.Array, faiss.DirectMap.Hashtable]:
    index = factory("IVF16,Flat")
    index.set_direct_map_type(kind)
    save(f"IVF16-map{kind}-l2", index)

bits = (x > 0).astype("uint8")
packed = np.packbits(bits, axis=1, bitorder="little")
packed.tofile(folder / "bits")
binary = faiss.IndexBinaryFlat(dim)
lists = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(dim), dim, 8)
lists.train(packed)
lists.add(packed)
binary.add(packed)
named = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(dim))
named.add_with_ids(packed, np.arange(n, dtype="int64")[::-1].copy())
for name, index in [("flat", binary), ("ivf", lists), ("map", named)]:
    faiss.write_index_binary(index, str(folder / f"{name}.bits"))

for name, index in [
    ("untrained", faiss.IndexPQ(dim, 8, 8)),
    ("PQ8x6", factory("PQ8x6np")),
    ("hnsw", factory("HNSW8")),
    ("l1", built(faiss.IndexFlat(dim, faiss.METRIC_L1))),
    ("turboquant", built(faiss.IndexScalarQuantizer(dim, SQ.QT_4bit_tqmse, L2))),
    ("coarse-metric", built(faiss.IndexIVFFlat(coarse(L2), dim, 4, IP))),
    ("coarse-hnsw", factory("IVF4_HNSW8,Flat")),
    ("pca-fewer", factory("PCA12,Flat")),
    ("L2norm-l2", factory("L2norm,Flat")),
    ("refined-SQ8", factory("PQ8np,Refine(SQ8)")),
]:
    faiss.write_index(index, str(folder / f"{name}.refused"))
