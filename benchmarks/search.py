"""Time a search among many shapes, and how often a turned copy is found first.

    python benchmarks/search.py --weights RUN
    python benchmarks/search.py --weights RUN --shapes 430

Times are of one thread, medians of repeats with the least and the most. Vectors of many shapes are
made up: clusters, half of the numbers zero, as those of a network that ends in a ReLU.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from pcinv.engine.datasets import load_dataset
from pcinv.engine.embed import Embedder, embed
from pcinv.engine.loading import load_model
from pcinv.engine.nearest import Funnel, build_library, has_library, nearest, unit
from pcinv.engine.search import search
from pcinv.geometry.rotation import random_rotation
from pcinv.io import read_cloud, write
from pcinv.types import PointCloud

SAMPLES = Path(__file__).parents[1] / "data/samples"
WIDTH, CLUSTERS, QUERIES = 512, 400, 50
STAGES = ((16, 1000), (64, 200))


def made_up(count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 512) vectors in clusters, whose first numbers vary most."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(CLUSTERS, WIDTH)).astype(np.float32)
    noise = 0.8 * rng.normal(size=(count, WIDTH)).astype(np.float32)
    scale = (1 / np.sqrt(1 + np.arange(WIDTH) / 16)).astype(np.float32)
    return np.maximum(centres[rng.integers(0, CLUSTERS, count)] + noise, 0) * scale


def timed(work, repeats: int = 15) -> str:
    """Return the median, least and most milliseconds of a call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return f"{statistics.median(times):.3g} ms ({min(times):.3g} to {max(times):.3g})"


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the share of the exact matches that were found."""
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, exact, strict=True)]))


def vectors_of_shapes(weights: str, each: int) -> np.ndarray:
    """Return the vectors of so many generated shapes of each class, of 256 points."""
    network = load_model(weights).model
    shapes = load_dataset("shapes", split="train", num_points=256, seed=0, per_class=each,
                          val_fraction=0.0)
    found = []
    with torch.inference_mode():
        for start in range(0, len(shapes), 64):
            rows = range(start, min(start + 64, len(shapes)))
            xyz = torch.stack([torch.from_numpy(shapes[k].xyz) for k in rows])
            found.append(network.forward_features(xyz).global_)
    return torch.cat(found).numpy()


def time_queries(vectors: np.ndarray, queries: np.ndarray) -> None:
    """Print the time of a query, exact and not, and what the others miss of ten matches."""
    count, width = vectors.shape
    whole, asked = unit(vectors), unit(queries)
    exact = nearest(asked, whole, 10)[1]
    print(f"{count:,} shapes, {width} numbers")
    print(f"  exact              {timed(lambda: nearest(asked[:1], whole, 10))}")
    funnel = Funnel(vectors, STAGES)
    share = funnel.multiply_adds() / (count * width)
    print(f"  funnel {STAGES}  {timed(lambda: funnel.nearest(queries[:1], 10))}, recall at 10 "
          f"{recall(funnel.nearest(queries, 10)[1], exact):.3f}, multiply-adds {share:.3f}")
    if has_library():
        import faiss

        faiss.omp_set_num_threads(1)
        start = time.perf_counter()
        library = build_library(whole, np.arange(count))
        made = time.perf_counter() - start
        print(f"  faiss              {timed(lambda: library.search(asked[:1], 10))}, recall at 10 "
              f"{recall(library.search(asked, 10)[1], exact):.3f}, made in {made:.1f} s")


def time_files(weights: str) -> None:
    """Print the time of clouds that need not be read."""
    embedder = Embedder(weights, device="cpu")
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(1024, 3)) for _ in range(32)]
    work = timed(lambda: list(embedder.batches(clouds)), repeats=7)
    print(f"32 clouds of 1,024 points: {work}")


def find_copies(weights: str) -> None:
    """Search for turned, shifted, scaled and reordered copies of the samples and of shapes."""
    network, generator = load_model(weights), torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "shapes").mkdir()
        files = [path for path in sorted(SAMPLES.iterdir()) if path.suffix in (".ply", ".xyz")]
        clouds = {path.stem: read_cloud(path) for path in files}
        shapes = load_dataset("shapes", split="test", num_points=1024, seed=0, per_class=10)
        for k in range(len(shapes)):
            clouds[f"shape{k}"] = PointCloud(shapes[k].xyz)
        first, gaps = 0, []
        for name, cloud in clouds.items():
            write(root / "shapes" / f"{name}.ply", PointCloud(cloud.xyz))
        for name, cloud in clouds.items():
            turn = random_rotation(generator=generator, dtype=torch.float64).numpy()
            order = torch.randperm(len(cloud), generator=generator).numpy()
            moved = 3 * cloud.xyz[order].astype(np.float64) @ turn.T + [10, -20, 5]
            write(root / f"{name}.ply", PointCloud(moved.astype(np.float32)))
            found = search(root / f"{name}.ply", root / "shapes", network, top=2, device="cpu")
            first += Path(found.matches[0].file).stem == name
            gaps.append(found.matches[0].similarity - found.matches[1].similarity)
            if name in {path.stem for path in files}:
                print(f"  {name}: {Path(found.matches[0].file).stem} "
                      f"{found.matches[0].similarity:.6f}, next {found.matches[1].similarity:.4f}")
        print(f"turned copies found first: {first} of {len(clouds)}; "
              f"smallest lead {min(gaps):.2e}, median {statistics.median(gaps):.2e}")
        names = [name for name in clouds if name.startswith("shape")]  # those that are not thinned
        vectors = embed(network, [root / f"{name}.ply" for name in names], device="cpu").vectors
        others = embed(network, [root / "shapes" / f"{name}.ply" for name in names],
                       device="cpu").vectors
        print(f"largest difference of a vector: {np.abs(vectors - others).max():.1e}")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="run folder of a classifier")
    parser.add_argument("--shapes", type=int, help="generated shapes of each class, instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.shapes:
        vectors = vectors_of_shapes(options.weights, options.shapes)
        some = vectors[::60]
        noise = 1 + 0.02 * np.random.default_rng(0).normal(size=some.shape)
        time_queries(vectors, (some * noise).astype(np.float32))
        return
    for count in (1_000, 100_000):
        time_queries(made_up(count), made_up(QUERIES, seed=2))
    time_files(options.weights)
    find_copies(options.weights)


if __name__ == "__main__":
    main()
