"""The reference's iteration with torch and with numpy from Python: a second peer, on the same rows or, without a file of
them, on normal ones of the same shape (its time depends on the shape alone).

usage: reference.py WIDTH ROWS RANK [RAW_FLOAT32_ROWS]   prints one line of JSON with seconds an iteration
"""
import json
import sys
import time

import numpy as np

RIDGE, DENSITY, REPEATS = 1e-4, 0.01, 5


def iterate_numpy(a, g):
    eye = np.eye(g.shape[1], dtype=np.float32)
    f = (a @ g) @ np.linalg.inv(g.T @ g + RIDGE * eye)
    scale = np.maximum(np.linalg.norm(g, axis=0), 1e-8)
    g, f = g / scale, f * scale
    g = (a.T @ f) @ np.linalg.inv(f.T @ f + RIDGE * eye)
    kept = max(1, -int(-DENSITY * len(g) // 1))
    places = np.argpartition(-np.abs(g), kept - 1, axis=0)[:kept]
    sparse = np.zeros_like(g)
    np.put_along_axis(sparse, places, np.take_along_axis(g, places, 0), 0)
    return sparse, float(((a - f @ sparse.T) ** 2).sum())


def iterate_torch(torch, a, g):
    eye = torch.eye(g.shape[1])
    f = (a @ g) @ torch.linalg.inv(g.T @ g + RIDGE * eye)
    scale = g.norm(dim=0).clamp_min(1e-8)
    g, f = g / scale, f * scale
    g = (a.T @ f) @ torch.linalg.inv(f.T @ f + RIDGE * eye)
    kept = max(1, -int(-DENSITY * len(g) // 1))
    places = g.abs().topk(kept, dim=0).indices
    sparse = torch.zeros_like(g).scatter(0, places, g.gather(0, places))
    return sparse, ((a - f @ sparse.T) ** 2).sum().item()


def seconds(step, a, g):
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        g, _ = step(a, g)
        times.append(time.perf_counter() - start)
    return sorted(times)[REPEATS // 2]


def main(width, rows, rank, raw=None):
    random = np.random.default_rng(1)
    a = (np.fromfile(raw, np.float32, rows * width).reshape(rows, width) if raw
         else random.standard_normal((rows, width), dtype=np.float32)).T.copy()
    g = random.standard_normal((rows, rank), dtype=np.float32)
    out = {"case": "python", "width": width, "rows": rows, "rank": rank, "numpy_s": seconds(iterate_numpy, a, g)}
    try:
        import torch
        out["torch_s"] = seconds(lambda x, y: iterate_torch(torch, x, y), torch.from_numpy(a), torch.from_numpy(g))
    except ImportError:
        pass
    print(json.dumps(out))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), *sys.argv[4:])
