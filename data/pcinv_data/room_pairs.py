"""The generated set of pairs `rooms`: fragments of made-up rooms, with exact motions.

Pairs, overlaps and information matrices are made as those of 3DMatch are, so that its official rule
applies. The poses are exact, but the fragments are not: their cameras have noise, depths that are
off by some millimetres, and tracking that drifts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcinv_data.depth_camera import thin
from pcinv_data.generated_pairs import MadePair, MadeScene, open_generated
from pcinv_data.pairs import RegistrationPair
from pcinv_data.rooms import Fragment, make_room, scan_room

VERSION = 1
"""To be raised with any change of what is drawn."""
ROOMS, FRAGMENTS = 8, 8
LEAST_OVERLAP = 0.1
"""Pairs that share less are left out, as from 3DLoMatch."""
OVERLAP_GRID, OVERLAP_RADIUS = 0.01, 0.03
"""Of the official overlaps, in metres."""
INFORMATION_RADIUS, INFORMATION_POINTS = 0.006, 5000
"""Of the official information matrices: distance of correspondences, in metres, and how many."""
SCENES = [f"room-{k:02d}" for k in range(ROOMS)]


def open_rooms(root: Path, scene: str | None = None) -> list[RegistrationPair]:
    """List the pairs of the set, after making the rooms that are not in the folder yet."""
    return open_generated(root, "rooms", VERSION, SCENES, make_scene, scene)


def make_scene(name: str) -> MadeScene:
    """Make a room of `SCENES`, its fragments and its pairs."""
    seed = SCENES.index(name)
    return pair_up(name, scan_room(make_room(seed), seed, FRAGMENTS))


def pair_up(name: str, fragments: list[Fragment]) -> MadeScene:
    """Return all pairs of fragments that overlap enough; the earlier fragment is the target."""
    from scipy.spatial import cKDTree

    even = [thin(fragment.dense, OVERLAP_GRID) for fragment in fragments]
    trees = [cKDTree(points) for points in even]
    rng = np.random.default_rng(0)
    pairs = []
    for i, target in enumerate(fragments):
        for j in range(i + 1, len(fragments)):
            T = np.linalg.inv(target.T_room_fragment) @ fragments[j].T_room_fragment
            back = np.linalg.inv(T)
            away, row = trees[j].query(even[i] @ back[:3, :3].T + back[:3, 3],
                                       distance_upper_bound=OVERLAP_RADIUS)
            overlap = float(np.isfinite(away).mean())
            if overlap < LEAST_OVERLAP:
                continue
            met = even[j][row[away <= INFORMATION_RADIUS]]
            if len(met) > INFORMATION_POINTS:
                met = met[rng.choice(len(met), INFORMATION_POINTS, replace=False)]
            pairs.append(MadePair(f"{name}/{i}-{j}", j, i, T, overlap,
                                  information_matrix(met @ T[:3, :3].T + T[:3, 3])))
    return MadeScene([fragment.points for fragment in fragments], pairs)


def information_matrix(points: np.ndarray) -> np.ndarray:
    """Return the (6, 6) matrix of correspondences (N, 3) in the frame of the target.

    The sum of G^T G with G = [I | -[p]x]. Source: Choi, Zhou, Koltun, CVPR 2015.
    """
    G = np.zeros((len(points), 3, 6))
    G[:, range(3), range(3)] = 1
    x, y, z = points.T
    G[:, 0, 4], G[:, 0, 5] = z, -y
    G[:, 1, 3], G[:, 1, 5] = -z, x
    G[:, 2, 3], G[:, 2, 4] = y, -x
    return np.asarray(np.einsum("nij,nik->jk", G, G))
