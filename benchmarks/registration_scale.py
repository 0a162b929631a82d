"""Time and peak memory of one registration against the number of points a cloud.

    python benchmarks/registration_scale.py 10_000 1_000_000 20_000_000
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def room(count: int, seed: int) -> np.ndarray:
    """Return points (N, 3) on the walls, the floor and some boxes of a room, with 5 mm of noise."""
    rng = np.random.default_rng(seed)
    boxes = [((0, 0, 0), (6, 4, 2.6))]
    layout = np.random.default_rng(7)
    for _ in range(8):
        low = layout.uniform([0.3, 0.3, 0], [5, 3, 0.01])
        boxes.append((low, low + layout.uniform(0.3, 1.0, 3)))
    faces = [(np.array(low), np.array(high), axis, end) for low, high in boxes
             for axis in range(3) for end in (0, 1)]
    area = np.array([np.prod(np.delete(high - low, axis)) for low, high, axis, _ in faces])
    parts = []
    for (low, high, axis, end), number in zip(faces, rng.multinomial(count, area / area.sum()),
                                              strict=True):
        points = rng.uniform(low, high, (number, 3))
        points[:, axis] = (low, high)[end][axis]
        parts.append(points)
    points = np.concatenate(parts)
    points += rng.normal(0, 0.005, points.shape)
    return points


def memory(line: str) -> float:
    """Return a line of the process's status in MiB: VmRSS now, or VmHWM at most."""
    found = next(row for row in Path("/proc/self/status").read_text().splitlines()
                 if row.startswith(line))
    return int(found.split()[1]) / 1024


def measure(count: int) -> None:
    """Register two samples of the same room, one of them turned, and print a row of the table."""
    import torch

    import pcinv
    from pcinv.geometry.rotation import random_rotation

    R = random_rotation(generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    small = [room(5000, seed) for seed in (3, 4)]
    pcinv.register(*small)  # compiled loops are loaded
    source, target = room(count, 1) @ R.T, room(count, 2)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the clouds
    before = memory("VmRSS")
    start = time.perf_counter()
    found = pcinv.register(source, target)
    spent = time.perf_counter() - start
    added = memory("VmHWM") - before
    off = np.degrees(np.arccos(np.clip((np.trace(found.transform[:3, :3] @ R) - 1) / 2, -1, 1)))
    stages = ", ".join(f"{name} {ms / 1e3:.2f}" for name, ms in found.time_ms.items() if ms > 50)
    print(f"| {count:,} | {spent:.2f} | {added:,.0f} | {off:.3f} | {found.verdict} | {stages} |")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        measure(int(sys.argv[1]))
    else:
        print("| points a cloud | s | peak MiB added | degrees off | verdict | s of stages |\n"
              "| ---: | ---: | ---: | ---: | --- | --- |", flush=True)
        for number in sys.argv[1:]:
            subprocess.run([sys.executable, __file__, str(int(number))], check=True)
