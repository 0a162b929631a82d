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

MIN_ROWS, MAX_ROWS = 128, 2**15
"""Fewer rows are not worth a thread; more are taken in parts, which bounds the memory."""
MIN_BALANCED, MIN_ORDERED = 2048, 8192
"""Sizes from which a balanced tree and an order of the queries pay; twice the speed at 100,000."""
MIN_THINNED = 4096
"""In smaller clouds heavy duplication costs little."""
MAX_CANDIDATES = 2**21
"""How many candidates a chunk of tied rows may hold together."""


def scipy_tree(points: Floats) -> Search:
    """Build scipy's k-d tree; it releases the interpreter's lock."""
    from scipy.spatial import cKDTree

    careful = len(points) > MIN_BALANCED  # twice the time to build, a tenth less to search
    tree = cKDTree(points, leafsize=16, balanced_tree=careful, compact_nodes=careful)

    def search(query: Floats, k: int) -> tuple[Floats, Indices]:
        dist, index = tree.query(query, np.arange(1, k + 1))
        return np.square(dist), index

    return search


def knn(
    query: torch.Tensor, points: torch.Tensor, k: int, tree: Callable[[Floats], Search]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return squared distances and indices (B, M, k) for centred float64 clouds.

    The work is shared among threads by clouds, and where these are few also by rows.
    """
    rows, clouds = query.numpy(), points.numpy()
    batch, count = rows.shape[:2]
    dist2 = np.empty((batch, count, k))
    index = np.empty((batch, count, k), dtype=np.int64)
    built = parallel(lambda cloud: _build(cloud, k, tree), list(clouds))
    order = [_by_place(cloud) for cloud in rows]
    parts = max(1, torch.get_num_threads() // batch)
    step = min(max(MIN_ROWS, -(-count // parts)), MAX_ROWS)

    def fill(job: tuple[int, int]) -> None:
        b, start = job
        part = order[b][start : start + step]
        dist2[b, part], index[b, part] = _knn_rows(built[b], rows[b, part], clouds[b], k)

    parallel(fill, [(b, start) for b in range(batch) for start in range(0, count, step)])
    return torch.from_numpy(dist2), torch.from_numpy(index)


def _by_place(query: Floats) -> Indices:
    """Return an order in which successive rows are close: a large tree then stays in the cache."""
    if len(query) <= MIN_ORDERED:
        return np.arange(len(query))
    from scipy.spatial import cKDTree

    order: Indices = cKDTree(query, balanced_tree=False, compact_nodes=False).indices
    return order


def _build(points: Floats, k: int, tree: Callable[[Floats], Search]) -> Search:
    """Build a tree; of a point that is there more than k + 1 times, only k + 1 copies enter."""
    if len(points) <= MIN_THINNED or _longest_run(np.sort(points[:, 0])) <= k + 1:
        return tree(points)
    order = np.lexsort(points.T)
    differ = (np.diff(points[order], axis=0) != 0).any(axis=1)
    first = np.concatenate([[0], np.flatnonzero(differ) + 1])
    copy = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    if copy.max() <= k:
        return tree(points)
    kept = np.sort(order[copy <= k])
    search = tree(points[kept])

    def search_kept(query: Floats, width: int) -> tuple[Floats, Indices]:
        dist2, index = search(query, min(width, len(kept)))
        return dist2, kept[index]

    return search_kept


def _longest_run(values: Floats) -> int:
    """Return how often the most frequent of the sorted values is there."""
    edges = np.flatnonzero(np.diff(values))
    return int(np.diff(edges, prepend=-1, append=len(values) - 1).max())


def _knn_rows(search: Search, query: Floats, points: Floats, k: int) -> tuple[Floats, Indices]:
    """Return squared distances and indices (M, k) of some rows of one cloud, ties resolved."""
    dist2, index = search(query, min(k + 1, len(points)))
    tied = np.flatnonzero((np.diff(dist2, axis=1) <= TIE * dist2[:, 1:]).any(axis=1))
    dist2, index = dist2[:, :k], index[:, :k]
    if len(tied):
        rank = inverse(canonical_order(torch.from_numpy(points)[None]))[0].numpy()
        _resolve(search, query, points, rank, tied, 2 * k + 16, dist2, index)
    return dist2, index


def _resolve(
    search: Search, query: Floats, points: Floats, rank: Indices, rows: Indices, width: int,
    dist2: Floats, index: Indices,
) -> None:
    """Fill the tied `rows` of dist2 and index (M, k), widening the search until ties end."""
    k = index.shape[1]
    width = min(width, len(points))
    step = max(1, MAX_CANDIDATES // width)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        near, found = search(query[part], width)
        ends = near[:, -1] > (1 + 2 * TIE) * near[:, k - 1]
        whole = ends | (width == len(points)) | (near.shape[1] < width)
        some, found = part[whole], found[whole]
        order = np.argsort(_keys(query[some], points, found, rank), axis=1)[:, :k]
        dist2[some] = np.take_along_axis(near[whole], order, axis=1)
        index[some] = np.take_along_axis(found, order, axis=1)
        if not whole.all():
            _resolve(search, query, points, rank, part[~whole], 2 * width, dist2, index)


def _keys(query: Floats, points: Floats, found: Indices, rank: Indices) -> Indices:
    """Return keys that sort the found points (M, K) of each query by distance, then rank."""
    at, to = torch.from_numpy(query)[:, None], torch.from_numpy(points[found])
    dist2 = squared_distance(at, to)
    key: Indices = pack(dist2, torch.from_numpy(rank[found]), rank_bits(len(points))).numpy()
    return key
