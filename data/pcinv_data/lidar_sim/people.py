"""People, and the bicycles and motorcycles that they ride; standing on z = 0, heading x."""

from __future__ import annotations

import math

import numpy as np

from pcinv_data.lidar_sim.classes import BICYCLE, BICYCLIST, MOTORCYCLE, MOTORCYCLIST, PERSON
from pcinv_data.lidar_sim.solids import Thing

Rng = np.random.Generator


def person(rng: Rng, *, walks: bool = True) -> Thing:
    """Return somebody who walks or stands; some carry a bag or a rucksack."""
    high = rng.uniform(1.55, 1.92)
    k = high / 1.75
    thing = Thing(PERSON, float(rng.uniform(0.15, 0.5)))
    stride = rng.uniform(0.22, 0.34) * k if walks else rng.uniform(0.0, 0.04)
    hip, shoulder = 0.9 * k, 1.42 * k
    for side in (-1, 1):
        y, x = side * 0.09 * k, side * stride
        knee = (0.5 * x + 0.04, y, 0.48 * k)
        thing.rod((0, y, hip), knee, 0.085 * k, 0.065 * k)
        thing.rod(knee, (x - 0.02, y, 0.06), 0.062 * k, 0.045 * k)
        thing.box((x - 0.08, y - 0.045, 0), (x + 0.16, y + 0.045, 0.08), shine=0.15)
        hand = (-0.7 * x + 0.06, side * 0.27 * k, 0.82 * k)
        elbow = (-0.35 * x - 0.03, side * 0.26 * k, 1.1 * k)
        thing.rod((0, side * 0.2 * k, shoulder - 0.03), elbow, 0.055 * k, 0.045 * k)
        thing.rod(elbow, hand, 0.045 * k, 0.035 * k)
    wide = rng.uniform(0.17, 0.22) * k
    thing.ball((0, 0, 0.97 * k), (0.125 * k, 0.17 * k, 0.16 * k))
    thing.ball((0.0, 0, 1.22 * k), (0.13 * k, wide, 0.3 * k))
    thing.ball((0, 0, shoulder - 0.02), (0.09 * k, 0.22 * k, 0.09 * k))
    thing.rod((0, 0, shoulder), (0.02, 0, 1.54 * k), 0.055 * k)
    thing.ball((0.03, 0, high - 0.12 * k), (0.1 * k, 0.08 * k, 0.12 * k))
    extra = rng.random()
    if extra < 0.25:
        thing.ball((-0.19 * k, 0, 1.25 * k), (0.1, 0.15, 0.22))
    elif extra < 0.4:
        thing.box((-0.12, 0.3 * k, 0.45), (0.2, 0.38 * k, 0.78))
    elif extra < 0.5:  # a coat
        thing.rod((0, 0, 0.55 * k), (0, 0, 1.05 * k), 0.2 * k, 0.15 * k)
    return thing


def _wheel(thing: Thing, x: float, radius: float, width: float) -> None:
    thing.rod((x, -width / 2, radius), (x, width / 2, radius), radius, shine=0.1)


def _cycle(thing: Thing) -> None:
    """Add a bicycle."""
    for x in (-0.52, 0.52):
        _wheel(thing, x, 0.34, 0.035)
    crank, saddle, head = (-0.1, 0, 0.3), (-0.25, 0, 0.92), (0.36, 0, 0.86)
    for start, end in ((crank, saddle), (crank, head), ((-0.21, 0, 0.78), head),
                       ((-0.52, 0, 0.34), (-0.2, 0, 0.74)), ((-0.52, 0, 0.34), crank),
                       (head, (0.52, 0, 0.34)), (head, (0.32, 0, 1.02))):
        thing.rod(start, end, 0.022)
    thing.rod((0.32, -0.28, 1.02), (0.32, 0.28, 1.02), 0.018)
    thing.ball((-0.26, 0, 0.95), (0.13, 0.07, 0.04), shine=0.15)


def bicycle(rng: Rng) -> Thing:
    """Return a bicycle that stands; some have a basket."""
    thing = Thing(BICYCLE, float(rng.uniform(0.2, 0.6)))
    _cycle(thing)
    if rng.random() < 0.4:
        thing.box((0.38, -0.17, 0.8), (0.68, 0.17, 1.02))
    return thing


