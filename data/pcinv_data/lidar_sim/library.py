"""The things of a street that can be told apart: a few drawings of each kind, often used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from pcinv_data.lidar_sim import people, vehicles
from pcinv_data.lidar_sim.solids import Parts, Thing, joined

Rng = np.random.Generator

_KINDS: dict[str, tuple[tuple[Callable[[Rng], Thing], ...], int]] = {
    "car": (vehicles.CARS, 10),
    "lorry": ((vehicles.lorry,), 3),
    "bus": ((vehicles.bus,), 1),
    "trailer": ((vehicles.trailer,), 2),
    "walker": ((people.person,), 6),
    "stander": ((partial(people.person, walks=False),), 3),
    "bicycle": ((people.bicycle,), 2),
    "bicyclist": ((people.bicyclist,), 3),
    "motorcycle": ((people.motorcycle,), 2),
    "motorcyclist": ((people.motorcyclist,), 2),
}


CORNERS = 120


class Drawing(NamedTuple):
    """One drawing; its frame has the middle of its box at the origin, heading x.

    label : its class.  first, last : its rows of `Library.parts`.  size : (3,) of its box.
    lift : height of the middle above the ground.  radius : of a sphere about the middle.
    corners : (CORNERS, 3) points whose hull holds all of it.
    """

    label: int
    first: int
    last: int
    size: np.ndarray
    lift: float
    radius: float
    corners: np.ndarray


class Library(NamedTuple):
    """All drawings of a street. kinds : name -> rows of `drawings`."""

    drawings: list[Drawing]
    kinds: dict[str, list[int]]
    parts: Parts


def draw_library(seed: int) -> Library:
    """Draw everything; the same for the same seed."""
    drawings: list[Drawing] = []
    kinds: dict[str, list[int]] = {}
    parts: list[Parts] = []
    row = 0
    for number, (kind, (makers, count)) in enumerate(_KINDS.items()):
        kinds[kind] = []
        for k in range(count):
            thing = makers[k % len(makers)](np.random.default_rng([seed, 2, number, k]))
            low, high = thing.bounds()
            middle = (low + high) / 2
            made = thing.parts(-middle)
            around = np.sqrt((made.c * made.c).sum(1)) + made.radius
            kinds[kind].append(len(drawings))
            drawings.append(Drawing(thing.label, row, row + len(made.kind), high - low,
                                    float(middle[2]), float(around.max()),
                                    _outermost(thing) - middle))
            parts.append(made)
            row += len(made.kind)
    return Library(drawings, kinds, joined(parts))


def _outermost(thing: Thing) -> np.ndarray:
    """Return the corners (CORNERS, 3) of the hull of a thing; some of them again and again."""
    from scipy.spatial import ConvexHull

    corners = np.concatenate(thing.corners)
    outer = corners[ConvexHull(corners).vertices]
    return np.asarray(np.resize(outer, (max(CORNERS, len(outer)), 3)))
