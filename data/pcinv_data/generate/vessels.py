"""Builders of vessels: bodies turned on a lathe, with handles and spouts.

Open vessels have a wall and an inner surface; closed ones are solid.
Part indices follow the names in `classes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pcinv_data.generate.primitives import Piece, Revolved, rod
from pcinv_data.generate.swept import Curve, Tube

Rng = np.random.Generator
Profile = list[tuple[float, float]]


def smooth_profile(knots: Profile, count: int = 36) -> Profile:
    """Draw a smooth line of (radius, height) through the knots (Catmull-Rom, uniform)."""
    p = np.asarray(knots, dtype=float)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    t = np.linspace(0, len(knots) - 1 - 1e-9, count)
    i = t.astype(int)
    u = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    points = 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2
                    + (3 * b - a - 3 * c + d) * u**3)
    return [(max(float(r), 0.0), float(z)) for r, z in points]


def hollow(outer: Profile, wall: float, floor: float) -> Revolved:
    """Turn an outer line (foot to rim) into an open vessel with this wall and floor."""
    line = np.asarray(outer)
    along = np.gradient(line, axis=0)
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    inner = line + wall * np.column_stack([-along[:, 1], along[:, 0]])
    inner[-1] = (line[-1, 0] - wall, line[-1, 1])
    inner = inner[(inner[:, 1] > line[0, 1] + floor) & (inner[:, 0] > 0.01)]
    bottom = (float(inner[0, 0]), line[0, 1] + floor)
    return Revolved([(0.0, line[0, 1]), *map(tuple, line), *map(tuple, inner[::-1]), bottom,
                     (0.0, bottom[1])])


def bezier(corners: np.ndarray) -> Curve:
    """Return the cubic Bezier curve of four corners (4, 3)."""
    p = np.asarray(corners, dtype=float)

    def curve(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u = t[:, None]
        v = 1 - u
        position = v**3 * p[0] + 3 * v * v * u * p[1] + 3 * v * u * u * p[2] + u**3 * p[3]
        first = 3 * (v * v * (p[1] - p[0]) + 2 * v * u * (p[2] - p[1]) + u * u * (p[3] - p[2]))
        second = 6 * (v * (p[2] - 2 * p[1] + p[0]) + u * (p[3] - 2 * p[2] + p[1]))
        return position, first, second

    return curve


def above(height: float, part: int) -> Callable[[np.ndarray], np.ndarray]:
    """Label points above `height` with `part`, the others 0."""
    return lambda points: np.where(points[:, 2] > height, part, 0)


def bottle(rng: Rng) -> list[Piece]:
    """Body, neck, cap: closed, with a narrow cylindrical neck."""
    tall, neck = rng.uniform(1.6, 3.4), rng.uniform(0.24, 0.42)
    shoulder, rise = rng.uniform(0.3, 0.9), rng.uniform(0.35, 0.9)
    foot = rng.uniform(0.85, 1.0)
    knots = [(1.0, tall), (0.5 * (1 + neck) + rng.uniform(0.0, 0.12), tall + 0.5 * shoulder),
             (neck, tall + shoulder)]
    top = tall + shoulder + rise
    profile = [(0.0, 0.0), (foot, 0.0), (1.0, rng.uniform(0.08, 0.5)), *smooth_profile(knots, 20),
               (neck, top), (0.0, top)]
    pieces = [Piece(Revolved(profile), above(tall + shoulder, 1))]
    if rng.random() < 0.6:
        height = rng.uniform(0.15, 0.35)
        pieces.append(rod((0, 0, top - height * 0.6), (0, 0, top + height * 0.4),
                          neck * rng.uniform(1.12, 1.35), 2))
    return pieces


def mug(rng: Rng) -> list[Piece]:
    """Body, handle: an open cup, straight, tapered or barrelled, with one handle."""
    height, foot, belly = rng.uniform(1.5, 2.8), rng.uniform(0.65, 1.0), rng.uniform(0.95, 1.12)
    line = smooth_profile([(foot, 0.0), (0.5 * (foot + 1) * belly, height / 2), (1.0, height)], 20)
    wall = rng.uniform(0.08, 0.13)
    body = hollow(line, wall, rng.uniform(0.1, 0.2))
    radius, reach = rng.uniform(0.08, 0.14), rng.uniform(0.7, 1.3)
    low, high = rng.uniform(0.12, 0.3) * height, rng.uniform(0.72, 0.88) * height
    flat = np.asarray(line)
    r_low, r_high = (float(np.interp(z, flat[:, 1], flat[:, 0])) - wall / 2 for z in (low, high))
    droop = rng.uniform(-0.1, 0.2) * height
    handle = Tube(bezier(np.array([[r_high, 0, high], [r_high + reach, 0, high + 0.1],
                                   [r_low + reach, 0, low - droop], [r_low, 0, low]])), radius)
    return [Piece(body, 0), Piece(handle, 1)]


def bowl(rng: Rng) -> list[Piece]:
    """Body, foot: open, at most 0.8 of its radius deep."""
    depth, flat = rng.uniform(0.35, 0.8), rng.uniform(0.25, 0.5)
    middle = (rng.uniform(0.72, 0.9), depth * rng.uniform(0.35, 0.5))
    line = smooth_profile([(flat, 0.0), middle, (1.0, depth)], 28)
    wall = rng.uniform(0.04, 0.09)
    pieces = [Piece(hollow(line, wall, wall * 1.2), 0)]
    if rng.random() < 0.6:
        ring, drop = flat * rng.uniform(0.8, 1.0), rng.uniform(0.06, 0.18)
        pieces.append(rod((0, 0, -drop), (0, 0, 0.5 * wall), ring, 1))
    return pieces


def vase(rng: Rng) -> list[Piece]:
    """Body, neck: open, with a belly, a waist and a flared lip."""
    height = rng.uniform(2.2, 4.0)
    waist, lip = rng.uniform(0.45, 0.62), rng.uniform(0.72, 1.0)
    at = rng.uniform(0.3, 0.48)
    neck = rng.uniform(0.72, 0.82)
    line = smooth_profile([(rng.uniform(0.45, 0.75), 0.0), (1.0, at * height),
                           (waist, neck * height), (lip, height)], 44)
    return [Piece(hollow(line, rng.uniform(0.05, 0.09), 0.1), above(neck * height * 0.92, 1))]


def jug(rng: Rng) -> list[Piece]:
    """Body, handle, spout, lid: a closed pot with a handle opposite its spout."""
    height, foot, top = rng.uniform(1.3, 2.4), rng.uniform(0.55, 0.9), rng.uniform(0.4, 0.65)
    at = rng.uniform(0.35, 0.5) * height
    line = smooth_profile([(foot, 0.0), (1.0, at), (top, height)], 28)
    flat = np.asarray(line)

    def wall(z: float) -> float:
        return float(np.interp(z, flat[:, 1], flat[:, 0]))

    pieces = [Piece(Revolved([(0.0, 0.0), *line, (0.0, height)]), 0)]
    high, low = rng.uniform(0.78, 0.9) * height, rng.uniform(0.2, 0.4) * height
    reach, radius = rng.uniform(0.7, 1.2), rng.uniform(0.08, 0.13)
    pieces.append(Piece(Tube(bezier(np.array([
        [-wall(high) + 0.15, 0, high], [-wall(high) - reach, 0, high + 0.3],
        [-wall(low) - reach, 0, low], [-wall(low) + 0.15, 0, low]])), radius), 1))
    start = rng.uniform(0.3, 0.5) * height
    out, thick = rng.uniform(0.6, 1.0), rng.uniform(0.12, 0.2)
    end = np.array([wall(start) + out, 0.0, rng.uniform(0.85, 1.05) * height])
    base = np.array([wall(start) - 0.35, 0.0, start])
    pieces.append(rod(base, end, thick * 1.5, 2, thick * 0.75))
    knob = rng.uniform(0.1, 0.16)
    dome = smooth_profile([(top * 0.9, height - 0.02), (top * 0.6, height + 0.14),
                           (0.06, height + 0.2)], 12)
    pieces.append(Piece(Revolved([(0.0, height - 0.02), *dome, (0.0, height + 0.2)]), 3))
    ball = [(knob * math.sin(a), height + 0.17 + knob - knob * math.cos(a))
            for a in np.linspace(0.0, math.pi, 14)]
    pieces.append(Piece(Revolved(ball), 3))
    return pieces
