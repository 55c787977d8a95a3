"""Other indexes beside ours. Arguments: base and query files (raw f32), dimensions, l2 or ip, k. Each line asks: `build NAME` answers with the
CPU seconds of training and of adding and the bytes a vector takes; `batch` and `single N` with the CPU seconds of all, or N single, queries;
`found` with all ids."""
import os
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"
import faiss
import numpy as np

base_file, query_file, dim, metric, k = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
base, query = (np.fromfile(name, np.float32).reshape(-1, dim) for name in (base_file, query_file))
train = base[np.random.default_rng(1).permutation(len(base))[:65536]]
measure = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
faiss.omp_set_num_threads(1)
search = found = None


def size(write, index):
    with tempfile.TemporaryDirectory() as folder:
        write(index, folder + "/index")
        return os.path.getsize(folder + "/index") / len(base)


for line in sys.stdin:
    ask = line.split()
    start = time.process_time()
    if ask[0] == "build":
        kind, _, nprobe = ask[1].partition("@")
        if kind.startswith("turbovec"):
            import turbovec

            index = turbovec.TurboQuantIndex(dim=dim, bit_width=int(kind[-1]))
            trained = time.process_time()
            index.add(base)
            index.prepare()
            added = time.process_time()
            search = lambda q: np.asarray(index.search(q, k)[1])
            size_of = size(lambda index, name: index.write(name), index)
        else:
            index = faiss.index_factory(dim, kind, measure)
            index.train(train)
            trained = time.process_time()
            index.add(base)
            added = time.process_time()
            if nprobe:
                faiss.extract_index_ivf(index).nprobe = int(nprobe)
            search = lambda q: index.search(q, k)[1]
            size_of = size(faiss.write_index, index)
        print(trained - start, added - trained, size_of, flush=True)
    elif ask[0] == "batch":
        found = search(query)
        print(time.process_time() - start, flush=True)
    elif ask[0] == "single":
        for i in range(int(ask[1])):
            search(query[i : i + 1])
        print(time.process_time() - start, flush=True)
    else:
        print(*found.ravel().tolist(), flush=True)
