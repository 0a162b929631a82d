"""Builders of mechanical parts. Part indices follow the names in `classes.py`."""

from __future__ import annotations

import math

import numpy as np

from pcinv_data.generate.primitives import (
    Piece,
    Revolved,
    bar,
    box,
    frustum,
    regular_polygon,
    rod,
    turn,
)
from pcinv_data.generate.swept import Curve, Extruded, Tube

Rng = np.random.Generator


def bolt(rng: Rng) -> list[Piece]:
    """Head, shank: a hexagonal, square or round head on a shank that may carry ridges."""
    head, thick = rng.uniform(1.6, 2.1), rng.uniform(0.6, 1.1)
    length = rng.uniform(2.5, 6.0)
    kind = rng.integers(3)
    if kind == 2:
        pieces = [rod((0, 0, 0), (0, 0, thick), head * 0.95, 0, head * rng.uniform(0.6, 0.95))]
    else:
        corners = regular_polygon(6 if kind == 0 else 4, head)
        pieces = [Piece(frustum(corners, corners * rng.uniform(0.85, 1.0), 0, thick), 0)]
    if kind == 0 and rng.random() < 0.5:
        pieces.append(rod((0, 0, -0.15), (0, 0, 0.01), head * 1.2, 0))
    profile = [(0.0, 0.02), (1.0, 0.02)]
    z = -length * (rng.uniform(0.15, 0.5) if rng.random() < 0.6 else 1.0)
    pitch = rng.uniform(0.25, 0.4)
    while z - pitch > -length:
        profile += [(1.0, z), (0.82, z - pitch / 2)]
        z -= pitch
    profile += [(1.0, max(z, -length)), (0.8, -length - 0.2), (0.0, -length - 0.2)]
    return [*pieces, Piece(Revolved(profile), 1)]


def nut(rng: Rng) -> list[Piece]:
    """Body, collar: a hexagonal or square block with a round hole."""
    bore, thick = rng.uniform(0.4, 0.6), rng.uniform(0.45, 1.3)
    sides = 6 if rng.random() < 0.75 else 4
    corners = regular_polygon(sides, 1.0 if sides == 6 else 1.15)
    pieces = [Piece(Extruded(corners, 0, thick, [(0, 0, bore)]), 0)]
    if rng.random() < 0.4:
        flange = Extruded(rng.uniform(1.15, 1.4), -0.18, 0.01, [(0, 0, bore)])
        pieces.append(Piece(flange, 1))
    return pieces


def flange(rng: Rng) -> list[Piece]:
    """Plate, hub: a flat ring with three to ten bolt holes and by chance a hub."""
    bore, thick = rng.uniform(0.25, 0.45), rng.uniform(0.1, 0.28)
    count = int(rng.integers(3, 11))
    ring = rng.uniform(0.72, 0.8)
    size = min(rng.uniform(0.07, 0.13), 0.7 * math.pi * ring / count)
    at = regular_polygon(count, ring)
    holes = [(0.0, 0.0, bore), *((float(x), float(y), size) for x, y in at)]
    pieces = [Piece(Extruded(1.0, 0, thick, holes), 0)]
    if rng.random() < 0.65:
        wide, tall = bore + rng.uniform(0.08, 0.15), thick + rng.uniform(0.15, 0.8)
        pieces.append(Piece(Extruded(wide, thick - 0.02, tall, [(0, 0, bore)]), 1))
    return pieces


def gear(rng: Rng) -> list[Piece]:
    """Body, teeth: a spur gear of 8 to 20 teeth with a bore, by chance a hub or windows."""
    count, depth = int(rng.integers(8, 21)), rng.uniform(0.14, 0.24)
    root, thick = 1 - depth, rng.uniform(0.15, 0.5)
    pitch = 2 * math.pi / count
    corners = []
    for k in range(count):
        for share, radius in ((-0.29, root), (-0.15, 1.0), (0.15, 1.0), (0.29, root)):
            angle = (k + share) * pitch
            corners.append((radius * math.cos(angle), radius * math.sin(angle)))
    bore = rng.uniform(0.12, 0.28)
    holes = [(0.0, 0.0, bore)]
    if rng.random() < 0.4:
        windows = int(rng.integers(3, 7))
        middle = 0.5 * (bore + root)
        size = min(0.32 * (root - bore), 0.36 * math.pi * 2 * middle / windows)
        holes += [(float(x), float(y), size) for x, y in regular_polygon(windows, middle)]

    def part(points: np.ndarray) -> np.ndarray:
        return (np.hypot(points[:, 0], points[:, 1]) > root + 1e-9).astype(np.int64)

    pieces = [Piece(Extruded(np.array(corners), 0, thick, holes), part)]
    if len(holes) == 1 and rng.random() < 0.5:
        pieces.append(Piece(Extruded(bore + 0.15, thick - 0.02, thick * rng.uniform(1.4, 2.2),
                                     [(0, 0, bore)]), 0))
    return pieces


