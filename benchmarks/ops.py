"""Time and memory of nearest neighbours and farthest point sampling, for every backend here.

    python benchmarks/ops.py --sizes 1000 10000 100000 1000000 --threads 2

prints three markdown tables: 16 nearest neighbours of every point, farthest point sampling of a
quarter of the points (at most 25,000), and what one classifier of 1,024 points asks for. Times are
the least of the repeats in one process, with the spread to the median; `x reference` is the
reference's time over this one. Where the reference would take minutes, it is timed on a part of the
rows (marked ~) and scaled. Memory is the growth of the peak resident size in a process of its own.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pcinv.ops import farthest_point_sample, knn

K = 16
MAX_SAMPLES = 25_000
SLOW_PAIRS = 4e8
"""The reference is timed on as many rows as make this many pairs."""
MODEL = ((1024, 1024, 8), (512, 1024, 16), (256, 512, 32), (128, 256, 64))
Run = Callable[[torch.Tensor], np.ndarray]


def sphere(count: int, batch: int = 1) -> torch.Tensor:
    """Points on the unit sphere, (batch, count, 3) float32: surfaces are what scans hold."""
    xyz = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(0))
    return xyz / xyz.norm(dim=-1, keepdim=True)


def samples(count: int) -> int:
    return min(count // 4, MAX_SAMPLES)


def ours_knn(backend: str) -> Run:
    return lambda xyz: knn(xyz, xyz, K, backend=backend).index[0].numpy()


def ours_fps(backend: str) -> Run:
    def run(xyz: torch.Tensor) -> np.ndarray:
        return farthest_point_sample(xyz, samples(xyz.shape[1]), backend=backend)[0].numpy()

    return run


def pykdtree(xyz: torch.Tensor) -> np.ndarray:
    from pykdtree.kdtree import KDTree

    points = xyz[0].double().numpy()
    return KDTree(points).query(points, K)[1]


def open3d(dtype: type) -> Run:
    def run(xyz: torch.Tensor) -> np.ndarray:
        import ctypes

        import libusb_package  # open3d wants this library, which few machines have

        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        import open3d.core as core

        points = core.Tensor(xyz[0].numpy().astype(dtype))
        search = core.nns.NearestNeighborSearch(points)
        search.knn_index()
        return search.knn_search(points, K)[0].numpy()

    return run


def start(xyz: torch.Tensor) -> int:
    return int((xyz[0] - xyz[0].mean(0)).norm(dim=1).argmax())


def fpsample(xyz: torch.Tensor) -> np.ndarray:
    import fpsample as package

    height = min(9, max(3, int(np.log2(xyz.shape[1])) - 7))
    return package.bucket_fps_kdline_sampling(
        xyz[0].numpy(), samples(xyz.shape[1]), h=height, start_idx=start(xyz))


KNN: dict[str, Run] = {
    "reference": ours_knn("reference"),
    "scipy (default)": ours_knn("scipy"),
    "cluster": ours_knn("cluster"),
    "candidate: pykdtree": pykdtree,
    "candidate: open3d float64": open3d(np.float64),
    "candidate: open3d float32": open3d(np.float32),
}
FPS: dict[str, Run] = {
    "reference": ours_fps("reference"),
    "numba (default)": ours_fps("numba"),
    "quickfps": ours_fps("quickfps"),
    "cluster": ours_fps("cluster"),
    "candidate: fpsample": fpsample,
}
DEFAULT = {"knn": "scipy (default)", "fps": "numba (default)"}
TABLES = {"knn": KNN, "fps": FPS}


def timed(run: Callable[[], object], repeats: int, limit: float = 10.0) -> tuple[float, float]:
    """Return the least and the median milliseconds."""
    times: list[float] = []
    while len(times) < repeats and (not times or sum(times) < limit):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3, statistics.median(times) * 1e3


def reference_time(operation: str, xyz: torch.Tensor, repeats: int) -> tuple[float, str]:
    """Return the milliseconds of the reference, scaled from a part where the whole is too slow."""
    count = xyz.shape[1]
    whole = count if operation == "knn" else samples(count)
    part = max(1, min(whole, int(SLOW_PAIRS / count)))
    if operation == "knn":
        least, _ = timed(lambda: knn(xyz[:, :part], xyz, K, backend="reference"), repeats)
    else:
        least, _ = timed(lambda: farthest_point_sample(xyz, part, backend="reference"), repeats)
    return least * whole / part, "~" if part < whole else ""


def peak() -> int:
    """Return the peak resident kilobytes of this program (ru_maxrss begins with the parent's)."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def memory(operation: str, name: str, count: int) -> str:
    """Return the growth of the peak resident size in MiB, measured in a child."""
    command = [sys.executable, __file__, "--measure", operation, name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "?"


def measure(operation: str, name: str, count: int) -> None:
    """Print the growth of this process's peak (the child's side of `memory`)."""
    run = TABLES[operation][name]
    run(sphere(100))  # imports
    xyz = sphere(count)
    before = peak()
    if name == "reference":  # as many rows as are timed; its chunks are of one size anyway
        part = max(1, int(SLOW_PAIRS / count))
        if operation == "knn":
            knn(xyz[:, :part], xyz, K, backend=name)
        else:
            farthest_point_sample(xyz, min(part, samples(count)), backend=name)
    else:
        run(xyz)
    print((peak() - before) // 1024)


def agreement(operation: str, theirs: np.ndarray, exact: np.ndarray) -> str:
    """Return how much of the exact answer a backend gives: rows as sets, or leading samples."""
    if operation == "knn":
        same = (np.sort(theirs.astype(np.int64), 1) == np.sort(exact, 1)).all(1)
        return f"{100 * same.mean():.2f} % of sets"
    differ = np.flatnonzero(theirs.astype(np.int64) != exact)
    return "all" if not len(differ) else f"first {differ[0]} of {len(exact)}"


def table(operation: str, sizes: list[int], repeats: int) -> None:
    """Print one table, one row for each size and backend."""
    print("| points | backend | ms (least) | median / least | x reference | peak MiB "
          "| as the default |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | --- |")
    for count in sizes:
        xyz = sphere(count)
        slow, approximate = reference_time(operation, xyz, min(repeats, 3))
        print(f"| {count:,} | reference | {approximate}{slow:,.1f} | | 1 | "
              f"{memory(operation, 'reference', count)} | |", flush=True)
        exact = TABLES[operation][DEFAULT[operation]](xyz)
        for name, run in TABLES[operation].items():
            if name == "reference":
                continue
            try:
                answer = run(xyz)
            except Exception as error:  # noqa: BLE001  # a row that says why there is no figure
                reason = getattr(error, "message", str(error)).split(",")[0]
                print(f"| {count:,} | {name} | not measured: {reason} | | | | |", flush=True)
                continue
            least, median = timed(lambda run=run, xyz=xyz: run(xyz), repeats)
            print(f"| {count:,} | {name} | {least:,.2f} | {median / least:.2f} | "
                  f"{approximate}{slow / least:,.1f} | {memory(operation, name, count)} | "
                  f"{agreement(operation, answer, exact)} |", flush=True)


def model_table(repeats: int) -> None:
    """Print what a classifier of 1,024 points needs of a batch, in ms for each cloud."""
    print("| batch | FPS 512 of 1024 | " + " | ".join(
        f"kNN {m} in {n}, k = {k}" for m, n, k in MODEL) + " | together |")
    print("| ---: |" + " ---: |" * (len(MODEL) + 2))
    for batch in (1, 8, 32):
        xyz = sphere(1024, batch)
        jobs = [lambda xyz=xyz: farthest_point_sample(xyz, 512)]
        jobs += [lambda m=m, n=n, k=k, xyz=xyz: knn(xyz[:, :m], xyz[:, :n], k) for m, n, k in MODEL]
        each = [timed(job, 10 * repeats)[0] / batch for job in jobs]
        cells = " | ".join(f"{t:.2f}" for t in [*each, sum(each)])
        print(f"| {batch} | {cells} |", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):  # read once, at the start
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, least of up to "
          f"{options.repeats} runs, script {Path(__file__).name}\n")
    print(f"### {K} nearest neighbours of every point\n")
    table("knn", options.sizes, options.repeats)
    print(f"\n### Farthest point sampling, a quarter of the points (at most {MAX_SAMPLES:,})\n")
    table("fps", options.sizes, options.repeats)
    print("\n### One classifier of 1,024 points: ms a cloud\n")
    model_table(options.repeats)


if __name__ == "__main__":
    main()
