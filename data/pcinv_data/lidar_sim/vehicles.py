"""Cars, vans, lorries, buses and trailers of the generated street, standing on z = 0, heading x."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pcinv_data.lidar_sim.classes import CAR, OTHER_VEHICLE, TRUCK
from pcinv_data.lidar_sim.solids import Thing

Rng = np.random.Generator
GLASS, TYRE = 0.05, 0.1


def _wheels(thing: Thing, axles: list[float], half: float, radius: float, width: float) -> None:
    for x in axles:
        for side in (-1, 1):
            outer, inner = side * half, side * (half - width)
            thing.rod((x, inner, radius), (x, outer, radius), radius, shine=TYRE)
            thing.rod((x, outer - side * 0.02, radius), (x, outer + side * 0.015, radius),
                      0.6 * radius, shine=0.5)


def _mirrors(thing: Thing, x: float, half: float, z: float, size: float = 1.0) -> None:
    for side in (-1, 1):
        thing.ball((x, side * (half + 0.09 * size), z), np.array((0.07, 0.1, 0.08)) * size)


def _paint(rng: Rng) -> float:
    return float(rng.choice([0.07, 0.2, 0.35, 0.5, 0.6]))


def car(rng: Rng, *, boot: bool = True, tall: float = 0.0) -> Thing:
    """Return a saloon, or, without a boot, a hatchback or an estate; `tall` adds to its height."""
    length, half = rng.uniform(3.9, 4.8), rng.uniform(0.86, 0.94)
    high, waist = rng.uniform(1.42, 1.5) + tall, 0.92 + 0.55 * tall
    floor, front, rear = 0.2 + 0.3 * tall, length / 2, -length / 2
    thing = Thing(CAR, _paint(rng))
    cowl = front - 0.26 * length
    hood = waist - rng.uniform(0.12, 0.2)
    deck = rear + (0.13 * length if boot else 0.02)
    # the lower body: bumpers drawn in, sides that lean in at the waist and at the sill
    thing.profile([
        (front - 0.16, half - 0.16, floor), (rear + 0.16, half - 0.16, floor),
        (front - 0.05, half - 0.22, 0.36), (front, half - 0.3, 0.52), (front - 0.02, half - 0.3,
        hood - 0.1), (front - 0.3, half, 0.5), (rear + 0.3, half, 0.5),
        (front - 0.3, half - 0.02, hood - 0.06), (front - 0.22, half - 0.25, hood),
        (cowl, half - 0.02, waist - 0.1), (cowl, half - 0.1, waist), (deck, half - 0.1, waist),
        (rear + 0.2, half - 0.02, waist - 0.12), (rear + 0.03, half - 0.2, waist - 0.02),
        (rear, half - 0.25, 0.5), (rear + 0.05, half - 0.2, 0.36)])
    # the glass house and a roof of sheet metal
    back = rear + (0.2 * length if boot else 0.05)
    roof_front, roof_back = cowl - 0.2 * length, back + (0.14 * length if boot else 0.1 * length)
    inward = half - 0.24
    thing.profile([(cowl + 0.1, half - 0.1, waist - 0.03), (back, half - 0.1, waist - 0.03),
                   (roof_front, inward, high - 0.05), (roof_back, inward, high - 0.05)],
                  shine=GLASS)
    thing.profile([(roof_front + 0.08, inward + 0.02, high - 0.08), (roof_back - 0.07,
                   inward + 0.02, high - 0.08), (roof_front - 0.1, inward - 0.08, high - 0.01),
                   (roof_back + 0.1, inward - 0.08, high - 0.02),
                   ((roof_front + roof_back) / 2, inward - 0.15, high)])
    for side in (-1, 1):  # door pillars
        y0, y1 = side * (half - 0.1), side * inward
        middle = (cowl + back) / 2 - 0.1
        thing.hull([(middle + dx, y + side * dy, z) for dx in (-0.05, 0.05)
                    for y, z in ((y0, waist - 0.02), (y1, high - 0.06)) for dy in (-0.03, 0.012)])
    _wheels(thing, [0.30 * length, -0.29 * length], half + 0.015, 0.31 + 0.12 * tall, 0.2)
    _mirrors(thing, cowl - 0.2, half, waist + 0.05)
    for end, size in ((front, -0.015), (rear, 0.015)):  # number plates send light straight back
        thing.box((end - 0.02, -0.26, 0.42), (end - size, 0.26, 0.53), shine=1.0)
    return thing


def hatchback(rng: Rng) -> Thing:
    """Return a hatchback or an estate."""
    return car(rng, boot=False)


def off_roader(rng: Rng) -> Thing:
    """Return a tall car without a boot."""
    return car(rng, boot=False, tall=rng.uniform(0.2, 0.32))


def van(rng: Rng) -> Thing:
    """Return a delivery van, which counts as a car."""
    length, half, high = rng.uniform(5.0, 6.0), 0.98, rng.uniform(1.95, 2.5)
    front, rear = length / 2, -length / 2
    thing = Thing(CAR, _paint(rng))
    thing.profile([(front - 0.1, half - 0.2, 0.25), (rear + 0.05, half - 0.08, 0.25),
                   (front, half - 0.25, 0.5), (front - 0.06, half - 0.25, 0.95),
                   (front - 0.3, half, 0.5), (front - 0.75, half - 0.06, 1.15),
                   (front - 0.4, half, 0.95), (rear, half - 0.02, 0.5), (rear, half - 0.02, 1.2),
                   (front - 1.0, half, 1.2)])
    thing.profile([(front - 1.35, half - 0.12, high), (rear + 0.03, half - 0.1, high),
                   (front - 0.95, half, 1.18), (rear, half, 1.18),
                   (front - 1.55, half, high - 0.25), (rear, half, high - 0.2)])
    thing.profile([(front - 0.72, half - 0.12, 1.14), (front - 1.3, half - 0.2, high - 0.2),
                   (front - 1.6, half - 0.12, 1.15), (front - 1.6, half - 0.2, high - 0.2)],
                  shine=GLASS)
    for side in (-1, 1):
        thing.box((front - 1.95, side * (half + 0.004) - 0.01, 1.22),
                  (front - 1.2, side * (half + 0.004) + 0.01, high - 0.5), shine=GLASS)
    _wheels(thing, [0.31 * length, -0.29 * length], half + 0.015, 0.34, 0.22)
    _mirrors(thing, front - 1.0, half, 1.3, 1.6)
    return thing


def lorry(rng: Rng) -> Thing:
    """Return a lorry with a box, a tarpaulin or a tank behind its cab."""
    length, half = rng.uniform(7.0, 9.5), 1.22
    front, rear = length / 2, -length / 2
    thing = Thing(TRUCK, _paint(rng))
    cab = front - 1.9
    thing.profile([(front, half - 0.12, 0.45), (front, half - 0.12, 1.5), (front - 0.12, half, 0.5),
                   (front - 0.25, half - 0.15, 2.6), (front - 0.5, half - 0.12, 2.75),
                   (cab, half, 0.9), (cab, half - 0.08, 2.75), (front - 0.2, half, 1.5),
                   (cab + 0.3, half, 0.45)])
    thing.profile([(front + 0.015, half - 0.2, 1.55), (front - 0.22, half - 0.22, 2.45),
                   (front - 0.35, half - 0.2, 1.55), (front - 0.35, half - 0.22, 2.45)],
                  shine=GLASS)
    for side in (-1, 1):
        thing.box((cab + 0.6, side * half - 0.012, 1.5), (front - 0.35, side * half + 0.012, 2.3),
                  shine=GLASS)
    thing.box((rear, -0.42, 0.62), (cab + 0.2, 0.42, 0.95), shine=0.1)  # the frame
    load, kind = cab - 0.25, rng.integers(3)
    if kind == 0:
        thing.box((rear, -half - 0.03, 1.0), (load, half + 0.03, rng.uniform(2.9, 3.6)))
    elif kind == 1:
        top = rng.uniform(2.7, 3.2)
        thing.box((rear, -half, 1.0), (load, half, 1.6))
        thing.profile([(rear, half, 1.55), (load, half, 1.55), (rear, half, top - 0.3),
                       (load, half, top - 0.3), (rear, 0.5, top), (load, 0.5, top)], shine=0.25)
    else:
        thing.rod((rear + 0.1, 0, 2.05), (load, 0, 2.05), 1.08, shine=0.5)
        thing.box((rear, -1.0, 0.9), (load, 1.0, 1.15), shine=0.15)
    axles = [front - 1.1, rear + 1.4] + ([rear + 2.7] if length > 8 else [])
    _wheels(thing, axles, half, 0.5, 0.34)
    _mirrors(thing, front - 0.3, half, 2.0, 2.2)
    return thing


def bus(rng: Rng) -> Thing:
    """Return a city bus."""
    length, half, high = rng.uniform(10.5, 12.0), 1.27, rng.uniform(2.95, 3.15)
    front, rear = length / 2, -length / 2
    thing = Thing(OTHER_VEHICLE, _paint(rng))
    ends = [(front, half - 0.18), (front - 0.2, half), (rear, half - 0.12), (rear + 0.15, half)]
    thing.profile([(x, y, z) for x, y in ends for z in (0.32, 1.15)])
    thing.profile([(x, y, z) for x, y in ends for z in (2.5, high - 0.12)]
                  + [(front - 0.3, half - 0.2, high), (rear + 0.3, half - 0.2, high)])
    inner = [(front - 0.02, half - 0.2), (front - 0.22, half - 0.05), (rear + 0.05, half - 0.15),
             (rear + 0.2, half - 0.05)]
    thing.profile([(x, y, z) for x, y in inner for z in (1.1, 2.55)], shine=GLASS)
    for x in np.linspace(rear + 0.3, front - 1.1, 8):  # pillars between the windows
        for side in (-1, 1):
            y = side * (half - 0.0275)
            thing.box((x - 0.06, y - 0.0325, 1.1), (x + 0.06, y + 0.0325, 2.55))
    thing.box((rear + 1.2, -0.8, high - 0.02), (rear + 4.0, 0.8, high + 0.22), shine=0.5)
    _wheels(thing, [front - 2.7, rear + 3.1], half + 0.015, 0.48, 0.3)
    _mirrors(thing, front + 0.05, half, 2.5, 1.8)
    return thing


def trailer(rng: Rng) -> Thing:
    """Return a small box trailer or a caravan without a car before it."""
    length, half = rng.uniform(3.6, 5.2), rng.uniform(0.9, 1.1)
    front, rear = length / 2 - 0.9, -length / 2
    high = rng.uniform(2.0, 2.6)
    thing = Thing(OTHER_VEHICLE, _paint(rng))
    thing.profile([(front, half, 0.45), (rear, half, 0.45), (front, half, 1.3),
                   (front - 0.5, half, high), (rear, half, high - 0.1),
                   (rear + 0.2, half - 0.05, high)])
    thing.rod((front - 0.1, 0, 0.5), (length / 2, 0, 0.45), 0.05)
    thing.rod((length / 2 - 0.15, 0, 0), (length / 2 - 0.15, 0, 0.7), 0.04)
    thing.box((-0.6, -half - 0.008, 1.25), (0.5, half + 0.008, 1.75), shine=GLASS)
    _wheels(thing, [-0.1], half + 0.02, 0.3, 0.18)
    return thing


CARS: tuple[Callable[[Rng], Thing], ...] = (car, hatchback, hatchback, off_roader, van)
