"""Compiled loops of `pcinv.ops.ground`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

SECTORS = 180
NEAR, MIDDLE, FAR = 25.0, 65.0, 125.0
"""Ends of the rings of 0.5, 1 and 2.5 m."""
RINGS = 50 + 40 + 24
BAND = 0.1
"""Metres above the lowest of several points of a cell that are its low."""
SEED_TRIALS = 300
LOOKED_AT = (2 * 10 + 1) * (2 * 15 + 1)
"""Most cells around one that are looked at."""
SLACK = 0.05
"""Metres that a low may be off in addition for each metre to the nearest ground."""


@jit
def lows(xyz: Singles, cells: Indices, order: Indices, low: Floats, reach: Floats) -> None:
    """Fill the cell of each point, the points by cell, and the place and count of each cell's low.

    xyz : (N, 3).  cells : (N,), -1 for points that are not finite.  order : (N,).
    low : (SECTORS * RINGS, 4) mean x, y, z of the lowest points and how many points the cell has.
    reach : (SECTORS * RINGS,) distance of the low from the sensor.
    """
    count = xyz.shape[0]
    starts = np.zeros(SECTORS * RINGS + 1, np.int64)
    for i in range(count):
        x, y, z = float(xyz[i, 0]), float(xyz[i, 1]), float(xyz[i, 2])
        cells[i] = -1
        if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
            continue
        r = math.sqrt(x * x + y * y)
        if r < NEAR:
            ring = int(r * 2)
        elif r < MIDDLE:
            ring = 50 + int(r - NEAR)
        else:
            ring = min(RINGS - 1, 90 + int((min(r, FAR) - MIDDLE) / 2.5))
        sector = int((math.atan2(y, x) + math.pi) * (SECTORS / (2 * math.pi))) % SECTORS
        cells[i] = ring * SECTORS + sector
        starts[cells[i] + 1] += 1
    for c in range(SECTORS * RINGS):
        starts[c + 1] += starts[c]
    place = starts[:-1].copy()
    for i in range(count):
        if cells[i] >= 0:
            order[place[cells[i]]] = i
            place[cells[i]] += 1
    for c in range(SECTORS * RINGS):
        first, last = starts[c], starts[c + 1]
        low[c, 3] = last - first
        if last == first:
            continue
        heights = np.empty(last - first)
        for k in range(first, last):
            heights[k - first] = xyz[order[k], 2]
        heights.sort()
        bottom = heights[0]
        if len(heights) >= 4:  # a lonely point below the others is a reflection
            for k in range(len(heights) - 1):
                if heights[k + 1] - heights[k] <= BAND:
                    bottom = heights[k]
                    break
        n, sx, sy, sz = 0, 0.0, 0.0, 0.0
        for k in range(first, last):
            i = order[k]
            if bottom <= xyz[i, 2] <= bottom + BAND:
                n += 1
                sx += xyz[i, 0]
                sy += xyz[i, 1]
                sz += xyz[i, 2]
        low[c, 0], low[c, 1], low[c, 2] = sx / n, sy / n, sz / n
        reach[c] = math.sqrt(low[c, 0] ** 2 + low[c, 1] ** 2)


@jit
def seed_plane(low: Floats, reach: Floats, within: float, near: float, steepest: float,
               height: float, free: float, plane: Floats) -> int:
    """Fill the plane z = a x + b y + c that most lows near the sensor lie on, few of them below.

    within : metres around the sensor.  near : metres from the plane.
    steepest : slope.  height : c that is wanted, to within `free`.  plane : (3,).

    Returns how many lie on it, less twice those that lie below; less than 1 where there is none.
    """
    chosen = np.empty(low.shape[0], np.int64)
    n = 0
    for c in range(low.shape[0]):
        if low[c, 3] > 0 and reach[c] <= within:
            chosen[n] = c
            n += 1
    if n < 3:
        return 0
    best, state = 0, np.uint64(88172645463325252)
    for _ in range(SEED_TRIALS):
        p = np.empty((3, 3))
        for k in range(3):
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            p[k] = low[chosen[np.int64(state % np.uint64(n))], :3]
        ux, uy, uz = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[1, 2] - p[0, 2]
        vx, vy, vz = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2]
        nz = ux * vy - uy * vx
        if abs(nz) < 1.0:  # square metres: the three must span something
            continue
        a, b = -(uy * vz - uz * vy) / nz, -(uz * vx - ux * vz) / nz
        c0 = p[0, 2] - a * p[0, 0] - b * p[0, 1]
        if a * a + b * b > steepest * steepest or abs(c0 - height) > free:
            continue
        score = 0
        for k in range(n):
            c = chosen[k]
            off = low[c, 2] - a * low[c, 0] - b * low[c, 1] - c0
            if abs(off) <= near:
                score += 1
            elif -5.0 < off < -near:
                score -= 2
        if score > best:
            best = score
            plane[0], plane[1], plane[2] = a, b, c0
    return best


@jit
def _fit(low: Floats, ground: Flags, ring: int, sector: int, side: int, inward: int, outward: int,
         robust: float, steepest: float, found: Indices, fit: Floats) -> int:
    """Fill the slope, height and distance of the ground around a cell; return of how many cells.

    side, inward, outward : cells that are looked at.
    robust : metres from the fit at which a cell counts half; 0 for a plain fit.
    found : (LOOKED_AT,) working memory.
    fit : (4,) a, b, the height at the cell's own low, metres to the nearest of these cells.
    """
    own = ring * SECTORS + sector
    x0, y0 = low[own, 0], low[own, 1]
    a, b, c0, nearest, n = 0.0, 0.0, 0.0, 1e9, 0
    for k in range(max(0, ring - inward), min(RINGS, ring + outward + 1)):
        for j in range(sector - side, sector + side + 1):
            c = k * SECTORS + j % SECTORS
            if ground[c] and (c != own or robust > 0):
                found[n] = c
                n += 1
    for trial in range((3 if robust > 0 else 1) if n else 0):
        # least squares of z = a x + b y + c about the cell, slopes held to 0 by a little
        w0, wx, wy, wxx, wxy, wyy, wz, wxz, wyz = (1e-9,) + (0.0,) * 8
        for k in range(n):
            c = found[k]
            x, y, z = low[c, 0] - x0, low[c, 1] - y0, low[c, 2]
            d2 = x * x + y * y
            w = 1.0 / (1.0 + d2 / 4.0)
            if trial > 0:
                off = (z - a * x - b * y - c0) / robust
                w /= 1.0 + off * off
            nearest = min(nearest, d2)
            w0 += w
            wx += w * x
            wy += w * y
            wxx += w * x * x
            wxy += w * x * y
            wyy += w * y * y
            wz += w * z
            wxz += w * x * z
            wyz += w * y * z
        mx, my, mz = wx / w0, wy / w0, wz / w0
        sxx, sxy, syy = wxx - w0 * mx * mx + 1.0, wxy - w0 * mx * my, wyy - w0 * my * my + 1.0
        sxz, syz = wxz - w0 * mx * mz, wyz - w0 * my * mz
        det = sxx * syy - sxy * sxy
        a, b = (sxz * syy - syz * sxy) / det, (syz * sxx - sxz * sxy) / det
        slope = math.sqrt(a * a + b * b)
        if slope > steepest:
            a, b = a * steepest / slope, b * steepest / slope
        c0 = mz - a * mx - b * my
    fit[0], fit[1], fit[2], fit[3] = a, b, c0, math.sqrt(nearest)
    return n


@jit
def grow(low: Floats, reach: Floats, plane: Floats, within: float, step: float, steepest: float,
         ground: Flags, fits: Floats) -> None:
    """Fill which cells are ground at their low, and the ground around each, from the seed outward.

    within : metres in which the seed holds.  step : metres a low may be off what is expected.
    ground : (cells,).  fits : (cells, 4) see `_fit`; the fourth is -1 where there is no ground.
    """
    total = SECTORS * RINGS
    for c in range(total):
        ground[c] = False
        fits[c, 3] = -1.0
        if low[c, 3] > 0 and reach[c] <= within:
            off = low[c, 2] - plane[0] * low[c, 0] - plane[1] * low[c, 1] - plane[2]
            ground[c] = abs(off) <= step
    fit, near = np.empty(4), np.empty(LOOKED_AT, np.int64)
    for turn in range(2):
        for c in range(total):
            if low[c, 3] == 0:
                continue
            ring, sector = c // SECTORS, c % SECTORS
            n = _fit(low, ground, ring, sector, 4, 8, 4 * turn, 0.0, steepest, near, fit)
            if n < 6:
                n = _fit(low, ground, ring, sector, 10, 20, 10 * turn, 0.0, steepest, near, fit)
            if n < 3:
                ground[c] = ground[c] and reach[c] <= within and turn == 0
                continue
            off = low[c, 2] - fit[2]
            allowed = step + SLACK * min(fit[3], 10.0)
            ground[c] = -allowed - BAND <= off <= allowed
    for c in range(total):
        if low[c, 3] == 0:
            continue
        ring, sector = c // SECTORS, c % SECTORS
        n = _fit(low, ground, ring, sector, 4, 5, 5, 0.1, steepest, near, fit)
        if n < 6:
            n = _fit(low, ground, ring, sector, 10, 15, 15, 0.1, steepest, near, fit)
        if n >= 3:
            fits[c] = fit
    for c in range(total):
        if ground[c]:
            ground[c] = fits[c, 3] >= 0 and abs(low[c, 2] - fits[c, 2]) <= step + SLACK


@jit
def mark(xyz: Singles, cells: Indices, low: Floats, ground: Flags, fits: Floats, height: float,
         depth: float, mask: Flags) -> None:
    """Fill which points (N,) lie on the ground.

    height, depth : metres above and below it.
    """
    for i in range(xyz.shape[0]):
        c = cells[i]
        mask[i] = False
        if c < 0 or fits[c, 3] < 0:
            continue
        tilt = fits[c, 0] * (xyz[i, 0] - low[c, 0]) + fits[c, 1] * (xyz[i, 1] - low[c, 1])
        above = xyz[i, 2] - (fits[c, 2] + tilt)
        if not -depth <= above <= height:
            continue
        own = xyz[i, 2] - (low[c, 2] + tilt)
        mask[i] = not ground[c] or own <= height
