"""What the border of an overlap costs descriptors of patches, small and large ones.

    python benchmarks/patch_borders.py --real DIR --runs SMALL LARGE [--pairs 40]

For each run of `pcinv train --backbone cylinder_patch`: of the key points in the overlap, the share
whose nearest descriptor of the other cloud is at the right place, by their distance to the border
of the overlap. A patch that reaches over it sees what the other camera did not.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

import pcinv
from pcinv.registration.prepare import prepare, to_prepared
from pcinv.registration.scale import choose_voxel
from pcinv.registration.sight import sights

NEAR = 0.05
"""Metres to the nearest point of the other cloud: in the overlap."""
RIGHT = 0.1
EDGES = (0.0, 0.05, 0.1, 0.15, 0.3, 10.0)
"""Metres to the border."""


def main() -> None:
    from pcinv_data.pairs import load_pairs

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--pairs", type=int, default=40)
    told = parser.parse_args()
    networks = {run.name: pcinv.load_model(run).model.eval() for run in told.runs}
    depth, right = [], {name: [] for name in networks}
    for pair in load_pairs("3dlomatch", told.real, limit=told.pairs):
        source, target = pair.load_source(), pair.load_target()
        voxel = choose_voxel(source, target)
        seen = next(iter(sights((prepare(source, voxel), prepare(target, voxel)), "origin")))
        clouds = seen.prepared()
        pose = to_prepared(pair.T_target_source, *clouds)
        unit = clouds[0].unit
        moved = clouds[0].points @ pose[:3, :3].T + pose[:3, 3]
        inside = cKDTree(clouds[1].points).query(moved)[0] * unit < NEAR
        if inside.all() or not inside.any():
            continue
        depth.append(cKDTree(moved[~inside]).query(moved[inside])[0] * unit)
        for name, network in networks.items():
            x, y = (replace(cloud, descriptor=network, _described={}).features("patch")[0].numpy()
                    for cloud in clouds)
            nearest = np.argmax(x[inside] @ y.T, axis=1)
            away = np.linalg.norm(moved[inside] - clouds[1].points[nearest], axis=1) * unit
            right[name].append(away < RIGHT)
    depths = np.concatenate(depth)
    bins = np.digitize(depths, EDGES) - 1
    which = range(len(EDGES) - 1)
    print(_row("metres to the border", [f"{EDGES[k]:g} to {EDGES[k + 1]:g}" for k in which]))
    print(_row("share of the key points", [f"{np.mean(bins == k):.3f}" for k in which]))
    for name, rows in right.items():
        hit = np.concatenate(rows)
        print(_row(name, [f"{hit[bins == k].mean():.3f}" for k in which]))


def _row(name: str, cells: list[str]) -> str:
    return f"{name:<24}" + "".join(f"{cell:>14}" for cell in cells)


if __name__ == "__main__":
    main()
