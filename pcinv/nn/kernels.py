"""Compiled loops behind the layers of this package: extremes of groups of rows, and their gradient.

Letters: G groups of K rows each, R = G K rows, C channels out, E channels in, N rows carried.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Array = NDArray[Any]


@jit
def group_extremes(
    z: Array, carried: Array, rows: Array, sign: Array, top: Array, place: Array, sums: Array
) -> None:
    """Find the extreme of z + carried[rows] in each group, channel by channel, and the sums.

    z : (G, K, C).  carried : (N, C), of no rows where nothing is carried.  rows : (G K,).
    sign : (C,) 1 where the largest value counts, -1 where the smallest does.
    top, place : (G, C) the extreme times `sign`, and which of the K rows it is in; the first wins.
    sums : (2, C) float64, to which the values and their squares are added; of no channels: skipped.
    """
    groups, k, channels = z.shape
    carries, counts = carried.shape[0] > 0, sums.shape[1] > 0
    row = np.empty(channels, z.dtype)
    for g in range(groups):
        best, where = top[g], place[g]
        for j in range(k):
            for c in range(channels):
                row[c] = z[g, j, c]
            if carries:
                extra = carried[rows[g * k + j]]
                for c in range(channels):
                    row[c] += extra[c]
            if counts:
                for c in range(channels):
                    value = np.float64(row[c])
                    sums[0, c] += value
                    sums[1, c] += value * value
            if j == 0:
                for c in range(channels):
                    best[c] = row[c] * sign[c]
                    where[c] = 0
            else:
                for c in range(channels):
                    value = row[c] * sign[c]
                    is_new = value > best[c]
                    best[c] = value if is_new else best[c]
                    where[c] = j if is_new else where[c]


@jit
def spread_extremes(
    x: Array, rows: Array, weight: Array, moved: Array, grad: Array, place: Array,
    grad_x: Array, grad_weight: Array, grad_carried: Array, sum_x: Array, count: Array,
) -> None:
    """Add the gradient of the extremes of one cloud to what went into them.

    x : (G, K, E) input of the linear map, of weight (C, E).  rows : (G K,) carried row of each.
    grad, place : (G, C) gradient of each extreme, and the row it is in.
    moved : (N, E) added to grad_x at each row that carries it; of no rows where nothing is carried.
    grad_x : (G, K, E).  grad_weight : (C, E).  grad_carried : (N, C).
    sum_x, count : (N, E), (N,) sum and number of the rows of x that carry each.
    """
    groups, k, width = x.shape
    channels, carries = weight.shape[0], moved.shape[0] > 0
    for g in range(groups):
        if carries:
            for j in range(k):
                n = rows[g * k + j]
                count[n] += 1
                for e in range(width):
                    grad_x[g, j, e] += moved[n, e]
                    sum_x[n, e] += x[g, j, e]
        for c in range(channels):
            value, j = grad[g, c], place[g, c]
            if value != 0:
                if carries:
                    grad_carried[rows[g * k + j], c] += value
                for e in range(width):
                    grad_x[g, j, e] += value * weight[c, e]
                    grad_weight[c, e] += value * x[g, j, e]


@jit
def add_sums(z: Array, sums: Array) -> None:
    """Add the sum of each column of z (R, C) and of its squares to sums (2, C), float64."""
    for r in range(z.shape[0]):
        for c in range(z.shape[1]):
            value = np.float64(z[r, c])
            sums[0, c] += value
            sums[1, c] += value * value


@jit
def affine_relu(z: Array, scale: Array, shift: Array, residual: Array, out: Array) -> None:
    """Fill out (R, C) with relu(scale z + shift), plus the residual unless it has no rows."""
    adds = residual.shape[0] > 0
    for r in range(z.shape[0]):
        for c in range(z.shape[1]):
            out[r, c] = max(z[r, c] * scale[c] + shift[c], 0)
        if adds:
            for c in range(z.shape[1]):
                out[r, c] += residual[r, c]


@jit
def add_gradient_sums(grad: Array, z: Array, scale: Array, shift: Array, sums: Array) -> None:
    """Add the sums of the gradient before relu, and of its product with z, to sums (2, C)."""
    for r in range(z.shape[0]):
        for c in range(z.shape[1]):
            passes = z[r, c] * scale[c] + shift[c] > 0
            value = np.float64(grad[r, c] if passes else 0)
            sums[0, c] += value
            sums[1, c] += value * z[r, c]


@jit
def norm_gradient(
    grad: Array, z: Array, scale: Array, shift: Array, level: Array, slope: Array, out: Array
) -> None:
    """Fill out (R, C) with scale (gradient before relu) + level + slope z."""
    for r in range(z.shape[0]):
        for c in range(z.shape[1]):
            passes = z[r, c] * scale[c] + shift[c] > 0
            out[r, c] = scale[c] * (grad[r, c] if passes else 0) + level[c] + slope[c] * z[r, c]
