"""Furniture of a room, with the places on it where things can stand.

Unlike the shapes of `furniture.py`, which tell classes apart, these make a lived-in room: open
doors, cushions, covers and books. Front towards -y, base at z = 0, lengths in metres.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pcinv_data.generate.clutter import small_thing, turned
from pcinv_data.generate.meshes import (
    Mesh,
    Rng,
    block,
    cushion,
    lathe,
    lump,
    placed,
    sheet,
    surface,
    tube,
)


class Top(NamedTuple):
    """A level rectangle of x by y about a place, on which things can stand."""

    at: tuple[float, float, float]
    x: float
    y: float


Furniture = tuple[Mesh, list[Top]]


def legs(rng: Rng, x: float, y: float, height: float, thick: float) -> list[Mesh]:
    """Four legs of a top of x by y, round or square."""
    leg = (lathe([0, height], [0.5 * thick, 0.7 * thick]) if rng.random() < 0.4
           else block(thick, thick, height))
    return [placed([leg], (i * (x / 2 - thick), j * (y / 2 - thick), 0))
            for i in (-1, 1) for j in (-1, 1)]


def table(rng: Rng) -> Furniture:
    """A table or desk, by chance round, on a column, with drawers or a back panel."""
    x, y, z = rng.uniform(0.5, 1.8), rng.uniform(0.45, 1.0), rng.uniform(0.4, 0.9)
    thick = rng.uniform(0.02, 0.05)
    top = (block(x, y, thick) if rng.random() < 0.7
           else lathe([0, 0, thick, thick], 0.6 * y * np.array([0, 1, 1, 0]), 32))
    parts = [placed([top], (0, 0, z - thick))]
    if rng.random() < 0.7:
        parts += legs(rng, x, y, z, rng.uniform(0.03, 0.08))
    else:
        parts += [turned(rng, z, 0.15), block(0.5 * x, 0.5 * y, 0.03)]
    if rng.random() < 0.4:
        parts.append(block(rng.uniform(0.3, 0.5), 0.9 * y, 0.8 * z,
                           ((x / 2 - 0.25) * rng.choice([-1, 1]), 0, 0.15 * z)))
    if rng.random() < 0.3:
        parts.append(block(0.9 * x, 0.02, 0.5 * z, (0, 0.45 * y, 0.4 * z)))
    return np.concatenate(parts), [Top((0, 0, z), 0.85 * x, 0.85 * y)]


def chair(rng: Rng) -> Furniture:
    """A chair on legs or a star of feet, with one of three backs, arms and a coat by chance."""
    x, z, back = rng.uniform(0.38, 0.55), rng.uniform(0.38, 0.5), rng.uniform(0.3, 0.6)
    parts = [placed([cushion((x / 2, x / 2, rng.uniform(0.02, 0.06)), rng.uniform(0.15, 0.5),
                             rng.uniform(0.2, 0.6))], (0, 0, z))]
    if rng.random() < 0.35:
        parts.append(lathe([0.05, z], [0.03, 0.03], 10))
        foot = block(0.3, 0.04, 0.05, (0.15, 0, 0.05))
        parts += [placed([foot], about_z=angle) for angle in 2 * math.pi * np.arange(5) / 5]
    else:
        parts += legs(rng, x, x, z, 0.04)
    kind, lean = rng.integers(3), rng.uniform(-0.25, 0)
    if kind == 0:
        parts.append(placed([cushion((x / 2, rng.uniform(0.03, 0.06), back / 2), 0.3, 0.3)],
                            (0, x / 2, z + 0.1 + back / 2), about_x=lean))
    elif kind == 1:
        parts += [placed([block(0.03, 0.03, back)], (u, x / 2, z), about_x=lean)
                  for u in np.linspace(-x / 2, x / 2, rng.integers(3, 7))]
        parts.append(placed([block(x, 0.03, 0.07)], (0, x / 2 - lean * back, z + 0.9 * back),
                            about_x=lean))
    else:
        u, v = np.meshgrid(np.linspace(-1, 1, 12), np.linspace(0, 1, 10), indexing="ij")
        parts.append(surface(np.stack([u * x / 2, x / 2 - 0.12 * u**2 + 0.08 * v, z + v * back],
                                      -1)))
    if rng.random() < 0.35:
        parts += [tube([(s * x / 2, x / 2, z + 0.2), (s * x / 2, 0, z + 0.22),
                        (s * x / 2, -0.4 * x, z + 0.2), (s * x / 2, -0.4 * x, z)], 0.02, 6)
                  for s in (-1, 1)]
    if rng.random() < 0.3:
        parts.append(placed([sheet(rng, 0.9 * x, 0.9 * back, 0.03, 0.08, 14)],
                            (0, x / 2 - 0.06, z + 0.6 * back), about_x=1.4))
    tops = [Top((0, 0, z + 0.05), 0.6 * x, 0.6 * x)] if rng.random() < 0.25 else []
    return np.concatenate(parts), tops


def sofa(rng: Rng) -> Furniture:
    """An armchair or sofa of soft parts, with pillows and a cover by chance."""
    seats = int(rng.integers(1, 4))
    x, y, z = 0.62 * seats + 0.1, rng.uniform(0.7, 0.95), rng.uniform(0.3, 0.45)

    def soft(*radii: float) -> Mesh:
        return cushion(radii, *rng.uniform(0.15, 0.5, 2))

    parts = [placed([soft(x / 2, y / 2, z / 2)], (0, 0, z / 2))]
    for k in range(seats):
        at = 0.62 * (k - (seats - 1) / 2)
        parts.append(placed([lump(rng, (0.31, 0.42 * y, 0.09), 0.04)], (at, -0.03, z + 0.03)))
        parts.append(placed([lump(rng, (0.31, 0.11, rng.uniform(0.2, 0.32)), 0.05)],
                            (at + rng.normal(0, 0.02), 0.38 * y, z + 0.25), about_x=-0.15))
    parts += [placed([soft(0.11, y / 2, rng.uniform(0.1, 0.2))], (s * (x / 2 + 0.08), 0, z + 0.1))
              for s in (-1, 1)]
    parts += [placed([lump(rng, (0.22, 0.08, 0.2), 0.08)],
                     (rng.uniform(-x / 2, x / 2), rng.uniform(-0.1, 0.2), z + 0.25),
                     rng.uniform(-0.8, 0.8), rng.uniform(-0.6, 0)) for _ in range(rng.integers(4))]
    if rng.random() < 0.4:
        parts.append(placed([sheet(rng, rng.uniform(0.4, x), y, 0.035, 0.12)],
                            (rng.normal(0, 0.2), 0, z + 0.16), rng.uniform(-0.5, 0.5)))
    tops = [Top((0, 0, z + 0.1), 0.6 * x, 0.4 * y)] if rng.random() < 0.3 else []
    return np.concatenate(parts), tops


def bed(rng: Rng) -> Furniture:
    """A bed with a rumpled cover, pillows and heaps of cloth."""
    x, y, z = rng.uniform(0.9, 1.8), 2.0, rng.uniform(0.3, 0.5)
    parts = [placed([cushion((x / 2, y / 2, 0.12), 0.2, 0.15, 14)], (0, 0, z)),
             block(x + 0.05, y + 0.05, z - 0.05),
             block(x + 0.1, 0.05, rng.uniform(0.6, 1.2), (0, y / 2 + 0.03, 0)),
             placed([sheet(rng, 1.05 * x, 0.75 * y, 0.03, 0.15, 44)], (0, -0.25, z + 0.14))]
    parts += [placed([lump(rng, (x / 5, 0.2, 0.1), 0.06)],
                     (u + rng.normal(0, 0.04), y / 2 - 0.3, z + 0.18), rng.normal(0, 0.15))
              for u in ((-x / 4, x / 4) if x > 1.2 else (0.0,))]
    parts += [placed([lump(rng, rng.uniform((0.1, 0.1, 0.04), (0.35, 0.3, 0.12)), 0.25)],
                     (0.7 * rng.uniform(-x / 2, x / 2), rng.uniform(-0.8, 0.3), z + 0.18),
                     rng.uniform(0, math.pi)) for _ in range(rng.integers(3))]
    return np.concatenate(parts), [Top((0, -0.3, z + 0.15), 0.6 * x, 0.8)]


def cabinet(rng: Rng) -> Furniture:
    """A low or high cabinet of doors and drawers, some a little open, with bars or knobs."""
    x, y = rng.uniform(0.4, 1.6), rng.uniform(0.35, 0.65)
    z = rng.uniform(0.5, 1) if rng.random() < 0.5 else rng.uniform(1.2, 2.1)
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    parts = [block(x, y, z)]
    for k in range(columns * rows):
        u, v = ((k // rows + 0.5) / columns - 0.5) * x, (k % rows) / rows * z
        out = 0.08 * rng.random() if rng.random() < 0.25 else 0.0
        front = -y / 2 - 0.01 - out
        parts.append(block(0.92 * x / columns, 0.025 + out, 0.9 * z / rows,
                           (u, front + out / 2, v + 0.05 * z / rows)))
        handle = (block(rng.uniform(0.02, 0.12), 0.03, 0.02) if rng.random() < 0.6
                  else cushion((0.02, 0.02, 0.02), steps=6))
        parts.append(placed([handle], (u, front - 0.03, v + 0.6 * z / rows)))
    return np.concatenate(parts), [Top((0, 0, z), 0.85 * x, 0.8 * y)]


def shelf(rng: Rng) -> Furniture:
    """Boards full of books, gaps and small things."""
    x, y, z = rng.uniform(0.6, 1.8), rng.uniform(0.22, 0.4), rng.uniform(0.9, 2.1)
    rows = int(rng.integers(2, 7))
    parts = [block(0.03, y, z, (s * x / 2, 0, 0)) for s in (-1, 1)]
    if rng.random() < 0.7:
        parts.append(block(x, 0.02, z, (0, y / 2, 0)))
    gap = z / rows
    for row in range(rows + 1):
        level = 0.98 * row * gap
        parts.append(block(x, y, 0.025, (0, 0, level)))
        at = -x / 2 + 0.03
        while row < rows and at < x / 2 - 0.06:
            thick = rng.uniform(0.015, 0.07) if rng.random() < 0.6 else rng.uniform(0.08, 0.25)
            middle, kind = at + thick / 2, rng.random()
            if kind < 0.6:
                book = block(0.95 * thick, y * rng.uniform(0.5, 0.9),
                             min(0.9 * gap, rng.uniform(0.12, 0.32)))
                parts.append(placed([book], (middle, rng.normal(0, 0.02), level + 0.025),
                                    about_y=0.15 if rng.random() < 0.25 else 0.0))
            elif kind < 0.85 and thick > 0.07:
                parts.append(placed([small_thing(rng, min(0.9 * thick, gap / 2))],
                                    (middle, 0, level + 0.025)))
            at += thick
    return np.concatenate(parts), [Top((0, 0, z), 0.8 * x, 0.7 * y)]


def counter(rng: Rng) -> Furniture:
    """A kitchen counter with a tap, and by chance cupboards above it."""
    x, y, z = rng.uniform(1.2, 2.8), 0.62, 0.9
    doors = max(2, int(x / 0.5))
    at = ((np.arange(doors) + 0.5) / doors - 0.5) * x
    parts = [block(x, y, z - 0.04), block(x + 0.02, y + 0.05, 0.04, (0, -0.02, z - 0.04))]
    for u in at.tolist():
        parts.append(block(0.93 * x / doors, 0.02, 0.7, (u, -y / 2 - 0.01, 0.1)))
        parts.append(block(0.12, 0.03, 0.015, (u, -y / 2 - 0.04, 0.72)))
    tap = tube([(0, 0.2, 0), (0, 0.2, 0.25), (0, 0.1, 0.32), (0, 0, 0.25)], 0.015)
    parts.append(placed([tap], (rng.uniform(-x / 3, x / 3), 0, z)))
    if rng.random() < 0.7:
        parts += [block(0.96 * x / doors, 0.35, 0.65, (u, 0.13, 1.45)) for u in at.tolist()
                  if rng.random() < 0.8]
    top = Top((0, -0.03, z), 0.9 * x, 0.7 * y)
    return np.concatenate(parts), [top, top]