def _rider(thing: Thing, hip: tuple[float, float], hands: tuple[float, float], feet: float,
           lean: float, k: float) -> None:
    """Add somebody who sits: places of hip and hands (x, z), x of the feet."""
    x, z = hip
    neck = (x + 0.5 * k * math.sin(lean), 0.0, z + 0.5 * k * math.cos(lean))
    middle = ((x + neck[0]) / 2, 0, (z + neck[2]) / 2 + 0.03)
    thing.ball(middle, (0.13 * k, 0.19 * k, 0.34 * k), lean, shine=0.3)
    thing.ball((x, 0, z + 0.03), (0.16, 0.18, 0.13), shine=0.3)
    thing.ball((neck[0] + 0.07, 0, neck[2] + 0.17 * k), (0.12 * k, 0.1 * k, 0.13 * k), shine=0.4)
    for side in (-1, 1):
        knee = (x + 0.36, side * 0.13, z - 0.18 - 0.06 * side)
        thing.rod((x + 0.02, side * 0.1, z), knee, 0.085, 0.065, shine=0.25)
        thing.rod(knee, (feet + 0.08 * side, side * 0.13, 0.3 + 0.08 * side), 0.06, 0.045,
                  shine=0.25)
        elbow = ((neck[0] + hands[0]) / 2, side * 0.27, (neck[2] + hands[1]) / 2 - 0.1)
        thing.rod((neck[0], side * 0.19, neck[2] - 0.04), elbow, 0.055, 0.045, shine=0.3)
        thing.rod(elbow, (hands[0], side * 0.25, hands[1]), 0.045, 0.035, shine=0.3)


def bicyclist(rng: Rng) -> Thing:
    """Return somebody on a bicycle."""
    thing = Thing(BICYCLIST, 0.3)
    _cycle(thing)
    _rider(thing, (-0.24, 1.0), (0.32, 1.03), -0.08, rng.uniform(0.25, 0.7), rng.uniform(0.93, 1.1))
    return thing


def _motorcycle(thing: Thing) -> None:
    for x in (-0.7, 0.7):
        _wheel(thing, x, 0.31, 0.14)
    thing.ball((-0.02, 0, 0.5), (0.38, 0.2, 0.24), shine=0.3)
    thing.ball((0.15, 0, 0.83), (0.32, 0.17, 0.16))
    thing.hull([(x, y, z) for x, y in ((-0.85, 0.08), (-0.1, 0.14)) for z in (0.74, 0.84)]
               + [(x, -y, z) for x, y in ((-0.85, 0.08), (-0.1, 0.14)) for z in (0.74, 0.84)],
               shine=0.1)
    for side in (-1, 1):
        thing.rod((0.7, side * 0.1, 0.31), (0.45, side * 0.1, 0.98), 0.03)
        thing.rod((-0.7, side * 0.1, 0.31), (-0.1, side * 0.1, 0.42), 0.03)
        thing.ball((0.42, side * 0.38, 1.17), (0.03, 0.07, 0.05))
    thing.rod((0.38, -0.36, 1.03), (0.38, 0.36, 1.03), 0.022)
    thing.ball((0.58, 0, 0.92), (0.12, 0.13, 0.14), shine=0.6)
    thing.rod((-0.2, -0.17, 0.34), (-0.8, -0.2, 0.42), 0.05, shine=0.6)


def motorcycle(rng: Rng) -> Thing:
    """Return a motorcycle that stands."""
    thing = Thing(MOTORCYCLE, float(rng.uniform(0.1, 0.5)))
    _motorcycle(thing)
    return thing


def motorcyclist(rng: Rng) -> Thing:
    """Return somebody on a motorcycle."""
    thing = Thing(MOTORCYCLIST, float(rng.uniform(0.1, 0.5)))
    _motorcycle(thing)
    _rider(thing, (-0.3, 0.86), (0.36, 1.05), -0.05, rng.uniform(0.2, 0.5), rng.uniform(0.95, 1.1))
    return thing
