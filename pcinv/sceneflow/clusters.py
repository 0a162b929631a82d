"""Pieces of a scan that move as one: points that are near each other, off the ground."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree


def cluster_points(
    xyz: Float[np.ndarray, "n 3"], radius: float = 0.5, least: int = 4, cell: float = 0.2
) -> Int[np.ndarray, "n"]:
    """Return the cluster of each point, numbered from the largest, -1 for points of none.

    Density clusters (DBSCAN, Ester et al., KDD 1996) of the cloud thinned to cells: two places are
    joined within `radius` if both have `least` places around them, themselves included; others
    join the nearest such place. All points of a cell belong together.

    radius, cell : metres.
    """
    if len(xyz) == 0:
        return np.zeros(0, np.int64)
    keys = np.floor(xyz / cell).astype(np.int64)
    _, inverse, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    places = np.stack([np.bincount(inverse, xyz[:, c]) for c in range(3)], 1) / count[:, None]
    tree = cKDTree(places)
    core = tree.query_ball_point(places, radius, return_length=True) >= least
    label = np.full(len(places), -1, np.int64)
    rows = np.flatnonzero(core)
    if len(rows):
        pairs = cKDTree(places[rows]).query_pairs(radius, output_type="ndarray")
        graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])),
                           shape=(len(rows), len(rows)))
        label[rows] = connected_components(graph, directed=False)[1]
        others = np.flatnonzero(~core)
        if len(others):
            distance, nearest = cKDTree(places[rows]).query(places[others])
            near = distance <= radius
            label[others[near]] = label[rows[nearest[near]]]
    found = label[inverse]
    return _by_size(found)


def _by_size(label: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    size = np.bincount(label[label >= 0])
    rank = np.empty(len(size), np.int64)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return np.where(label >= 0, rank[np.maximum(label, 0)] if len(size) else -1, -1)
