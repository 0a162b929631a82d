"""Scene flow of each method on generated streets, beside no motion and the sensor's own.

    python benchmarks/flow.py --pairs 20 --beams 64
    python benchmarks/flow.py A.feather B.feather

Figures are over the points of all pairs, within 70 x 70 m and off the ground; seconds a pair on one
thread, reading not included.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import pcinv
from pcinv.engine import flow as engine
from pcinv.metrics.flow import FlowScore, is_close, meta_classes


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--beams", type=int, default=64)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--methods", nargs="+",
                        default=["floxels", "floxels, two scans", "student", "fast_nsf"])
    parser.add_argument("--weights", help="of the student")
    given = parser.parse_args()
    sums: dict[str, FlowScore] = {}
    times: dict[str, list[float]] = {}
    for first, second in pairs(given):
        for method in given.methods:
            name, _, two = method.partition(",")
            begun = time.perf_counter()
            found = pcinv.flow(first, second, method=name, around=0 if two else 2,
                               weights=given.weights if name == "student" else None)
            times.setdefault(method, []).append(time.perf_counter() - begun)
            add(sums, method, first, found.flow, found)
        add(sums, "ego", first, found.rigid, found)
        add(sums, "zero", first, np.zeros_like(found.flow), found)
    print(f"{'method':<20} s a pair   EPE   three-way      FD      FS      BS  IoU   by speed")
    for name, score in sums.items():
        row = score.compute()
        spent = f"{statistics.median(times[name]):8.1f}" if name in times else " " * 8
        shown = "  ".join("-" if row[key] is None else f"{row[key]:.4f}" for key in (
            "epe", "three_way_epe", "epe_foreground_dynamic", "epe_foreground_static",
            "epe_background_static", "dynamic_iou", "dynamic_bucket_epe"))
        classes = {key: round(value, 2) for key, value in row["bucket_dynamic"].items() if value}
        print(f"{name:<20}{spent}  {shown}  {classes}")


def pairs(given: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Yield placed pairs of scans."""
    if given.files:
        yield tuple(engine.place(file) for file in given.files)
        return
    from pcinv_data.lidar_sim import lidar_sim

    for k in range(given.pairs):
        scans = lidar_sim(8, given.seed + k, beams=given.beams)
        yield engine.Placed(scans[3], scans, 3), engine.Placed(scans[4], scans, 4)


def add(sums: dict[str, FlowScore], name: str, first: engine.Placed, flow: np.ndarray,
        found: engine.SceneFlow) -> None:
    """Add a pair to the sums of a method."""
    scan, sequence = first.scan, first.sequence
    of_class = np.append(meta_classes(list(sequence.class_names)), 0)
    sums.setdefault(name, FlowScore(found.interval_s)).add(
        flow, scan.flow, found.rigid, of_class[scan.label],
        is_close(scan.xyz) & ~scan.is_ground)


if __name__ == "__main__":
    main()
