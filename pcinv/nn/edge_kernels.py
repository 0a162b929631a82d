"""Compiled loops over the edges of a neighbour graph: nearest rows, extremes, their gradient.

Letters: N points, K neighbours, D channels. One cloud at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Array = NDArray[Any]


@jit
def nearest_columns(dist2: Array, found: Array, best: Array) -> None:
    """Fill found and best (N, K) with the K smallest of each row of dist2 (N, M), smallest first.

    Of equal ones the one that comes first wins.
    """
    count, k = dist2.shape[1], found.shape[1]
    for i in range(dist2.shape[0]):
        row, value, place = dist2[i], best[i], found[i]
        value[:] = np.inf
        worst = value[k - 1]
        for j in range(count):
            d = row[j]
            if d < worst:
                at = k - 1
                while at > 0 and d < value[at - 1]:
                    value[at] = value[at - 1]
                    place[at] = place[at - 1]
                    at -= 1
                value[at] = d
                place[at] = j
                worst = value[k - 1]


@jit
def edge_extremes(
    a: Array, b: Array, index: Array, sign: Array, top: Array, place: Array, total: Array,
    sums: Array,
) -> None:
    """Find the extreme of a[j] + b[i] over the neighbours j of each point i, and sums over edges.

    a, b : (N, D).  index : (N, K).
    sign : (D,) 1 where the largest value counts, -1 where the smallest does.
    top : (N, D) the extreme.  place : (N, D) int32, the j that it comes from; the first wins.
    total : (N, D) sum of a[j] over the neighbours.
    sums : (2, D) float64, to which the values and their squares are added. Where it has no
        channels neither it, nor place, nor total are touched.
    """
    points, k = index.shape
    width, counts = a.shape[1], sums.shape[1] > 0
    square = np.empty(width, a.dtype)
    for i in range(points):
        best = top[i]
        first = a[index[i, 0]]
        for c in range(width):
            best[c] = first[c] * sign[c]
        if counts:
            where, some = place[i], total[i]
            for c in range(width):
                where[c] = index[i, 0]
                some[c] = first[c]
                square[c] = first[c] * first[c]
        for m in range(1, k):
            j = index[i, m]
            row = a[j]
            if counts:
                for c in range(width):
                    value = row[c] * sign[c]
                    is_new = value > best[c]
                    best[c] = value if is_new else best[c]
                    where[c] = j if is_new else where[c]
                for c in range(width):
                    some[c] += row[c]
                    square[c] += row[c] * row[c]
            else:
                for c in range(width):
                    best[c] = max(best[c], row[c] * sign[c])
        own = b[i]
        for c in range(width):
            best[c] = best[c] * sign[c] + own[c]
        if counts:
            for c in range(width):
                t, o = np.float64(some[c]), np.float64(own[c])
                sums[0, c] += t + k * o
                sums[1, c] += np.float64(square[c]) + 2 * o * t + k * o * o


@jit
def spread_edges(
    b: Array, index: Array, grad: Array, place: Array, around: Array, extreme: Array, count: Array
) -> None:
    """Add up what reaches each point j from the edges (i, j).

    grad, place : (N, D) gradient of the extreme of each point i, and the j that it comes from.
    around : (N, D) sum of b[i].  extreme : (N, D) sum of the gradients.  count : (N,) edges.
    """
    points, k = index.shape
    width = b.shape[1]
    for i in range(points):
        own = b[i]
        for m in range(k):
            j = index[i, m]
            count[j] += 1
            row = around[j]
            for c in range(width):
                row[c] += own[c]
        for c in range(width):
            extreme[place[i, c], c] += grad[i, c]
