"""Compiled loops of the histogram features: arithmetic over a fixed table of neighbours."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

BINS = 11


@jit
def _base_first(
    p1: Floats, n1: Floats, p2: Floats, n2: Floats
) -> tuple[float, float, float, Floats, Floats, float, bool]:
    """Return the line from the base to the other point, the normal of each, the base's cosine to
    the line, and whether the points are apart. The base's normal is the closer one to the line.
    """
    dx, dy, dz = p2[0] - p1[0], p2[1] - p1[1], p2[2] - p1[2]
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    if length == 0.0:
        return dx, dy, dz, n1, n2, 0.0, False
    a1 = (n1[0] * dx + n1[1] * dy + n1[2] * dz) / length
    a2 = (n2[0] * dx + n2[1] * dy + n2[2] * dz) / length
    if abs(a1) < abs(a2):
        return -dx, -dy, -dz, n2, n1, -a2, True
    return dx, dy, dz, n1, n2, a1, True


@jit
def pair_features(
    p1: Floats, n1: Floats, p2: Floats, n2: Floats
) -> tuple[float, float, float, bool]:
    """Return the angles f1, f2, f3 of two oriented points, and whether they are defined.

    The base u is the normal closer to the line between the points.
    """
    dx, dy, dz, u, other, f3, apart = _base_first(p1, n1, p2, n2)
    if not apart:
        return 0.0, 0.0, 0.0, False
    along, side, f2, defined = _in_frame(
        dx, dy, dz, u[0], u[1], u[2], other[0], other[1], other[2])
    return math.atan2(side, along), f2, f3, defined


@jit
def sign_free_pair_features(
    p1: Floats, n1: Floats, p2: Floats, n2: Floats
) -> tuple[float, float, float, bool]:
    """Return angles that stay the same, to the last bit, when either normal changes its sign.

    The base u points along the line from its point, the other normal to the same side as u. Where
    a zero leaves a sign open, the angles that change with it are made positive.
    """
    dx, dy, dz, u, other, f3, apart = _base_first(p1, n1, p2, n2)
    if not apart:
        return 0.0, 0.0, 0.0, False
    s = -1.0 if f3 < 0.0 else 1.0
    ux, uy, uz = s * u[0], s * u[1], s * u[2]
    across = ux * other[0] + uy * other[1] + uz * other[2]
    s = -1.0 if across < 0.0 else 1.0
    ox, oy, oz = s * other[0], s * other[1], s * other[2]
    along, side, f2, defined = _in_frame(dx, dy, dz, ux, uy, uz, ox, oy, oz)
    f1 = math.atan2(side, abs(along))  # of -0, too
    base_open, other_open = f3 == 0.0, across == 0.0
    if base_open and other_open:
        f1, f2 = abs(f1), abs(f2)
    elif base_open:  # u alone turns round: f1 changes its sign
        f1 = abs(f1)
    elif other_open and (f2 < 0.0 or (f2 == 0.0 and f1 < 0.0)):  # both change
        f1, f2 = -f1, -f2
    return f1, f2, abs(f3), defined


@jit
def _in_frame(
    dx: float, dy: float, dz: float, ux: float, uy: float, uz: float,
    ox: float, oy: float, oz: float,
) -> tuple[float, float, float, bool]:
    """Return u.o, w1.o and w0.o with w0 = unit(d x u), w1 = u x w0; False where d is along u."""
    wx, wy, wz = dy * uz - dz * uy, dz * ux - dx * uz, dx * uy - dy * ux
    size = math.sqrt(wx * wx + wy * wy + wz * wz)
    if size == 0.0:
        return 0.0, 0.0, 0.0, False
    wx, wy, wz = wx / size, wy / size, wz / size
    vx, vy, vz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
    along, side = ux * ox + uy * oy + uz * oz, vx * ox + vy * oy + vz * oz
    return along, side, wx * ox + wy * oy + wz * oz, True


@jit
def _bin(share: float) -> int:
    return min(max(math.floor(BINS * share), 0), BINS - 1)


@jit
def simple_histograms(
    points: Floats, normals: Floats, index: Indices, count: Indices, start: int, stop: int,
    sign_free: bool, out: Floats,
) -> None:
    """Fill rows start to stop of `out` (N, 33) with three histograms of 100 each over neighbours.

    The first neighbour is the point itself. A pair without angles counts as zeros, in the middle
    bins, as in Open3D; sign-free, it does not count.
    """
    for i in range(start, stop):
        used = 0
        for k in range(1, count[i]):
            j = index[i, k]
            if sign_free:
                f1, f2, f3, defined = sign_free_pair_features(
                    points[i], normals[i], points[j], normals[j])
                if not defined:
                    continue
                b1, b2, b3 = _bin(f1 / math.pi + 0.5), _bin((f2 + 1.0) * 0.5), _bin(f3)
            else:
                f1, f2, f3, defined = pair_features(
                    points[i], normals[i], points[j], normals[j])
                if not defined:
                    f1, f2, f3 = 0.0, 0.0, 0.0
                b1 = _bin((f1 + math.pi) / (2.0 * math.pi))
                b2, b3 = _bin((f2 + 1.0) * 0.5), _bin((f3 + 1.0) * 0.5)
            used += 1
            out[i, b1] += 1.0
            out[i, BINS + b2] += 1.0
            out[i, 2 * BINS + b3] += 1.0
        if used:
            for b in range(3 * BINS):
                out[i, b] *= 100.0 / used


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
