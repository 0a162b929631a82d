"""Odometry on generated streets and on folders of scans, beside KISS-ICP where it is installed.

    python benchmarks/odometry.py --scans 1000 --beams 64
    python benchmarks/odometry.py --folder DIR/sequences/00

KISS-ICP (pip install kiss-icp) runs with its defaults on the same scans, deskewing of its own where
the scans are rolling. One thread each; ms a scan is the median, without reading or making it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import pcinv
from pcinv.metrics.trajectory import absolute_error, drift, step_errors
from pcinv.registration.odometry import Odometer, OdometryOptions


def main() -> None:
    """Print a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder")
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--beams", type=int, default=64)
    parser.add_argument("--columns", type=int, default=1024)
    parser.add_argument("--rolling", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.folder:
        scans = pcinv.open_sequence(given.folder)
    else:
        from pcinv_data.lidar_sim import lidar_sim

        scans = lidar_sim(given.scans, given.seed, beams=given.beams, columns=given.columns,
                          rolling=given.rolling)
    print("method       ms    t_rel %  deg/100 m  ATE m  step cm (median, most)  step deg     "
          "MiB after a fifth, at the end")
    run("pcinv", ours(scans, given.threads), scans.poses)
    try:
        run("kiss-icp", theirs(scans), scans.poses)
    except ImportError:
        print("kiss-icp     not installed")


def ours(scans: Iterable[pcinv.Scan], threads: int) -> Iterable[tuple[float, np.ndarray]]:
    """Yield seconds and pose of each scan."""
    odometer = Odometer(OdometryOptions(threads=threads))
    for scan in scans:
        begun = time.perf_counter()
        step = odometer.add(scan.xyz, None if scan.is_deskewed else scan.time)
        yield time.perf_counter() - begun, step.T_world_sensor


def theirs(scans: Iterable[pcinv.Scan]) -> Iterable[tuple[float, np.ndarray]]:
    """Yield the same of KISS-ICP; its pose of a rolling scan is of the scan's end."""
    from kiss_icp.config import KISSConfig
    from kiss_icp.kiss_icp import KissICP

    config = KISSConfig()
    config.mapping.voxel_size = 1.0
    method = None
    for scan in scans:
        stamps = np.zeros(len(scan)) if scan.time is None else scan.time.astype(np.float64)
        if method is None:
            config.data.deskew = scan.time is not None and not scan.is_deskewed
            method = KissICP(config)
        begun = time.perf_counter()
        method.register_frame(scan.xyz.astype(np.float64), stamps)
        yield time.perf_counter() - begun, method.last_pose.copy()


def run(name: str, steps: Iterable[tuple[float, np.ndarray]], truth: np.ndarray) -> None:
    """Print the row of a method."""
    times, poses, memory = [], [], []
    for seconds, pose in steps:
        times.append(seconds)
        poses.append(pose)
        memory.append(resident())
    found = np.stack(poses)
    segments, (metres, degrees) = drift(found, truth), step_errors(found, truth)
    t, r = segments.t_rel_percent, segments.r_rel_deg_per_100m
    print(f"{name:<12}{1e3 * statistics.median(times):5.0f}  "
          f"{'-' if t is None else f'{t:.3f}':>7}  {'-' if r is None else f'{r:.4f}':>9}  "
          f"{absolute_error(found, truth)[0]:5.2f}  {np.median(metres) * 100:8.2f} "
          f"{metres.max() * 100:8.2f}      {np.median(degrees):.3f} {degrees.max():.3f}  "
          f"{memory[len(memory) // 5]} {memory[-1]}")


def resident() -> int:
    """Return what this process holds now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


if __name__ == "__main__":
    main()
