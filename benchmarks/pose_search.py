"""How far the answer of `pcinv.register` moves when a cloud is turned: the worst case of a search.

    python benchmarks/pose_search.py [A.ply B.ply] [--method M] [--rotations 40]

Each cloud in turn is rotated about its camera, the origin, at random, and then by smaller and
smaller turns from the worst ones; the answer is turned back and compared with that of the clouds as
they are. The features and the network are exactly invariant (`pcinv check`); what is left is that
clouds are thinned on a grid of the frame they come in.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import pcinv
from pcinv.geometry.rotation import axis_angle_to_matrix, random_rotation

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
ANGLES = (0.5, 0.1, 0.02)
CLIMBED = 3


def as_points(path: Path) -> np.ndarray:
    """Return the (N, 3) points of a file."""
    cloud = pcinv.read(path)
    return np.asarray(cloud.vertices if hasattr(cloud, "vertices") else cloud.absolute())


def difference(found: np.ndarray, base: np.ndarray, source: np.ndarray) -> tuple[float, float]:
    """Return the angle in degrees, and the largest shift of a point of the source."""
    cosine = (np.einsum("ij,ij->", found[:3, :3], base[:3, :3]) - 1) / 2
    moved = source @ (found[:3, :3] - base[:3, :3]).T + found[:3, 3] - base[:3, 3]
    return (float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
            float(np.linalg.norm(moved, axis=1).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clouds", type=Path, nargs="*",
                        default=[SAMPLES / "room_a.ply", SAMPLES / "room_b.ply"])
    parser.add_argument("--method", default="auto")
    parser.add_argument("--rotations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    source, target = (as_points(path) for path in told.clouds)
    generator = torch.Generator().manual_seed(told.seed)

    def answer(which: str, rotation: np.ndarray) -> tuple[np.ndarray, str]:
        clouds = [source, target]
        turn = np.eye(4)
        turn[:3, :3] = rotation
        side = ("source", "target").index(which)
        clouds[side] = clouds[side] @ rotation.T
        found = pcinv.register(*clouds, method=told.method, view_point="origin")
        pose = found.transform @ turn if which == "source" else turn.T @ found.transform
        return pose, found.verdict

    base, verdict = answer("source", np.eye(3))
    print(f"{told.method}: {verdict}; clouds of {np.linalg.norm(np.ptp(source, axis=0)):.2f} and "
          f"{np.linalg.norm(np.ptp(target, axis=0)):.2f} across")
    for which in ("source", "target"):
        tried = random_rotation(told.rotations, generator=generator, dtype=torch.float64)
        rows = []
        for rotation in tried.numpy():
            pose, said = answer(which, rotation)
            rows.append((*difference(pose, base, source), said, rotation))
        worst = sorted(rows, key=lambda row: -row[1])[:CLIMBED]
        for angle in ANGLES:
            turns = axis_angle_to_matrix(
                angle * torch.randn(len(worst), 3, generator=generator, dtype=torch.float64))
            for k, turn in enumerate(turns.numpy()):
                pose, said = answer(which, turn @ worst[k][3])
                row = (*difference(pose, base, source), said, turn @ worst[k][3])
                rows.append(row)
                worst[k] = max(worst[k], row, key=lambda r: r[1])
        angles, shifts, said, _ = zip(*rows, strict=True)
        print(f"{which} turned {len(rows)} times: median {np.median(angles):.3f} degrees, shift "
              f"{np.median(shifts):.4f}; worst {max(angles):.3f} degrees, shift {max(shifts):.4f}; "
              f"{sum(v == verdict for v in said)} {verdict}", flush=True)


if __name__ == "__main__":
    main()
