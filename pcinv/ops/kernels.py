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
    x, y, z = axes[0], axes[1], axes[2]
    count = x.shape[0]
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
        px, py, pz = x[last], y[last], z[last]
        for i in range(count):
            dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
            dist2[i] = dx * dx + dy * dy + dz * dz
        best = np.int64(_TAKEN)
        for i in range(count):
            nearest[i] = min(nearest[i], (rounded[i] + half) & mask)
            best = max(best, nearest[i])
    return len(index)