def bracket(rng: Rng) -> list[Piece]:
    """Base, wall, rib: two plates at a right angle with screw holes."""
    width, thick = rng.uniform(0.7, 1.6), rng.uniform(0.08, 0.2)
    long, tall = rng.uniform(0.9, 1.5), rng.uniform(0.7, 1.5)
    pieces = [Piece(_plate(rng, width, long, thick), 0),
              Piece(_plate(rng, width, tall, thick), 1, (0, thick, 0), turn(0, math.pi / 2))]
    if rng.random() < 0.6:
        reach = min(long, tall) * rng.uniform(0.35, 0.6) + thick
        at = thick * 0.7
        triangle = np.array([[at, at], [reach, at], [at, reach]])
        along = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        bulk = rng.uniform(0.06, 0.14)
        places = (0.0,) if rng.random() < 0.6 else (-0.36 * width, 0.36 * width)
        pieces += [Piece(frustum(triangle, triangle, -bulk / 2, bulk / 2), 2, (x, 0, 0), along)
                   for x in places]
    return pieces


def _plate(rng: Rng, width: float, length: float, thick: float) -> Extruded:
    """A plate from y = 0 to `length` with one to four holes in its outer half."""
    corners = np.array([[-width / 2, 0], [width / 2, 0], [width / 2, length], [-width / 2, length]])
    size, y = rng.uniform(0.07, 0.12), length * rng.uniform(0.66, 0.78)
    columns = 1 if width < 0.9 else int(rng.integers(1, 4))
    xs = (np.arange(columns) - (columns - 1) / 2) * width / columns
    return Extruded(corners, 0, thick, [(float(x), y, size) for x in xs])


def pipe_run(radius: float, angle: float, first: float, second: float) -> Curve:
    """Return a straight run, an arc of `angle` and a straight run, in the x-z plane."""
    arc = radius * angle
    total = first + arc + second

    def curve(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s = t * total
        a = np.clip((s - first) / radius, 0, angle)
        along = np.column_stack([np.cos(a), np.zeros_like(a), np.sin(a)])
        inward = np.column_stack([-np.sin(a), np.zeros_like(a), np.cos(a)])
        bent = np.column_stack([radius * np.sin(a), np.zeros_like(a), radius * (1 - np.cos(a))])
        straight = np.where(s < first, s - first, np.maximum(s - first - arc, 0))
        turning = ((s >= first) & (s <= first + arc))[:, None]
        return (bent + straight[:, None] * along, total * along,
                np.where(turning, inward * total**2 / radius, 0.0))

    return curve


def elbow(rng: Rng) -> list[Piece]:
    """Pipe, collar: a hollow pipe bent by 60 to 120 degrees, with collars at its ends."""
    thick = rng.uniform(0.3, 0.5)
    bore = thick * rng.uniform(0.65, 0.85)
    bend, angle = rng.uniform(0.7, 1.4), math.radians(rng.uniform(60, 120))
    first, second = rng.uniform(0.15, 1.0), rng.uniform(0.15, 1.0)
    curve = pipe_run(bend, angle, first, second)
    pieces = [Piece(Tube(curve, thick, bore), 0)]
    if rng.random() < 0.7:
        wide, long = thick * rng.uniform(1.25, 1.7), rng.uniform(0.08, 0.14)
        collar = Extruded(wide, 0.005, long, [(0, 0, 0.5 * (thick + bore))])
        ends, along, _ = curve(np.array([0.0, 1.0]))
        along /= np.sqrt((along * along).sum(-1, keepdims=True))
        out = turn(1, math.pi / 2)
        pieces.append(Piece(collar, 1, tuple(ends[0]), out))
        tilt = turn(1, -math.atan2(along[1, 2], along[1, 0]) - math.pi / 2)
        pieces.append(Piece(collar, 1, tuple(ends[1]), tilt))
    return pieces


def beam(rng: Rng) -> list[Piece]:
    """Flange, web: an I-beam."""
    wide, tall = rng.uniform(0.7, 1.2), rng.uniform(1.0, 1.7)
    thick, web = rng.uniform(0.1, 0.2), rng.uniform(0.07, 0.16)
    long = rng.uniform(2.0, 6.0)
    pieces = [box((wide, long, thick), (0, 0, side * (tall - thick) / 2), 0) for side in (-1, 1)]
    pieces.append(box((web, long * 0.999, tall - thick), (0, 0, 0), 1))
    if rng.random() < 0.3:  # stiffeners
        for y in (np.arange(1, 4) / 4 - 0.5) * long:
            pieces.append(bar((-wide * 0.45, y, 0), (wide * 0.45, y, 0), 0.08, 1))
    return pieces


def spring_right(rng: Rng) -> list[Piece]:
    """Coil: a right-handed spring; the left-handed class is its mirror image."""
    turns, pitch = rng.uniform(2.0, 4.5), rng.uniform(1.1, 2.3)
    growth = rng.uniform(-0.45, 0.45) if rng.random() < 0.5 else 0.0
    wire = rng.uniform(0.12, 0.28)
    return [Piece(Tube(helix(1.0, growth, pitch, turns), wire, steps=160), 0)]


def helix(radius: float, growth: float, pitch: float, turns: float) -> Curve:
    """Return a right-handed helix about z whose radius grows by `growth` over its length."""
    span = 2 * math.pi * turns

    def curve(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        angle, r = span * t, radius + growth * t
        cos, sin, flat = np.cos(angle), np.sin(angle), np.zeros_like(t)
        first = [growth * cos - r * span * sin, growth * sin + r * span * cos,
                 np.full_like(t, pitch * turns)]
        second = [-2 * growth * span * sin - r * span**2 * cos,
                  2 * growth * span * cos - r * span**2 * sin, flat]
        position = [r * cos, r * sin, pitch * turns * t]
        return np.column_stack(position), np.column_stack(first), np.column_stack(second)

    return curve
