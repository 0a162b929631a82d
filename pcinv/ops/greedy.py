"""Farthest point sampling on the CPU, equal to the reference index for index.

Clouds on a GPU come over and go back: there each sample would cost ten launches, and a launch takes
longer than the compiled loop takes for a sample.

Points come in canonical order, so that the first of equal distances is the one to take. A cloud of
moderate size is sampled by a compiled loop over all points. In a large one each round takes the
points that are farthest from the samples so far, and samples among these alone: the rest is below
their `Floor` and only gets nearer, so a round is exact as long as the best of the selection is
above it. Afterwards the rest is updated for all samples of the round at once.
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

DIRECT = 32768
"""Up to this size a cloud is sampled by the loop over all its points."""
LEAF = 8192
"""The same for a selection of candidates."""
SHRINK = 16
"""How many times fewer candidates the next finer level looks at."""


class Floor(NamedTuple):
    """The best that a point outside of a selection can be: this distance, at a later position."""

    value: float
    position: int


def farthest_point_sample(points: torch.Tensor, m: int) -> torch.Tensor:
    """Return (B, m) positions for centred float64 clouds in canonical order, from position 0 on."""
    rows = parallel(lambda cloud: _sample(cloud, m), list(points.cpu().numpy()))
    return torch.from_numpy(np.stack(rows)).to(points.device)


def _sample(cloud: Floats, m: int) -> Indices:
    """Sample m positions of one cloud."""
    nearest = np.full(len(cloud), np.inf)
    if len(cloud) <= DIRECT:
        return _leaf(cloud, nearest, Floor(0.0, len(cloud)), m)
    first = _leaf(cloud, nearest, Floor(0.0, len(cloud)), 1)
    rest = _rounds(cloud, nearest, Floor(0.0, len(cloud)), m - 1)
    return np.concatenate([first, rest])


def _quantise(dist2: Floats) -> None:
    """Round squared distances in place as `order.quantise` does."""
    bits = dist2.view(np.int64)
    bits += 1 << (RANK_BITS - 1)
    bits &= -(1 << RANK_BITS)


def _leaf(points: Floats, nearest: Floats, floor: Floor, budget: int) -> Indices:
    """Sample as `_rounds` does, with a compiled loop over all points for each sample."""
    from pcinv.ops.kernels import farthest_points

    index = np.empty(budget, np.int64)
    axes = np.ascontiguousarray(points.T)
    stop = int(np.float64(floor.value).view(np.int64))
    found = farthest_points(axes, nearest.view(np.int64), RANK_BITS, stop, floor.position, index)
    return index[:found]


def _rounds(points: Floats, nearest: Floats, floor: Floor, budget: int) -> Indices:
    """Sample up to `budget` positions, as long as the best of them is above the floor.

    nearest : (N,) rounded squared distance to the samples so far, -1 for these; updated in place.
    """
    if len(points) <= LEAF:
        return _leaf(points, nearest, floor, budget)
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
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
        near = cKDTree(points[picked]).sparse_distance_matrix(tree, reach, output_type="ndarray")
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
