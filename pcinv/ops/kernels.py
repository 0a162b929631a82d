"""Compiled loops behind the operations of this package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_TAKEN = int(np.float64(-1.0).view(np.int64))
"""The bits of -1.0: less than those of any squared distance."""


@jit
def _distances(axes: Floats, at: int, dist2: Floats) -> None:
    """Fill the squared distances (N,) of all points from the one at a position."""
    x, y, z = axes[0], axes[1], axes[2]
    px, py, pz = x[at], y[at], z[at]
    for i in range(x.shape[0]):
        dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
        dist2[i] = dx * dx + dy * dy + dz * dz


@jit
def farthest_points(
    axes: Floats, nearest: Indices, bits: int, floor: int, floor_position: int, index: Indices
) -> int:
    """Fill `index` with positions, each the farthest from all before; return how many were found.

    axes : (3, N), a cloud in canonical order.
    nearest : (N,) squared distance to the samples so far, -1.0 for these; updated in place.
    bits : binary digits that rounding of squared distances clears.
    floor, floor_position : stop where the best is nearer than this, or as near and later.

    Squared distances are kept as the integers that their bits are: the order is the same.
    """
    count = axes.shape[1]
    dist2 = np.empty(count)
    rounded = dist2.view(np.int64)
    half, mask = 1 << (bits - 1), -(1 << bits)
    best = nearest.max()
    for j in range(index.shape[0]):
        last = 0
        while nearest[last] != best:
            last += 1
        if best < floor or (best == floor and last > floor_position):
            return j
        index[j] = last
        nearest[last] = _TAKEN  # a sample is never taken again
        _distances(axes, last, dist2)
        best = np.int64(_TAKEN)
        for i in range(count):
            nearest[i] = min(nearest[i], (rounded[i] + half) & mask)
            best = max(best, nearest[i])
    return len(index)


@jit
def stable_farthest(axes: Floats, tie: float, nearest: Indices, index: Indices) -> None:
    """Fill `index` with positions, each as far from all before as any, to within `tie`.

    axes : (3, N) float64, in the order in which ties are decided: the first one wins.
    nearest : (N,) int64, the bits of infinity; working memory.

    Squared distances are kept as the integers that their bits are: the order is the same.
    """
    count = axes.shape[1]
    dist2 = np.empty(count)
    bits = dist2.view(np.int64)
    limit = np.empty(1)
    limit_bits = limit.view(np.int64)
    last = 0
    for j in range(index.shape[0]):
        index[j] = last
        nearest[last] = _TAKEN
        _distances(axes, last, dist2)
        best = np.int64(_TAKEN)
        for i in range(count):
            nearest[i] = min(nearest[i], bits[i])
            best = max(best, nearest[i])
        if best < 0:  # all are taken
            return
        limit_bits[0] = best
        limit[0] = max(np.sqrt(limit[0]) - tie, 0.0) ** 2
        # rounding of the root must not put the limit above the best itself
        floor = min(limit_bits[0], best)
        last = 0
        while nearest[last] < floor:
            last += 1
