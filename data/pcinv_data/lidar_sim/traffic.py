"""What moves: the car of the scanner, and endless streams of others in lanes and on pavements.

A stream is a row of places that all move on by one profile of speeds, each with some delay of its
own, so that distances change and nobody runs into anybody. Who is at a place is a function of seed,
stream and place alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from pcinv_data.lidar_sim.library import Library
from pcinv_data.lidar_sim.road import KERB, LANE, Road
from pcinv_data.lidar_sim.tiles import MOST_THINGS, NUMBERED_TILES, on_slope

KNOTS = 80
"""Knots of a track in a second; between them all poses change linearly."""
CALM = 4.0
"""Seconds between speeds that are drawn; it changes linearly between them."""
_EARLIEST = 4
FASTEST_EGO, FASTEST = 14.0, 18.5
SENSOR = 1.73
"""Height of the scanner above the ground, in metres."""
NUMBERS = 1800
"""Numbers of a stream's things, after which they begin anew."""


class Profile:
    """Speeds over time, made as they are asked for. number : of the random stream."""

    def __init__(self, seed: int, number: int, low: float, high: float, stops: float) -> None:
        self._told = (seed, number, low, high, stops)
        self.speed, self.way = np.zeros(0), np.zeros(1)

    def _extend(self, count: int) -> None:
        seed, number, low, high, stops = self._told
        have = len(self.speed)
        added = []
        for k in range(have, max(count, have + 64)):
            stop = np.random.default_rng([seed, 4, number, 0, k // 2]).random() < stops
            drawn = np.random.default_rng([seed, 4, number, 1, k]).uniform(low, high)
            added.append(0.0 if stop and k // 2 > 3 else float(drawn))
        self.speed = np.concatenate([self.speed, added])
        steps = CALM * (self.speed[1:] + self.speed[:-1]) / 2
        self.way = np.cumsum(np.r_[0.0, steps])
        self.way = self.way - self.way[_EARLIEST]

    def at(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the way since time 0 and the acceleration; t : seconds, from -16 on."""
        k = np.floor(t / CALM).astype(np.int64) + _EARLIEST
        k = np.maximum(k, 0)
        if int(k.max()) + 2 > len(self.speed):
            self._extend(int(k.max()) + 2)
        since = t - (k - _EARLIEST) * CALM
        gain = (self.speed[k + 1] - self.speed[k]) / CALM
        return self.way[k] + (self.speed[k] + gain * since / 2) * since, gain


class Steady:
    """One speed for ever."""

    def __init__(self, speed: float) -> None:
        self.speed = speed

    def at(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the way since time 0 and the acceleration."""
        return self.speed * t, np.zeros_like(t)


class Stream(NamedTuple):
    """A row of things that move alike.

    left : of the middle of the road.  ahead : 1 as the scanner, -1 against it.
    spacing : between two places.  jitter : metres.  delay : seconds.  share : of places taken.
    kinds : what may be there; each as often as it is named.  raised : on the pavement.
    """

    left: float
    ahead: int
    profile: Profile | Steady
    spacing: float
    jitter: float
    delay: float
    share: float
    kinds: tuple[str, ...]
    raised: bool = False


class Moving(NamedTuple):
    """Things that move around the scanner.

    drawing, number : (O,).  track : (O, K, 6) x, y, z, yaw, pitch, roll at knots.
    """

    drawing: np.ndarray
    number: np.ndarray
    track: np.ndarray


ON_ROAD = ("car", "motorcyclist", "car", "lorry", "car", "motorcyclist", "car", "bus")
ALWAYS = ("motorcyclist",)
"""Those that are rare enough elsewhere, so that their places are always taken."""


class Traffic:
    """The car of the scanner and all others of a road.

    moves : whether there are others at all.  speed : of the scanner's car, or None for a profile.
    """

    def __init__(self, road: Road, library: Library, moves: bool, speed: float | None) -> None:
        self.road, self.library = road, library
        rng = np.random.default_rng([road.seed, 4])
        lane = int(rng.integers(road.lanes))
        self.ego: Profile | Steady = Profile(road.seed, 0, 5.0, FASTEST_EGO, 0.14) \
            if speed is None else Steady(speed)
        self.left = -LANE * (lane + 0.5)
        self.streams = self._streams(rng, lane) if moves else []
        self._slots: OrderedDict[tuple[int, int], tuple[float, ...] | None] = OrderedDict()

    def _streams(self, rng: np.random.Generator, mine: int) -> list[Stream]:
        streams = []
        for lane in range(self.road.lanes):
            for ahead in (1, -1):
                own = ahead == 1 and lane == mine
                profile = self.ego if own else Profile(
                    self.road.seed, 1 + len(streams), 4.0, FASTEST, 0.1)
                streams.append(Stream(-ahead * LANE * (lane + 0.5), ahead, profile,
                                      float(rng.uniform(28, 42)), 4.0, 0.5, 0.75, ON_ROAD))
        edge, walk = LANE * self.road.lanes - 0.15, self.road.half + np.array([0.6, 0.82]
                                                                              ) * self.road.walk
        for ahead in (1, -1):
            streams.append(Stream(-ahead * edge, ahead, Steady(float(rng.uniform(3, 6))), 24, 7,
                                  0, 0.8, ("bicyclist",)))
        for side in (1, -1):
            for k, ahead in enumerate((1, -1)):
                streams.append(Stream(side * float(walk[k]), ahead,
                                      Steady(float(rng.uniform(0.9, 1.7))), 8, 2.5, 0, 0.5,
                                      ("walker",), True))
        return streams

    def sensor(self, knots: np.ndarray) -> np.ndarray:
        """Return x, y, z, yaw, pitch, roll (K, 6) of the scanner at knots."""
        along, gain = self.ego.at(knots / KNOTS)
        x, y, yaw = self.road.beside(along, self.left)
        car = on_slope(self.road, x, y, yaw, np.array([4.6, 1.8]), 0.0, upright=False)
        # the body sways on its springs, by where it is, so that it is still when it stands
        car[:, 2] += 0.012 * np.sin(1.1 * along) + 0.006 * np.sin(2.9 * along)
        car[:, 4] += 0.004 * np.sin(0.83 * along + 1) - 0.003 * gain
        car[:, 5] += 0.005 * np.sin(0.61 * along + 2)
        car[:, :3] += SENSOR * matrices(car)[:, :3, 2]
        return car

    def along(self, knot: int) -> float:
        """Return how far along the road the scanner is."""
        return float(self.ego.at(np.array([knot / KNOTS]))[0][0])

    def around(self, knots: np.ndarray, reach: float) -> Moving:
        """Return what moves within `reach` along the road of the scanner, at knots."""
        here, t = self.along(int(knots[len(knots) // 2])), knots / KNOTS
        drawing, number, tracks = [], [], []
        for row, stream in enumerate(self.streams):
            way = stream.ahead * float(stream.profile.at(t[len(t) // 2:len(t) // 2 + 1])[0][0])
            slack = reach + stream.jitter + FASTEST * stream.delay
            first = math.floor((here - slack - way) / stream.spacing)
            last = math.ceil((here + slack - way) / stream.spacing)
            found = [(slot, told) for slot in range(first, last + 1)
                     if (told := self._slot(row, slot)) is not None]
            if not found:
                continue
            told = np.array([told for _, told in found])
            way_at = stream.profile.at(t[None] - told[:, 2:3])[0]
            along = told[:, 1:2] + stream.ahead * way_at
            x, y, heading = self.road.beside(along, stream.left)
            yaw = heading + (0.0 if stream.ahead > 0 else math.pi)
            which = told[:, 0].astype(np.int64)
            drawn = [self.library.drawings[k] for k in which]
            lift = np.array([[d.lift + KERB * stream.raised] for d in drawn])
            tracks.append(on_slope(self.road, x, y, yaw, np.array([[d.size] for d in drawn]), lift,
                                   stream.raised))
            drawing.append(which)
            slots = np.array([slot for slot, _ in found])
            number.append(1 + NUMBERED_TILES * MOST_THINGS + row * NUMBERS + slots % NUMBERS)
        if not tracks:
            return Moving(np.zeros(0, np.int64), np.zeros(0, np.int64),
                          np.zeros((0, len(knots), 6)))
        return Moving(np.concatenate(drawing), np.concatenate(number), np.concatenate(tracks))

    def _slot(self, row: int, slot: int) -> tuple[float, ...] | None:
        """Return drawing, place and delay of who is at a place of a stream, or None."""
        key = row, slot
        if key in self._slots:
            self._slots.move_to_end(key)
            return self._slots[key]
        stream = self.streams[row]
        rng = np.random.default_rng([self.road.seed, 5, row, slot + 2**30])
        kind = stream.kinds[(slot + row) % len(stream.kinds)]
        there = rng.random() < stream.share or kind in ALWAYS
        choice = self.library.kinds[kind]
        told = (float(choice[int(rng.integers(len(choice)))]),
                slot * stream.spacing + rng.uniform(-1, 1) * stream.jitter,
                rng.uniform(-1, 1) * stream.delay)
        mine = stream.profile is self.ego and slot == 0
        self._slots[key] = told if there and not mine else None
        if len(self._slots) > 2000:
            self._slots.popitem(last=False)
        return self._slots[key]


def matrices(track: np.ndarray) -> np.ndarray:
    """Return T_map_thing (..., 4, 4) of x, y, z, yaw, pitch, roll (..., 6)."""
    a, b = np.cos(track[..., 3]), np.sin(track[..., 3])
    c, d = np.cos(track[..., 4]), np.sin(track[..., 4])
    e, f = np.cos(track[..., 5]), np.sin(track[..., 5])
    T = np.zeros((*track.shape[:-1], 4, 4))
    T[..., 0, 0], T[..., 0, 1], T[..., 0, 2] = a * c, a * d * f - b * e, a * d * e + b * f
    T[..., 1, 0], T[..., 1, 1], T[..., 1, 2] = b * c, b * d * f + a * e, b * d * e - a * f
    T[..., 2, 0], T[..., 2, 1], T[..., 2, 2] = -d, c * f, c * e
    T[..., :3, 3], T[..., 3, 3] = track[..., :3], 1
    return T
