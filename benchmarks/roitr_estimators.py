"""What makes a pose of RoITr's matches: its own LGR, RANSAC, or our search.

    python benchmarks/roitr_estimators.py --real DIR [--dataset 3dlomatch] [--pairs 130]

One network, one set of matches a pair; each estimator's best pose is judged by the official rule as
it comes, and once more after our refinement. View points known. About 3 s a pair on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pcinv.metrics.registration import is_registered
from pcinv.models.roitr import match
from pcinv.registration.baselines import baseline_poses
from pcinv.registration.local_to_global import local_to_global
from pcinv.registration.patches import detail
from pcinv.registration.prepare import Prepared, prepare, to_clouds
from pcinv.registration.scale import choose_voxel
from pcinv.registration.search import Matched, judge, propose
from pcinv.registration.shipped import load_shipped
from pcinv.registration.sight import sights

INLIER_DISTANCE = 0.1
"""Metres, of the paper's local-to-global registration."""
Poses = list[np.ndarray]


def prepared_pair(source: np.ndarray, target: np.ndarray) -> tuple[Prepared, Prepared]:
    """Return both clouds as `pcinv.register` prepares them, seen from the origin."""
    voxel = choose_voxel(source, target)
    pair = prepare(source, voxel), prepare(target, voxel)
    return next(iter(sights(pair, "origin"))).prepared()


def estimates(source: Prepared, target: Prepared) -> tuple[dict[str, Poses], list[Matched]]:
    """Return the poses of each estimator, best first, and the matches they are of."""
    fine = [detail(cloud) for cloud in (source, target)]
    found = match(load_shipped("roitr"), *(torch.from_numpy(np.ascontiguousarray(part))
                                           for cloud in fine for part in cloud[:2]))
    rows, columns = found.src_index.numpy(), found.tgt_index.numpy()
    matched = Matched(fine[0].points[rows], fine[1].points[columns])
    x, y = (torch.from_numpy(part) for part in matched)
    grouped = local_to_global(x, y, found.confidence, found.patch,
                              inlier_distance=INLIER_DISTANCE / source.unit)
    ways: dict[str, Callable[[], Poses]] = {
        "local to global": lambda: [grouped.T_target_source.numpy()],
        "RANSAC, 50,000 rounds": lambda: baseline_poses("ransac", source, target, [matched]),
        "second-order compatibility": lambda: propose(source, target, matched),
    }
    return {name: way() for name, way in ways.items()}, [matched]


def main() -> None:
    from pcinv_data.pairs import load_pairs

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--dataset", choices=("3dmatch", "3dlomatch"), default="3dlomatch")
    parser.add_argument("--pairs", type=int, default=130)
    told = parser.parse_args()
    right: dict[str, list[tuple[bool, bool]]] = {}
    for pair in load_pairs(told.dataset, told.real, limit=told.pairs):
        source, target = prepared_pair(pair.load_source(), pair.load_target())
        found, matches = estimates(source, target)

        def judged(pose: np.ndarray, pair=pair, source=source, target=target) -> bool:
            return is_registered(to_clouds(pose, source, target), pair.T_target_source,
                                 pair.information, rule="3dmatch")

        for name, poses in found.items():
            refined = max((judge(source, target, matches, pose) for pose in poses),
                          key=lambda candidate: candidate.score, default=None)
            right.setdefault(name, []).append((
                bool(poses) and judged(poses[0]),
                refined is not None and judged(refined.T_target_source)))
    print(f"{'estimator':<28}{'as it comes':>12}{'refined':>9}   of {len(right[name])} pairs")
    for name, rows in right.items():
        print(f"{name:<28}{np.mean([r[0] for r in rows]):>12.3f}"
              f"{np.mean([r[1] for r in rows]):>9.3f}")


if __name__ == "__main__":
    main()
