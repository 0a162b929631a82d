"""Small things that stand on tables, shelves and floors. Base at z = 0, lengths in metres."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pcinv_data.generate.meshes import (
    Mesh,
    Rng,
    bent,
    block,
    cushion,
    extruded,
    lathe,
    lump,
    placed,
    tube,
)


def small_thing(rng: Rng, size: float | None = None) -> Mesh:
    """Draw a thing of about this size (5 to 25 cm where None), turned at random."""
    if size is None:
        size = rng.uniform(0.05, 0.25)
    kinds: tuple[Callable[[Rng, float], Mesh], ...] = (
        carton, vessel, rounded, heap, prism, books, mug, plant, lamp)
    return placed([kinds[rng.integers(len(kinds))](rng, size)],
                  about_z=rng.uniform(0, 2 * math.pi))


def carton(rng: Rng, size: float) -> Mesh:
    """A box."""
    return block(size * rng.uniform(0.4, 1.3), size * rng.uniform(0.3, 1), size
                 * rng.uniform(0.2, 1.3))


def turned(rng: Rng, height: float, radius: float) -> Mesh:
    """A body of a lathe with an outline of its own, closed or open at the top."""
    knots = int(rng.integers(3, 7))
    at = np.linspace(0, 1, 16)
    outline = np.interp(at, np.linspace(0, 1, knots), radius * rng.uniform(0.3, 1, knots))
    if rng.random() < 0.7:  # smooth instead of straight between the knots
        weights = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
        outline = np.convolve(np.pad(outline, 2, mode="edge"), weights, "valid")
    outline, at = np.r_[0.0, outline], np.r_[0.0, at]
    if rng.random() < 0.5:
        outline, at = np.r_[outline, 0.0], np.r_[at, 1.0]
    return lathe(at * height, outline)


def vessel(rng: Rng, size: float) -> Mesh:
    """A vase, bottle or bowl."""
    return turned(rng, size * rng.uniform(0.6, 1.8), size * rng.uniform(0.25, 0.6))


def rounded(rng: Rng, size: float) -> Mesh:
    """Something between a ball and a box."""
    half = size * rng.uniform(0.25, 0.6, 3)
    return placed([cushion(half, *rng.uniform(0.2, 1.3, 2))], (0, 0, half[2]))


def heap(rng: Rng, size: float) -> Mesh:
    """A bag or a heap of cloth."""
    half = size * np.array([rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.5)])
    return placed([lump(rng, half)], (0, 0, 0.9 * half[2]))


def prism(rng: Rng, size: float) -> Mesh:
    """An upright body on an irregular outline."""
    corners = int(rng.integers(3, 9))
    angle = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * math.pi / corners
    reach = size * rng.uniform(0.3, 0.7, corners)
    outline = np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]
    return bent(rng, extruded(outline, size * rng.uniform(0.2, 1.5)), 0.3)


def books(rng: Rng, size: float) -> Mesh:
    """A pile of one to five books, each of its own size and turn."""
    pile, z = [], 0.0
    for _ in range(rng.integers(1, 6)):
        thick = rng.uniform(0.015, 0.05)
        pile.append(placed([block(rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.22), thick)],
                           (rng.normal(0, 0.01), rng.normal(0, 0.01), z), rng.normal(0, 0.3)))
        z += thick
    return np.concatenate(pile)


def mug(rng: Rng, size: float) -> Mesh:
    """A cup with a handle."""
    height = size * rng.uniform(0.5, 1)
    radius = height * rng.uniform(0.3, 0.6)
    up, out = np.array([[0, 0, 1, 0.98, 0.1], [0, 1, 1, 0.9, 0.85]])
    cup = lathe(height * up, radius * out, 18)
    angle = np.linspace(-1.4, 1.4, 8)
    handle = np.column_stack([radius + 0.35 * height * np.cos(angle), np.zeros(8),
                              height / 2 + 0.35 * height * np.sin(angle)])
    return np.concatenate([cup, tube(handle, 0.06 * height, 6)])


def plant(rng: Rng, size: float) -> Mesh:
    """A pot with leaves all around."""
    tall = size * rng.uniform(1, 2.5)
    parts = [turned(rng, size, size / 2)]
    for _ in range(rng.integers(6, 22)):
        long, wide = size * rng.uniform((0.2, 0.06), (0.6, 0.2))
        leaf = cushion((long, wide, 0.006), steps=6)
        angle = rng.uniform(0, 2 * math.pi)
        at = (0.5 * size * math.cos(angle), 0.5 * size * math.sin(angle),
              size + rng.uniform(0, tall))
        parts.append(placed([leaf], at, angle, about_y=rng.uniform(-1, 0.4)))
    return np.concatenate(parts)


def lamp(rng: Rng, size: float) -> Mesh:
    """A foot, a bent pole and a shade."""
    pole = tube([(0, 0, 0), (0, 0, size), (rng.normal(0, 0.05), 0, 2 * size)],
                rng.uniform(0.01, 0.02), 6)
    shade = lathe([0, 0.8 * size], size * np.array([rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.5)]),
                  18)
    return np.concatenate([turned(rng, 0.2 * size, size / 2), pole,
                           placed([shade], (0, 0, 1.8 * size))])


def large_thing(rng: Rng) -> Mesh:
    """Something that stands about: a bag, cartons, a bin, a floor lamp, a screen, cables."""
    kind = rng.integers(7)
    if kind == 0:
        half = rng.uniform(0.1, 0.45)
        return placed([lump(rng, (rng.uniform(0.15, 0.45), rng.uniform(0.15, 0.45), half), 0.2)],
                      (0, 0, half))
    if kind == 1:
        return np.concatenate([
            placed([block(*rng.uniform((0.2, 0.2, 0.15), (0.6, 0.5, 0.45)))],
                   (rng.normal(0, 0.1), rng.normal(0, 0.1), z), rng.uniform(0, math.pi))
            for z in (0, 0.3, 0.55)[: rng.integers(1, 4)]])
    if kind == 2:
        return bent(rng, turned(rng, rng.uniform(0.3, 1), rng.uniform(0.12, 0.35)), 0.3)
    if kind == 3:
        return small_thing(rng, rng.uniform(0.3, 0.6))
    if kind == 4:
        shade = lathe([0, 0.3], [rng.uniform(0.15, 0.25), rng.uniform(0.08, 0.2)], 20)
        return np.concatenate([turned(rng, 0.06, 0.2), lathe([0, 1.5], [0.015, 0.015], 8),
                               placed([shade], (0, 0, 1.4))])
    if kind == 5:
        width = rng.uniform(0.4, 1.2)
        return np.concatenate([block(width, 0.05, 0.58 * width, (0, 0, 0.15)),
                               block(0.08, 0.06, 0.2), block(0.4 * width, 0.2, 0.02)])
    cables = []
    for _ in range(rng.integers(1, 4)):
        steps = rng.normal(0, 0.12, (9, 2)).cumsum(0)
        height = np.r_[0.0, np.abs(rng.normal(0, 0.15, 8))]
        cables.append(tube(np.column_stack([steps, height]), rng.uniform(0.01, 0.05), 7))
    return np.concatenate(cables)
