"""Compiled loops of the generated street: where a ray meets each kind of solid.

A ray o + t d is given in the canonical space of a solid (see `solids`), where t is the distance in
metres as everywhere. Answers are t, infinite for none, and the normal there in that space.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcinv.ops.jit import jit

Floats = NDArray[np.float64]
Hit = tuple[float, float, float, float]

CONVEX, BALL, ROD, LEAVES = 0, 1, 2, 3


@jit
def meet_convex(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    planes: Floats, first: int, last: int,
) -> Hit:
    enter, leave, best = -np.inf, np.inf, -1
    for k in range(first, last):
        along = planes[k, 0] * dx + planes[k, 1] * dy + planes[k, 2] * dz
        above = planes[k, 0] * ox + planes[k, 1] * oy + planes[k, 2] * oz - planes[k, 3]
        if along == 0:
            if above > 0:
                return np.inf, 0.0, 0.0, 0.0
            continue
        t = -above / along
        if along < 0:
            if t > enter:
                enter, best = t, k
        elif t < leave:
            leave = t
        if enter > leave:
            return np.inf, 0.0, 0.0, 0.0
    if best < 0 or enter <= 0:
        return np.inf, 0.0, 0.0, 0.0
    return enter, planes[best, 0], planes[best, 1], planes[best, 2]


@jit
def meet_ball(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> Hit:
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    # the place nearest to the middle first: no digits are lost far away
    s = -b / a
    px, py, pz = ox + s * dx, oy + s * dy, oz + s * dz
    rest = 1.0 - (px * px + py * py + pz * pz)
    if rest <= 0:
        return np.inf, 0.0, 0.0, 0.0
    t = s - math.sqrt(rest / a)
    if t <= 0:
        return np.inf, 0.0, 0.0, 0.0
    return t, ox + t * dx, oy + t * dy, oz + t * dz


@jit
def meet_rod(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    length: float, r0: float, r1: float,
) -> Hit:
    best, nx, ny, nz = np.inf, 0.0, 0.0, 0.0
    k, middle, half = (r1 - r0) / length, (r0 + r1) / 2, length / 2
    a = dx * dx + dy * dy - k * k * dz * dz
    if a != 0:
        s = -(ox * dx + oy * dy) / (dx * dx + dy * dy + 1e-300)
        px, py, pz = ox + s * dx, oy + s * dy, oz + s * dz
        r = middle + k * pz
        b = px * dx + py * dy - k * dz * r
        rest = b * b - a * (px * px + py * py - r * r)
        if rest >= 0:
            root = math.sqrt(rest)
            for sign in (-1.0, 1.0):
                t = s + (-b + sign * root) / a
                z = oz + t * dz
                if 0 < t < best and -half <= z <= half and middle + k * z >= 0:
                    best, nx, ny, nz = t, ox + t * dx, oy + t * dy, -k * (middle + k * z)
    if dz != 0:
        for end in (-1.0, 1.0):
            t = (end * half - oz) / dz
            x, y, r = ox + t * dx, oy + t * dy, middle + end * k * half
            if 0 < t < best and x * x + y * y <= r * r:
                best, nx, ny, nz = t, 0.0, 0.0, end
    return best, nx, ny, nz


@jit
def leaf_bits(i: int, j: int, k: int, salt: int) -> np.uint64:
    """Return 60 random bits of a cell."""
    h = (np.uint64(i & 0xFFFFFF) * np.uint64(0x9E3779B97F4A7C15)
         ^ np.uint64(j & 0xFFFFFF) * np.uint64(0xC2B2AE3D27D4EB4F)
         ^ np.uint64(k & 0xFFFFFF) * np.uint64(0x165667B19E3779F9)
         ^ np.uint64(salt & 0xFFFFFF) * np.uint64(0xD6E8FEB86659FD93))
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@jit
def meet_leaves(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    rx: float, ry: float, rz: float, cell: float, leaf: float, density: float, salt: int,
) -> Hit:
    """A cell has a leaf by chance, if it lies within the ellipsoid; less often near its rim."""
    ux, uy, uz = dx / rx, dy / ry, dz / rz
    px, py, pz = ox / rx, oy / ry, oz / rz
    a = ux * ux + uy * uy + uz * uz
    s = -(px * ux + py * uy + pz * uz) / a
    qx, qy, qz = px + s * ux, py + s * uy, pz + s * uz
    rest = 1.0 - (qx * qx + qy * qy + qz * qz)
    if rest <= 0:
        return np.inf, 0.0, 0.0, 0.0
    root = math.sqrt(rest / a)
    t, stop = max(s - root, 0.0), s + root
    if stop <= 0:
        return np.inf, 0.0, 0.0, 0.0
    i = math.floor((ox + t * dx) / cell)
    j = math.floor((oy + t * dy) / cell)
    k = math.floor((oz + t * dz) / cell)
    bits, scale = np.uint64(0xFFF), 1.0 / 4096.0
    rim = 1.0 - 0.87 * cell / min(rx, ry, rz)
    while t < stop:
        tx = ((i + (dx > 0)) * cell - ox) / dx if dx != 0 else np.inf
        ty = ((j + (dy > 0)) * cell - oy) / dy if dy != 0 else np.inf
        tz = ((k + (dz > 0)) * cell - oz) / dz if dz != 0 else np.inf
        h = leaf_bits(i, j, k, salt)
        if np.float64(h & bits) * scale < density:
            cx, cy, cz = (i + 0.5) * cell / rx, (j + 0.5) * cell / ry, (k + 0.5) * cell / rz
            fuzzy = rim - 0.3 * np.float64((h >> np.uint64(48)) & bits) * scale
            if fuzzy > 0 and cx * cx + cy * cy + cz * cz < fuzzy * fuzzy:
                room = cell - 2 * leaf
                mx = i * cell + leaf + room * np.float64((h >> np.uint64(12)) & bits) * scale
                my = j * cell + leaf + room * np.float64((h >> np.uint64(24)) & bits) * scale
                mz = k * cell + leaf + room * np.float64((h >> np.uint64(36)) & bits) * scale
                found, nx, ny, nz = meet_ball((ox - mx) / leaf, (oy - my) / leaf, (oz - mz) / leaf,
                                              dx / leaf, dy / leaf, dz / leaf)
                if found < np.inf:
                    return found, nx, ny, nz
        t = min(tx, ty, tz)
        if tx <= ty and tx <= tz:
            i += 1 if dx > 0 else -1
        elif ty <= tz:
            j += 1 if dy > 0 else -1
        else:
            k += 1 if dz > 0 else -1
    return np.inf, 0.0, 0.0, 0.0


@jit
def meet_grille(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    half_x: float, half_z: float, every_x: float, bar_x: float, every_z: float, bar_z: float,
) -> Hit:
    if dy == 0:
        return np.inf, 0.0, 0.0, 0.0
    t = -oy / dy
    x, z = ox + t * dx + half_x, oz + t * dz + half_z
    if t <= 0 or x < 0 or x > 2 * half_x or z < 0 or z > 2 * half_z:
        return np.inf, 0.0, 0.0, 0.0
    if x % every_x > bar_x and z % every_z > bar_z:
        return np.inf, 0.0, 0.0, 0.0
    return t, 0.0, 1.0, 0.0


@jit
def meet(
    kind: int, planes: Floats, first: int, last: int, v: Floats,
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
) -> Hit:
    """v : (PARAMETERS,) of the solid."""
    if kind == CONVEX:
        return meet_convex(ox, oy, oz, dx, dy, dz, planes, first, last)
    if kind == BALL:
        return meet_ball(ox, oy, oz, dx, dy, dz)
    if kind == ROD:
        return meet_rod(ox, oy, oz, dx, dy, dz, v[0], v[1], v[2])
    if kind == LEAVES:
        return meet_leaves(ox, oy, oz, dx, dy, dz, v[0], v[1], v[2], v[3], v[4], v[5], int(v[6]))
    return meet_grille(ox, oy, oz, dx, dy, dz, v[0], v[1], v[2], v[3], v[4], v[5])
