"""What stands beside a road: trees, bushes, lamps, signs, lights, shelters; on z = 0."""

from __future__ import annotations

import math

import numpy as np

from pcinv_data.lidar_sim.classes import (
    FENCE,
    OTHER_GROUND,
    POLE,
    TRAFFIC_SIGN,
    TRUNK,
    VEGETATION,
)
from pcinv_data.lidar_sim.solids import Thing

Rng = np.random.Generator


def tree(rng: Rng, fork: tuple[float, float] = (1.9, 2.8)) -> Thing:
    """Return a tree: a trunk with boughs, and a crown of leaves, round or tall or pointed.

    fork : the lowest and highest place where its boughs begin.
    """
    high, kind = rng.uniform(5.0, 11.0), rng.random()
    thing = Thing(VEGETATION, 0.35)
    thick, fork = rng.uniform(0.1, 0.26), rng.uniform(*fork)
    bend = rng.normal(0, 0.12, 2)
    top = (bend[0], bend[1], fork)
    thing.rod((0, 0, -0.6), (0, 0, 0.35), 1.7 * thick, thick, label=TRUNK, shine=0.25)
    thing.rod((0, 0, 0.3), top, thick, 0.8 * thick, label=TRUNK, shine=0.25)
    wide = rng.uniform(1.2, 2.4)
    for k in range(rng.integers(2, 5)):
        angle = k * 2.2 + rng.uniform(0, 1)
        thing.rod(top, (wide * 0.6 * math.cos(angle), wide * 0.6 * math.sin(angle),
                        fork + rng.uniform(1.0, 2.2)), 0.5 * thick, 0.2 * thick, label=TRUNK,
                  shine=0.25)
    told = {"density": rng.uniform(0.45, 0.8), "leaf": rng.uniform(0.08, 0.12)}
    if kind < 0.25:  # a pointed one
        for share in (0.25, 0.5, 0.75):
            r = wide * (1.05 - 0.75 * share)
            thing.leaves((0, 0, fork - 0.6 + share * (high - fork)), (r, r, 1.6), _salt(rng),
                         **told)
    else:
        middle = (fork + high) / 2 + 0.3
        thing.leaves((*bend, middle), (wide, wide, (high - fork) / 2 + 0.3), _salt(rng), **told)
        for k in range(rng.integers(2, 5)):
            angle, r = k * 1.9 + rng.uniform(0, 1.5), wide * rng.uniform(0.45, 0.7)
            at = (0.75 * wide * math.cos(angle), 0.75 * wide * math.sin(angle),
                  middle + rng.uniform(-0.3, 0.25) * (high - fork))
            thing.leaves(at, (r, r, 0.8 * r), _salt(rng), **told)
    return thing


def _salt(rng: Rng) -> float:
    return float(rng.integers(2**23))


def bush(rng: Rng) -> Thing:
    """Return a bush."""
    thing = Thing(VEGETATION, 0.4)
    for _ in range(rng.integers(1, 4)):
        x, y = rng.normal(0, 0.6, 2)
        r, h = rng.uniform(0.5, 1.4), rng.uniform(0.5, 1.1)
        thing.leaves((x, y, 0.75 * h), (r, r, h), _salt(rng), cell=0.2, leaf=0.08, density=0.75)
    return thing


def hedge(rng: Rng, length: float) -> Thing:
    """Return a hedge along x."""
    thing, h = Thing(VEGETATION, 0.4), rng.uniform(0.6, 1.1)
    for x in np.arange(-length / 2 + 0.8, length / 2 - 0.5, 1.2):
        thing.leaves((x, 0, 0.8 * h), (0.9, 0.4, h * rng.uniform(0.9, 1.1)), _salt(rng),
                     cell=0.18, leaf=0.08, density=0.85)
    return thing


def lamp(rng: Rng) -> Thing:
    """Return a street lamp whose arm reaches out to -y, where the road is."""
    high, reach = rng.uniform(5.5, 8.5), rng.uniform(0.6, 1.8)
    thing = Thing(POLE, 0.35)
    thing.rod((0, 0, -0.5), (0, 0, 1.2), 0.1)
    thing.rod((0, 0, 1.2), (0, 0, high), 0.075, 0.05)
    thing.rod((0, 0, high), (0, -reach, high + 0.25), 0.04)
    thing.ball((0, -reach - 0.25, high + 0.25), (0.14, 0.38, 0.09))
    return thing


