"""Compiled loops of the histogram features: arithmetic over a fixed table of neighbours.

Loops without sums or branches stand apart from those with: the compiler vectorises the former.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

BINS = 11
_HALF_PI = 0.5 * math.pi
# Abramowitz and Stegun 4.4.49: arctan(x) = x times this in x^2, to 2e-8 for |x| <= 1
_ARCTAN = (1.0, -0.3333314528, 0.1999355085, -0.1420889944, 0.1065626393, -0.0752896400,
           0.0429096138, -0.0161657367, 0.0028662257)


@jit
def _gather(
    points: Floats, normals: Floats, neighbours: Indices, i: int, offset: Floats, other: Floats,
) -> None:
    """Fill lines to the neighbours of point i and their normals, each (3, K)."""
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    for k in range(len(neighbours)):
        j = neighbours[k]
        offset[0, k], offset[1, k], offset[2, k] = (
            points[j, 0] - x, points[j, 1] - y, points[j, 2] - z)
        other[0, k], other[1, k], other[2, k] = normals[j, 0], normals[j, 1], normals[j, 2]


@jit
def _cosines(
    offset: Floats, nx: float, ny: float, nz: float, other: Floats, count: int,
    along: Floats, side: Floats, f2: Floats, f3: Floats, size: Floats,
) -> None:
    """Fill what the angles between a point and its neighbours are made of.

    The base u is the normal closer to the line between the points, d the line from its point, o the
    other normal. f3 = d.u, and in the frame u, w0 = unit(d x u), w1 = u x w0: along = u.o,
    side = w1.o, f2 = w0.o. size : |d x u|, 0 where there are no angles.
    """
    for k in range(count):
        dx, dy, dz = offset[0, k], offset[1, k], offset[2, k]
        ox, oy, oz = other[0, k], other[1, k], other[2, k]
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        inverse = 1.0 / length if length > 0.0 else 0.0
        a1 = (nx * dx + ny * dy + nz * dz) * inverse
        a2 = (ox * dx + oy * dy + oz * dz) * inverse
        swap = abs(a1) < abs(a2)
        f3[k] = -a2 if swap else a1
        beside = -a1 if swap else a2
        along[k] = nx * ox + ny * oy + nz * oz
        cx, cy, cz = dy * nz - dz * ny, dz * nx - dx * nz, dx * ny - dy * nx
        bx, by, bz = dy * oz - dz * oy, dz * ox - dx * oz, dx * oy - dy * ox
        first = math.sqrt(cx * cx + cy * cy + cz * cz)
        second = math.sqrt(bx * bx + by * by + bz * bz)
        triple = cx * ox + cy * oy + cz * oz  # (d x n1).n2 = -(d x n2).n1 = (-d x n2).n1
        size[k] = second if swap else first
        inverse = 1.0 / size[k] if size[k] > 0.0 else 0.0
        f2[k] = triple * inverse
        side[k] = (beside - f3[k] * along[k]) * length * inverse


@jit
def _turns(side: Floats, along: Floats, fold: bool, count: int, f1: Floats) -> None:
    """Fill f1 = atan2(side, along), of |along| if `fold`."""
    for k in range(count):
        x, y = abs(along[k]), abs(side[k])
        large, small = max(x, y), min(x, y)
        t = small / large if large > 0.0 else 0.0
        s = t * t
        a = _ARCTAN[8]
        a = a * s + _ARCTAN[7]
        a = a * s + _ARCTAN[6]
        a = a * s + _ARCTAN[5]
        a = a * s + _ARCTAN[4]
        a = a * s + _ARCTAN[3]
        a = a * s + _ARCTAN[2]
        a = a * s + _ARCTAN[1]
        a = t * (a * s + _ARCTAN[0])
        a = _HALF_PI - a if y > x else a
        a = math.pi - a if along[k] < 0.0 and not fold else a
        f1[k] = -a if side[k] < 0.0 else a


@jit
def _without_signs(f1: Floats, f2: Floats, f3: Floats, along: Floats, count: int) -> None:
    """Replace the angles by ones that stay the same, to the last bit, whichever way normals point.

    f1 comes from |along|. The base turns along the line from its point, the other normal to the
    same side as the base. Where a zero leaves a sign open, the angles that change with it are made
    positive.
    """
    for k in range(count):
        base = -1.0 if f3[k] < 0.0 else 1.0
        other = -1.0 if base * along[k] < 0.0 else 1.0
        a, b = other * f1[k], base * other * f2[k]
        if f3[k] == 0.0 and along[k] == 0.0:
            a, b = abs(a), abs(b)
        elif f3[k] == 0.0:  # the base alone turns round: f1 changes its sign
            a = abs(a)
        elif along[k] == 0.0 and (b < 0.0 or (b == 0.0 and a < 0.0)):  # both change
            a, b = -a, -b
        f1[k], f2[k], f3[k] = a, b, abs(f3[k])


@jit
def _bin(share: float) -> int:
    return min(max(math.floor(BINS * share), 0), BINS - 1)


@jit
def simple_histograms(
    points: Floats, normals: Floats, index: Indices, counts: Indices, start: int, stop: int,
    sign_free: bool, out: Floats,
) -> None:
    """Fill rows start to stop of `out` (S, N, 33) with three histograms of 100 each.

    counts : (S, N) neighbours that each of S supports has, ascending in S: they are listed nearest
    first, the point itself before all. A pair without angles counts as zeros, in the middle bins,
    as in Open3D; sign-free, it does not count.
    """
    most = index.shape[1]
    offset, other = np.empty((3, most)), np.empty((3, most))
    along, side, size = np.empty(most), np.empty(most), np.empty(most)
    f1, f2, f3 = np.empty(most), np.empty(most), np.empty(most)
    sum_ = np.empty(3 * BINS)
    for i in range(start, stop):
        total = counts[-1, i] - 1
        _gather(points, normals, index[i, 1:total + 1], i, offset, other)
        _cosines(offset, normals[i, 0], normals[i, 1], normals[i, 2], other, total, along, side,
                 f2, f3, size)
        _turns(side, along, sign_free, total, f1)
        if sign_free:
            _without_signs(f1, f2, f3, along, total)
        sum_[:] = 0.0
        used, before = 0, 0
        for support in range(len(counts)):
            for k in range(before, counts[support, i] - 1):
                if size[k] == 0.0:
                    if sign_free:
                        continue
                    b1, b2, b3 = BINS // 2, BINS // 2, BINS // 2
                elif sign_free:
                    b1, b2, b3 = _bin(f1[k] / math.pi + 0.5), _bin((f2[k] + 1.0) * 0.5), _bin(f3[k])
                else:
                    b1 = _bin((f1[k] + math.pi) / (2.0 * math.pi))
                    b2, b3 = _bin((f2[k] + 1.0) * 0.5), _bin((f3[k] + 1.0) * 0.5)
                used += 1
                sum_[b1] += 1.0
                sum_[BINS + b2] += 1.0
                sum_[2 * BINS + b3] += 1.0
            before = max(before, counts[support, i] - 1)
            scale = 100.0 / used if used else 0.0
            for b in range(3 * BINS):
                out[support, i, b] = scale * sum_[b]


@jit
def weighted_histograms(
    points: Floats, simple: Floats, index: Indices, count: Indices, start: int, stop: int,
    out: Floats,
) -> None:
    """Fill rows of `out` with the point's histogram and those of its neighbours over distance².

    Each block of the neighbours' sum is scaled to 100; it stays empty if all are at the point.
    """
    for i in range(start, stop):
        for k in range(1, count[i]):
            j = index[i, k]
            dx = points[j, 0] - points[i, 0]
            dy = points[j, 1] - points[i, 1]
            dz = points[j, 2] - points[i, 2]
            dist2 = dx * dx + dy * dy + dz * dz
            if dist2 == 0.0:
                continue
            weight = 1.0 / dist2
            for b in range(3 * BINS):
                out[i, b] += weight * simple[j, b]
        for block in range(3):
            total = 0.0
            for b in range(block * BINS, (block + 1) * BINS):
                total += out[i, b]
            scale = 100.0 / total if total != 0.0 else 0.0
            for b in range(block * BINS, (block + 1) * BINS):
                out[i, b] = scale * out[i, b] + simple[i, b]
