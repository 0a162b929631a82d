"""Compiled loops of the ground: the distance to the road's middle, and where a ray meets it.

The ground is bilinear between points of a square lattice 1 m apart, and raised by a kerb wherever a
second bilinear function, how far it is to the nearest road, is not negative.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

if TYPE_CHECKING:
    from pcinv_data.lidar_sim.ground import Field

Floats = NDArray[np.float64]

BLOCK = 8
"""Cells along a side of the blocks whose highest place is known."""
ROAD, PARKING, SIDEWALK, OTHER_GROUND, TERRAIN = 8, 9, 10, 11, 16


@jit
def nearest_on_line(
    points: Floats, x: Floats, y: Floats, first: int, last: int, out: Floats,
) -> None:
    """Fill how far left of a line each point is, and where along it, in its points.

    points : (N, 2).  x, y : (P,) of the line.  first, last : the part of it that may be near.
    out : (N, 2); points that are nowhere beside the line have a large distance.
    """
    for n in range(len(points)):
        best, left, along = 1e300, 1e9, float(first)
        for k in range(first, last - 1):
            ux, uy = x[k + 1] - x[k], y[k + 1] - y[k]
            vx, vy = points[n, 0] - x[k], points[n, 1] - y[k]
            size = ux * ux + uy * uy
            share = min(max((vx * ux + vy * uy) / size, 0.0), 1.0)
            wx, wy = vx - share * ux, vy - share * uy
            away = wx * wx + wy * wy
            if away < best:
                best, along = away, k + share
                left = math.sqrt(away) if ux * vy - uy * vx >= 0 else -math.sqrt(away)
        out[n, 0], out[n, 1] = left, along


@jit
def meet_cell(
    field: Field, i: int, j: int, x: float, y: float, z: float, dx: float, dy: float, dz: float,
    kerb: float, duration: float,
) -> tuple[float, int]:
    """Return when a ray from (x, y, z), in the lattice, meets the ground of a cell; and what."""
    h, k = field.height, field.kerb
    k00, k10, k01, k11 = k[i, j], k[i + 1, j], k[i, j + 1], k[i + 1, j + 1]
    h00 = h[i, j]
    hx, hy = h[i + 1, j] - h00, h[i, j + 1] - h00
    hxy = h[i + 1, j + 1] - h00 - hx - hy
    u, v = x - i, y - j
    q0 = z - (h00 + hx * u + hy * v + hxy * u * v)
    q1 = dz - (hx * dx + hy * dy + hxy * (u * dy + v * dx))
    q2 = -hxy * dx * dy
    lowest = min(q0, q0 + (q1 + q2 * duration) * duration) - abs(q2) * duration * duration
    if lowest > kerb:
        return np.inf, 0
    if k00 < 0 and k10 < 0 and k01 < 0 and k11 < 0:
        return (0.0, 0) if q0 <= 0 else (first_root(q0, q1, q2, duration), 0)
    if k00 >= 0 and k10 >= 0 and k01 >= 0 and k11 >= 0:
        if q0 < kerb - 1e-9:
            return 0.0, 2  # it came in from beside
        return first_root(q0 - kerb, q1, q2, duration), 1
    sx, sy = k10 - k00, k01 - k00
    sxy = k11 - k00 - sx - sy
    s0 = k00 + sx * u + sy * v + sxy * u * v
    s1 = sx * dx + sy * dy + sxy * (u * dy + v * dx)
    s2 = sxy * dx * dy
    best, what, t = np.inf, 0, first_root(q0, q1, q2, duration)
    if t < best:
        best, what = t, 0
    t = first_root(q0 - kerb, q1, q2, duration)
    if t < best and s0 + (s1 + s2 * t) * t >= 0:
        best, what = t, 1
    if s0 >= 0 and q0 < kerb - 1e-9:
        return 0.0, 2
    t, begin = 0.0, 0.0
    for _ in range(2):  # crossings of the kerb line, in either direction
        t = first_root(s0 + (s1 + s2 * begin) * begin, s1 + 2 * s2 * begin, s2, duration - begin)
        if t == np.inf:
            break
        begin += t
        if 0 <= q0 + (q1 + q2 * begin) * begin < kerb and s1 + 2 * s2 * begin > 0 and begin < best:
            best, what = begin, 2
        begin += 1e-9
    return best, what


@jit
def first_root(a: float, b: float, c: float, duration: float) -> float:
    """Return the first t in [0, duration] with a + b t + c t^2 = 0, or infinity."""
    if c == 0:
        if b == 0:
            return np.inf
        t = -a / b
        return t if 0 <= t <= duration else np.inf
    rest = b * b - 4 * a * c
    if rest < 0:
        return np.inf
    q = -0.5 * (b + math.sqrt(rest)) if b >= 0 else -0.5 * (b - math.sqrt(rest))
    one, other = q / c, (a / q if q != 0 else q / c)
    if one > other:
        one, other = other, one
    if 0 <= one <= duration:
        return one
    return other if 0 <= other <= duration else np.inf


@jit
def meet_ground(
    field: Field, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, t: float,
    far: float,
) -> tuple[float, int]:
    """Return how far along a ray the ground is, and what: 0 road, 1 above the kerb, 2 its side.

    t, far : where to begin and to end; there must be none before.
    """
    x, y, kerb = ox - field.x0, oy - field.y0, field.step
    blocks = field.tops.shape
    i, j = math.floor((x + t * dx) / BLOCK), math.floor((y + t * dy) / BLOCK)
    while 0 <= i < blocks[0] and 0 <= j < blocks[1] and t < far:
        tx = ((i + (dx > 0)) * BLOCK - x) / dx if dx != 0 else np.inf
        ty = ((j + (dy > 0)) * BLOCK - y) / dy if dy != 0 else np.inf
        end = min(tx, ty)
        if oz + dz * (t if dz > 0 else min(end, far)) <= field.tops[i, j] + kerb:
            a = min(max(math.floor(x + t * dx), i * BLOCK), i * BLOCK + BLOCK - 1)
            b = min(max(math.floor(y + t * dy), j * BLOCK), j * BLOCK + BLOCK - 1)
            now = t
            while now < far:
                ax = ((a + (dx > 0)) - x) / dx if dx != 0 else np.inf
                ay = ((b + (dy > 0)) - y) / dy if dy != 0 else np.inf
                until = min(ax, ay)
                met, what = meet_cell(field, a, b, x + now * dx, y + now * dy, oz + now * dz,
                                      dx, dy, dz, kerb, until - now)
                if met < np.inf:
                    return now + met, what
                if until >= end:
                    break
                now = until
                if ax <= ay:
                    a += 1 if dx > 0 else -1
                else:
                    b += 1 if dy > 0 else -1
        if dz >= 0 and oz + dz * end > field.top + kerb:
            break
        if tx <= ty:
            i += 1 if dx > 0 else -1
        else:
            j += 1 if dy > 0 else -1
        t = end
    return np.inf, 0


@jit
def bilinear(grid: Floats, i: int, j: int, u: float, v: float) -> float:
    return (grid[i, j] * (1 - u) + grid[i + 1, j] * u) * (1 - v) \
        + (grid[i, j + 1] * (1 - u) + grid[i + 1, j + 1] * u) * v


@jit
def ground_at(
    field: Field, x: float, y: float, what: int, dx: float, dy: float, dz: float,
) -> tuple[int, float, float]:
    """Return class, cosine between ray and normal, and share of light that comes back."""
    x, y = x - field.x0, y - field.y0
    i = min(max(int(x), 0), field.height.shape[0] - 2)
    j = min(max(int(y), 0), field.height.shape[1] - 2)
    u, v = x - i, y - j
    grid = field.kerb if what == 2 else field.height
    gx = (grid[i + 1, j] - grid[i, j]) * (1 - v) + (grid[i + 1, j + 1] - grid[i, j + 1]) * v
    gy = (grid[i, j + 1] - grid[i, j]) * (1 - u) + (grid[i + 1, j + 1] - grid[i + 1, j]) * u
    up = 0.0 if what == 2 else 1.0
    size = math.sqrt(gx * gx + gy * gy + up)
    cosine = min(abs(dz * up - gx * dx - gy * dy) / max(size, 1e-12), 1.0)
    if what == 2:
        return SIDEWALK, cosine, 0.3
    main, side = bilinear(field.main, i, j, u, v), bilinear(field.side, i, j, u, v)
    if what == 1:
        if min(main, side) < field.walk:
            return SIDEWALK, cosine, 0.32
        if field.paved[i, j] and main < field.walk + 6:
            return OTHER_GROUND, cosine, 0.24
        return TERRAIN, cosine, 0.4
    if side > 0.3:
        if main > -field.strip:
            return PARKING, cosine, 0.2
        away = main + field.wide  # from the middle of the road
        on_line = away < 0.07 or abs(main + field.strip) < 0.06
        if not on_line and abs(away / field.lane - round(away / field.lane)) * field.lane < 0.06:
            on_line = bilinear(field.along, i, j, u, v) % 9.0 < 3.0
        if on_line:
            return ROAD, cosine, 0.75
    return ROAD, cosine, 0.17