def sign(rng: Rng) -> Thing:
    """Return one or two traffic signs on a post; they face x."""
    high = rng.uniform(2.2, 2.8)
    thing = Thing(POLE, 0.4)
    thing.rod((0, 0, -0.5), (0, 0, high + 0.35), 0.035)
    z = high
    for _ in range(rng.integers(1, 3)):
        kind, r = rng.integers(4), rng.uniform(0.3, 0.42)
        told = {"label": TRAFFIC_SIGN, "shine": 1.0}
        if kind == 0:  # round
            thing.rod((0.04, 0, z), (0.055, 0, z), r, **told)
        elif kind == 1:  # three corners
            thing.hull([(x, 1.1 * r * math.sin(a), z + 1.1 * r * math.cos(a)) for x in (0.04, 0.055)
                        for a in (0, 2.094, 4.189)], **told)
        elif kind == 2:  # eight corners
            thing.hull([(x, r * math.sin(a), z + r * math.cos(a)) for x in (0.04, 0.055)
                        for a in np.arange(8) * math.pi / 4 + math.pi / 8], **told)
        else:
            thing.box((0.04, -r, z - 0.8 * r), (0.055, r, z + 0.8 * r), **told)
        z -= 2 * r + 0.1
    return thing


def direction_board(rng: Rng) -> Thing:
    """Return a large board on two posts; it faces x."""
    half, high = rng.uniform(0.8, 1.5), rng.uniform(0.5, 0.9)
    thing = Thing(POLE, 0.4)
    for side in (-1, 1):
        thing.rod((0, side * half * 0.7, -0.5), (0, side * half * 0.7, 1.6 + 2 * high), 0.045)
    thing.box((0.05, -half, 1.6), (0.08, half, 1.6 + 2 * high), label=TRAFFIC_SIGN, shine=1.0)
    return thing


def traffic_light(rng: Rng) -> Thing:
    """Return a traffic light with one lantern on its post and one on an arm to -y; it faces x."""
    thing, reach = Thing(POLE, 0.35), rng.uniform(1.5, 3.5)
    thing.rod((0, 0, -0.5), (0, 0, 5.6), 0.09, 0.07)
    thing.rod((0, 0, 5.5), (0, -reach, 5.7), 0.05)
    for y, z in ((0.0, 2.6), (-reach + 0.2, 5.2)):
        thing.box((0.05, y - 0.17, z - 0.45), (0.3, y + 0.17, z + 0.45), label=TRAFFIC_SIGN,
                  shine=0.3)
    return thing


def bollards(rng: Rng) -> Thing:
    """Return a few bollards in a row along x."""
    thing = Thing(POLE, 0.4)
    for k in range(rng.integers(3, 6)):
        thing.rod((1.5 * k, 0, -0.3), (1.5 * k, 0, 0.9), 0.06)
        thing.ball((1.5 * k, 0, 0.92), (0.075, 0.075, 0.075))
    return thing


def shelter(rng: Rng) -> Thing:
    """Return a shelter at a bus stop, open to -y, with its bench and its sign."""
    thing, half = Thing(FENCE, 0.2), rng.uniform(1.8, 2.4)
    thing.box((-half, 0.6, 0.15), (half, 0.64, 2.2), shine=0.1)
    for side in (-1, 1):
        thing.box((side * half - 0.03, -0.4, 0.15), (side * half + 0.03, 0.6, 2.2), shine=0.1)
        thing.rod((side * half, -0.5, -0.3), (side * half, -0.5, 2.4), 0.05, label=POLE, shine=0.4)
    thing.hull([(s * (half + 0.15), y, z) for s in (-1, 1) for y, z in (
        (-0.8, 2.45), (0.8, 2.35), (-0.8, 2.55), (0.8, 2.45))], shine=0.3)
    thing.box((-half + 0.4, 0.1, 0.42), (half - 0.4, 0.5, 0.5), shine=0.3)
    thing.rod((half + 1, -0.5, -0.3), (half + 1, -0.5, 2.6), 0.04, label=POLE)
    thing.rod((half + 1.03, -0.5, 2.5), (half + 1.045, -0.5, 2.5), 0.28, label=TRAFFIC_SIGN,
              shine=1.0)
    return thing


def island(rng: Rng) -> Thing:
    """Return a raised slab of paving, which counts as other ground."""
    thing, half = Thing(OTHER_GROUND, 0.3), rng.uniform(1.2, 2.0)
    thing.box((-half, -0.8, -0.4), (half, 0.8, 0.2))
    return thing
