"""What is on the walls of a room: doors, windows, radiators, pictures, boards, coats.

x runs along the wall, the wall is y = 0 and the room y < 0, the floor is z = 0. Lengths are metres.
"""

from __future__ import annotations

import math

import numpy as np

from pcinv_data.generate.clutter import small_thing
from pcinv_data.generate.meshes import Mesh, Rng, block, cushion, lump, placed, sheet, tube


def wall_thing(rng: Rng, height: float) -> Mesh:
    """Draw something on a wall of this height."""
    kinds = (picture, radiator, curtain, door, window, pipe, board, coats)
    return kinds[rng.integers(len(kinds))](rng, height)


def picture(rng: Rng, height: float) -> Mesh:
    """A frame with a picture that stands back from it or proud of it."""
    x, z = rng.uniform(0.2, 1.2), rng.uniform(0.2, 0.9)
    inner = block(0.8 * x, 0.04, 0.8 * z, (0, -0.01 * rng.random(), 0.1 * z))
    return placed([block(x, 0.03, z), inner], (0, -0.015, rng.uniform(1.1, 1.6)))


def radiator(rng: Rng, height: float) -> Mesh:
    """Ribs under a pipe."""
    x, z, deep = rng.uniform(0.5, 1.4), rng.uniform(0.4, 0.7), rng.uniform(0.05, 0.12)
    ribs = [block(0.75 * x / 14, deep, z, ((k - 6.5) * x / 14, 0, 0.1)) for k in range(14)]
    return placed([*ribs, block(x, 0.05, 0.05, (0, 0, 0.1 + z))], (0, -0.07, 0.05))


def curtain(rng: Rng, height: float) -> Mesh:
    """A cloth with upright folds."""
    x, z = rng.uniform(0.5, 1.5), rng.uniform(1.2, 2.2)
    cloth = sheet(rng, x, z, rng.uniform(0.02, 0.05), 0.05, 48, 0.06)
    return placed([cloth], (0, -0.09, height - 0.15 - z / 2), about_x=math.pi / 2)


def door(rng: Rng, height: float) -> Mesh:
    """A door in its frame, with a handle."""
    x = rng.uniform(0.8, 1.1)
    posts = [block(0.09, 0.09, 2.1, (side * x / 2, 0, 0)) for side in (-1, 1)]
    handle = tube([(0, 0, 0), (0, -0.05, 0), (0.1, -0.05, 0)], 0.012)
    return placed([*posts, block(x, 0.04, 2.05, (0, rng.uniform(-0.03, 0.02), 0)),
                   block(x + 0.1, 0.09, 0.09, (0, 0, 2.05)),
                   placed([handle], (0.4 * x, -0.03, 1.0))], (0, -0.02, 0))


def window(rng: Rng, height: float) -> Mesh:
    """A window with a mullion and a sill that things stand on."""
    x, z = rng.uniform(0.7, 1.8), rng.uniform(0.8, 1.4)
    parts = [block(0.07, 0.06, z, (side * x / 2, 0, 0)) for side in (-1, 1)]
    parts += [block(x + 0.12, 0.2, 0.04, (0, -0.08, -0.04)), block(x, 0.06, 0.07, (0, 0, z)),
              block(0.05, 0.04, z, (rng.uniform(-0.2, 0.2) * x, 0, 0))]
    parts += [placed([small_thing(rng)], (rng.uniform(-x / 3, x / 3), -0.1, 0))
              for _ in range(rng.integers(3))]
    return placed(parts, (0, -0.03, rng.uniform(0.8, 1.1)))


def pipe(rng: Rng, height: float) -> Mesh:
    """A pipe from the floor to the ceiling."""
    line = [(0, 0, 0), (0, 0, height / 2), (0, 0, height)]
    return placed([tube(line, rng.uniform(0.02, 0.08), 10)], (0, -0.1, 0))


def board(rng: Rng, height: float) -> Mesh:
    """A board with things on it."""
    x = rng.uniform(0.4, 1.2)
    things = [placed([small_thing(rng, 0.18)], (rng.uniform(-x / 2, x / 2), -0.12, 0.03))
              for _ in range(rng.integers(1, 6))]
    return placed([block(x, 0.25, 0.03, (0, -0.12, 0)), *things], (0, 0, rng.uniform(0.9, 1.8)))


def coats(rng: Rng, height: float) -> Mesh:
    """Hooks with a coat or two."""
    hooks = [placed([cushion((0.1, 0.03, 0.03), steps=6)], (0.18 * k, -0.05, 1.6))
             for k in range(4)]
    worn = [placed([lump(rng, (0.12, 0.09, 0.4), 0.2)], (0.25 * k, -0.12, 1.25))
            for k in range(rng.integers(1, 4))]
    return np.concatenate([*hooks, *worn])
