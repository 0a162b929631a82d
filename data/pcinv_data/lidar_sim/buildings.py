"""Fronts of buildings: y = 0 is the line of the front, the house lies beyond, x runs along it."""

from __future__ import annotations

import numpy as np

from pcinv_data.lidar_sim.classes import BUILDING, FENCE
from pcinv_data.lidar_sim.solids import Thing

Rng = np.random.Generator
DEPTH, UNDER = 11.0, -2.5  # how deep a house is, and how far it goes into sloping ground


def house(rng: Rng, width: float) -> Thing:
    """Return a house: windows let into its wall, balconies, bays, a roof."""
    floors, storey = int(rng.integers(2, 6)), rng.uniform(2.8, 3.3)
    ground = rng.uniform(0.3, 1.0)
    high, recess = ground + floors * storey, rng.uniform(0.16, 0.35)
    thing = Thing(BUILDING, float(rng.uniform(0.3, 0.55)))
    half, edge = width / 2, rng.uniform(0.5, 0.9)
    thing.box((-half, recess, UNDER), (half, DEPTH, high), shine=0.12)  # the panes
    columns = max(int((width - 2 * edge) / rng.uniform(1.9, 2.8)), 1)
    pane = rng.uniform(1.0, 1.4)
    gap = (width - 2 * edge - columns * pane) / max(columns - 1, 1)
    starts = -half + edge + np.arange(columns) * (pane + gap)
    sides = np.concatenate([[-half], np.stack([starts, starts + pane], 1).ravel(), [half]])
    for x0, x1 in sides.reshape(-1, 2):  # the wall beside the windows
        if x1 > x0 + 0.02:
            thing.box((x0, 0, UNDER), (x1, recess + 0.01, high))
    sill, lintel = rng.uniform(0.75, 1.0), rng.uniform(0.35, 0.55)
    for floor in range(floors + 1):  # the wall below and above them
        low = UNDER if floor == 0 else ground + floor * storey - lintel
        top = high if floor == floors else ground + floor * storey + sill
        thing.box((-half + 0.01, 0.003, low), (half - 0.01, recess + 0.01, top))
    thing.box((-half - 0.02, -0.14, high - 0.25), (half + 0.02, recess, high + 0.03))  # cornice
    if rng.random() < 0.5:
        thing.box((-half, -0.07, UNDER), (half, 0.02, ground + 0.3))
    door = starts[rng.integers(columns)] + pane / 2
    thing.box((door - 0.9, -1.1, ground + 2.3), (door + 0.9, 0.05, ground + 2.45))
    for k in range(int(ground / 0.17) + 1):
        thing.box((door - 0.8, -0.35 * (k + 1) + 0.05, UNDER),
                  (door + 0.8, -0.35 * k + 0.05, max(ground - 0.17 * k, 0.02)))
    if rng.random() < 0.6:
        _balconies(rng, thing, starts + pane / 2, pane, ground, floors, storey)
    elif rng.random() < 0.5:
        x, wide = starts[rng.integers(columns)] + pane / 2, pane / 2 + 0.5
        top = ground + rng.integers(1, floors + 1) * storey
        thing.hull([(x + dx, y, z) for dx, y in ((-wide - 0.3, 0.01), (wide + 0.3, 0.01),
                    (-wide + 0.2, -0.8), (wide - 0.2, -0.8)) for z in (ground + 0.7 * storey, top)])
    _roof(rng, thing, half, high)
    return thing


def _balconies(rng: Rng, thing: Thing, middles: np.ndarray, pane: float, ground: float,
               floors: int, storey: float) -> None:
    chosen = middles[rng.random(len(middles)) < 0.4]
    deep, wide = rng.uniform(0.9, 1.4), pane / 2 + rng.uniform(0.3, 0.7)
    for x in chosen[:2]:
        for floor in range(1, floors):
            z = ground + floor * storey
            thing.box((x - wide, -deep, z - 0.16), (x + wide, 0.05, z))
            thing.grille((x, -deep + 0.03, z + 0.5), (wide, 0.5), (0.12, 0.03), (0.92, 0.06))
            for side in (-1, 1):
                thing.grille((x + side * (wide - 0.02), -deep / 2, z + 0.5), (deep / 2, 0.5),
                             (0.12, 0.03), (0.92, 0.06), np.pi / 2)


