"""Farthest point sampling on the CPU in numpy and scipy, equal to the reference index for index.

Points come in canonical order, so that the first of equal distances is the one to take. A small
cloud is sampled by look-up in its matrix of distances. In a large one each round takes the points
that are farthest from the samples so far, and samples among these alone: the rest is below their
`Floor` and only gets nearer, so a round is exact as long as the best of the selection is above it.
Afterwards the rest is updated for all samples of the round at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pcinv.ops.order import RANK_BITS
from pcinv.ops.threads import parallel

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MATRIX_POINTS = 512
"""Up to this size all distances of a cloud are computed at once (2 MiB)."""
MATRIX_BYTES = 2**24
"""Matrices of a batch are made in groups of clouds that together stay below this."""
LEAF = 128
"""Candidates that are sampled among by a matrix of distances; the best of 128 to 512."""
SHRINK = 16
"""How many times fewer candidates the next finer level looks at."""
DENSE = 8192
"""Up to this many points new samples are compared with all of them, without a tree."""


class Floor(NamedTuple):
    """The best that a point outside of a selection can be: this distance, at a later position."""

    value: float
    position: int


def farthest_point_sample(points: torch.Tensor, m: int) -> torch.Tensor:
    """Return (B, m) positions for centred float64 clouds in canonical order, from position 0 on."""
    clouds = points.numpy()
    count = clouds.shape[1]
    if count > MATRIX_POINTS:
        rows = parallel(lambda cloud: _by_rounds(cloud, m), list(clouds))
        return torch.from_numpy(np.stack(rows))
    group = max(1, MATRIX_BYTES // (8 * count * count))
    parts = [_by_matrix(clouds[i : i + group], m) for i in range(0, len(clouds), group)]
    return torch.from_numpy(np.concatenate(parts))


def _quantise(dist2: Floats) -> None:
    """Round squared distances in place as `order.quantise` does."""
    bits = dist2.view(np.int64)
    bits += 1 << (RANK_BITS - 1)
    bits &= -(1 << RANK_BITS)


def _cross(a: Floats, b: Floats) -> Floats:
    """Return the rounded squared distances (len(a), len(b))."""
    from scipy.spatial.distance import cdist

    dist2: Floats = cdist(a, b, "sqeuclidean")
    _quantise(dist2)
    return dist2


def _by_matrix(clouds: Floats, m: int) -> Indices:
    """Sample (G, m) positions in step, each step being a look-up in the matrix of its cloud."""
    from scipy.spatial.distance import cdist

    group, count = clouds.shape[:2]
    matrix = np.empty((group, count, count))
    halves = [slice(0, (count + 1) // 2), slice((count + 1) // 2, count)]

    def fill(job: tuple[int, slice]) -> None:
        cloud, rows = job
        part = matrix[cloud, rows]
        cdist(clouds[cloud, rows], clouds[cloud], "sqeuclidean", out=part)
        _quantise(part)

    parallel(fill, [(cloud, rows) for cloud in range(group) for rows in halves if count > 1])
    matrix.reshape(group, -1)[:, :: count + 1] = -1.0  # a sample is never taken again
    rows = matrix.reshape(group * count, count)
    base = np.arange(group) * count
    index = np.zeros((m, group), dtype=np.int64)
    nearest = rows[base]
    for j in range(1, m):
        last = nearest.argmax(axis=1)
        index[j] = last
        np.minimum(nearest, rows[base + last], out=nearest)
    return index.T.copy()


def _by_rounds(cloud: Floats, m: int) -> Indices:
    """Sample m positions of one large cloud."""
    nearest = _cross(cloud[:1], cloud)[0]
    nearest[0] = -1.0
    rest = _rounds(cloud, nearest, Floor(0.0, len(cloud)), m - 1)
    return np.concatenate([np.zeros(1, np.int64), rest])


def _rounds(points: Floats, nearest: Floats, floor: Floor, budget: int) -> Indices:
    """Sample up to `budget` positions, as long as the best of them is above the floor.

    nearest : (N,) rounded squared distance to the samples so far, -1 for these; updated in place.
    """
    if len(points) <= LEAF:
        return _leaf(points, nearest, floor, budget)
    from scipy.spatial import cKDTree

    tree = cKDTree(points) if len(points) > DENSE else None
    found = [np.zeros(0, np.int64)]
    while budget > 0:
        best = int(nearest.argmax())
        if (nearest[best], -best) < (floor.value, -floor.position):
            break
        reach = np.sqrt(nearest[best]) * (1 + 1e-6)  # nobody is farther than this from a sample
        some, inner = _farthest(nearest, max(LEAF, len(points) // SHRINK), floor)
        picked = some[_rounds(points[some], nearest[some], inner, budget)]
        found.append(picked)
        budget -= len(picked)
        if tree is None:
            np.minimum(nearest, _cross(points[picked], points).min(axis=0), out=nearest)
        else:
            new = cKDTree(points[picked])
            near = new.sparse_distance_matrix(tree, reach, output_type="ndarray")
            _lower(points, nearest, picked[near["i"]], near["j"])
        nearest[picked] = -1.0
    return np.concatenate(found)


def _lower(points: Floats, nearest: Floats, a: Indices, b: Indices) -> None:
    """Lower nearest[b] to the rounded squared distances between the pairs of points a and b."""
    difference = points[a] - points[b]
    np.square(difference, out=difference)
    dist2 = difference[:, 0] + difference[:, 1]
    dist2 += difference[:, 2]
    _quantise(dist2)
    np.minimum.at(nearest, b, dist2)


def _farthest(nearest: Floats, size: int, outer: Floor) -> tuple[Indices, Floor]:
    """Return the `size` best positions, ascending, and the floor that holds among them."""
    least = float(np.partition(nearest, len(nearest) - size)[len(nearest) - size])
    above = np.flatnonzero(nearest > least)
    ties = np.flatnonzero(nearest == least)[: size - len(above)]
    some = np.sort(np.concatenate([above, ties]))
    floor = max(outer, Floor(least, int(ties[-1])), key=lambda f: (f.value, -f.position))
    # a position of the outer selection counts in the inner one by what is at or before it
    return some, Floor(floor.value, int(np.searchsorted(some, floor.position, side="right")) - 1)


def _leaf(points: Floats, nearest: Floats, floor: Floor, budget: int) -> Indices:
    """Sample as `_rounds` does, by look-up in the matrix of distances."""
    matrix = _cross(points, points)
    np.fill_diagonal(matrix, -1.0)
    rows, farthest, distance = list(matrix), nearest.argmax, nearest.item
    found: list[int] = []
    for _ in range(budget):  # the innermost loop of all: two array operations and a comparison
        best = int(farthest())
        value = distance(best)
        if value < floor.value or (value == floor.value and best > floor.position):
            break
        found.append(best)
        np.minimum(nearest, rows[best], out=nearest)
    return np.array(found, dtype=np.int64)
