"""Neighbours on the CPU by search trees of other packages, with ties resolved by geometry.

A tree returns k + 1 neighbours. Where two successive distances tie (in general: nowhere), the row
is extended until the tie ends, and ordered again by rounded distance and canonical rank.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pcinv.ops.order import (
    TIE,
    canonical_order,
    inverse,
    pack,
    rank_bits,
    squared_distance,
)
from pcinv.ops.threads import parallel

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Search = Callable[[Floats, int], tuple[Floats, Indices]]
"""(M, 3) rows and k to squared distances (M, k), ascending, and indices (M, k)."""

MAX_CANDIDATES = 2**21
"""How many candidates a chunk of tied rows may hold together."""


def scipy_tree(points: Floats) -> Search:
    """Build scipy's k-d tree; it releases the interpreter's lock."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points, leafsize=16, balanced_tree=False, compact_nodes=False)

    def search(query: Floats, k: int) -> tuple[Floats, Indices]:
        dist, index = tree.query(query, np.arange(1, k + 1))
        return np.square(dist), index

    return search


def knn(
    query: torch.Tensor, points: torch.Tensor, k: int, tree: Callable[[Floats], Search]
) -> torch.Tensor:
    """Return the (B, M, k) indices for centred float64 clouds, one tree for each cloud."""
    clouds = list(zip(query.numpy(), points.numpy(), strict=True))
    rows = parallel(lambda pair: _knn_cloud(pair[0], pair[1], k, tree), clouds)
    return torch.from_numpy(np.stack(rows))


def _knn_cloud(query: Floats, points: Floats, k: int, tree: Callable[[Floats], Search]) -> Indices:
    search = tree(points)
    width = min(k + 1, len(points))
    dist2, index = search(query, width)
    tied = np.flatnonzero((np.diff(dist2, axis=1) <= TIE * dist2[:, 1:]).any(axis=1))
    if len(tied):
        rank = inverse(canonical_order(torch.from_numpy(points)[None]))[0].numpy()
        _resolve(search, query, points, rank, tied, 2 * k + 16, index[:, :k])
    return index[:, :k]


def _resolve(
    search: Search, query: Floats, points: Floats, rank: Indices, rows: Indices, width: int,
    index: Indices,
) -> None:
    """Fill the tied `rows` of index (M, k) by geometry, widening the search until ties end."""
    k = index.shape[1]
    width = min(width, len(points))
    step = max(1, MAX_CANDIDATES // width)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        dist2, found = search(query[part], width)
        whole = (dist2[:, -1] > (1 + 2 * TIE) * dist2[:, k - 1]) | (width == len(points))
        key = _keys(query[part[whole]], points, found[whole], rank)
        order = np.argsort(key, axis=1)[:, :k]
        index[part[whole]] = np.take_along_axis(found[whole], order, axis=1)
        if not whole.all():
            _resolve(search, query, points, rank, part[~whole], 2 * width, index)


def _keys(query: Floats, points: Floats, found: Indices, rank: Indices) -> Indices:
    """Return keys that sort the found points (M, K) of each query by distance, then rank."""
    at, to = torch.from_numpy(query)[:, None], torch.from_numpy(points[found])
    dist2 = squared_distance(at, to)
    key: Indices = pack(dist2, torch.from_numpy(rank[found]), rank_bits(len(points))).numpy()
    return key