def _roof(rng: Rng, thing: Thing, half: float, high: float) -> None:
    kind = rng.random()
    if kind < 0.6:  # a ridge along the road
        ridge, over = rng.uniform(2.2, 4.5), 0.35
        thing.hull([(s * half, y, z) for s in (-1, 1) for y, z in (
            (-over, high + 0.02), (DEPTH, high + 0.02), (DEPTH / 2, high + ridge))], shine=0.25)
        if rng.random() < 0.6:
            x = rng.uniform(-half + 1.5, half - 1.5) if half > 2 else 0.0
            thing.box((x - 0.9, 0.6, high), (x + 0.9, 3.5, high + 1.7))
            thing.hull([(x + s * 1.1, y, z) for s in (-1, 1) for y, z in (
                (0.4, high + 1.7), (4.0, high + 1.7), (2.2, high + 2.1))], shine=0.25)
    elif kind < 0.8:  # a gable towards the road
        ridge = rng.uniform(2.5, 4.5)
        thing.hull([(x, y, z) for y in (0.0, DEPTH) for x, z in (
            (-half - 0.2, high), (half + 0.2, high), (0, high + ridge))], shine=0.25)
    else:
        thing.box((-half, 0.02, high), (half, 0.3, high + rng.uniform(0.4, 0.9)))
        thing.box((-1.5, 4, high), (1.5, 7, high + 2.2))
    thing.box((half * 0.5, 4.5, high), (half * 0.5 + 0.6, 5.2, high + 5), shine=0.3)


def garage(rng: Rng, width: float) -> Thing:
    """Return a low row of garages with gates let into it."""
    high, half = rng.uniform(2.5, 3.0), width / 2
    thing = Thing(BUILDING, float(rng.uniform(0.3, 0.5)))
    thing.box((-half, 0.25, UNDER), (half, 6, high), shine=0.4)
    gates = max(int(width / 3.2), 1)
    for k in range(gates + 1):
        x = -half + k * width / gates
        thing.box((x - 0.25, 0, UNDER), (x + 0.25, 0.3, high))
    thing.box((-half - 0.25, 0, high - 0.4), (half + 0.25, 0.3, high + 0.15))
    return thing


def wall(rng: Rng, length: float) -> Thing:
    """Return a garden wall with piers."""
    high, half = rng.uniform(0.9, 2.0), length / 2
    thing = Thing(FENCE, 0.35)
    thing.box((-half, -0.1, UNDER), (half, 0.1, high))
    thing.box((-half, -0.14, high), (half, 0.14, high + 0.08))
    for x in np.arange(-half, half + 0.01, length / max(round(length / 3.5), 1)):
        thing.box((x - 0.2, -0.2, UNDER), (x + 0.2, 0.2, high + 0.25))
    return thing


def fence(rng: Rng, length: float) -> Thing:
    """Return a fence: posts, rails, and bars or pickets."""
    high, half = rng.uniform(1.0, 1.7), length / 2
    thing = Thing(FENCE, 0.35)
    every, bar = ((0.14, 0.07), (0.12, 0.03), (0.2, 0.05))[rng.integers(3)]
    thing.grille((0, 0, high / 2), (half, high / 2 + 0.02), (every, bar), (high * 0.6, 0.08))
    for x in np.arange(-half, half + 0.01, length / max(round(length / 2.5), 1)):
        thing.box((x - 0.06, -0.06, UNDER / 4), (x + 0.06, 0.06, high + 0.1))
    if rng.random() < 0.4:
        thing.box((-half, -0.12, UNDER / 2), (half, 0.12, 0.35))
    return thing
