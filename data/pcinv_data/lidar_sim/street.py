"""A street as the kernels want it around one place: solids, groups, ground, and what moves."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from pcinv_data.lidar_sim.ground import Field, Ground
from pcinv_data.lidar_sim.library import Drawing, Library, draw_library
from pcinv_data.lidar_sim.road import TILE, Road
from pcinv_data.lidar_sim.solids import Parts, joined
from pcinv_data.lidar_sim.tiles import Builder, Tile
from pcinv_data.lidar_sim.traffic import KNOTS, Traffic, matrices

KEPT = 24
"""Tiles that stay in memory; those around a place are about 8."""
HALF_TURN = KNOTS // 20
"""Knots from the begin of a turn to its stamp."""
TURN = KNOTS // 10


class Groups(NamedTuple):
    """Runs of solids that belong together. first, last : (G,) rows.  centre, radius : (G, 3), (G,).

    owner : (G,) the row of the tracks that carries the group, or -1 for what stands.
    """

    first: np.ndarray
    last: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    owner: np.ndarray


class Scene(NamedTuple):
    """What is around the scanner during one turn.

    drawings : of the things.  number : (O,).  moves : (O,) whether it is of the traffic.
    tracks : (O, TURN + 2, 6) at the knots of a turn, and at the stamp of the next one.
    sensor : (TURN + 2, 6) likewise.
    """

    parts: Parts
    groups: Groups
    field: Field
    drawings: list[Drawing]
    number: np.ndarray
    moves: np.ndarray
    tracks: np.ndarray
    sensor: np.ndarray


class Street:
    """The street of a seed. traffic : whether others move.  speed : of the scanner, or None."""

    def __init__(self, seed: int, reach: float, traffic: bool, speed: float | None) -> None:
        self.reach = reach
        self.road = Road(seed)
        self.library: Library = draw_library(seed)
        self.ground = Ground(self.road)
        self.traffic = Traffic(self.road, self.library, traffic, speed)
        self._tiles: OrderedDict[int, Tile] = OrderedDict()
        self._static: tuple[tuple[int, int], Parts, Groups, np.ndarray, np.ndarray] | None = None
        self._lock = threading.Lock()

    def scene(self, index: int) -> Scene:
        """Return what is around during turn `index`; a function of the seed and the index alone."""
        with self._lock:
            return self._scene(index)

    def poses(self, count: int) -> np.ndarray:
        """Return T_map_sensor (count, 4, 4) at the stamps; the third axis of the map is up."""
        with self._lock:  # in parts, so that a long one does not take much memory at once
            return np.concatenate([
                matrices(self.traffic.sensor(TURN * np.arange(first, min(first + 10_000, count))))
                for first in range(0, count, 10_000)])

    def _scene(self, index: int) -> Scene:
        knots = np.r_[TURN * index + np.arange(-HALF_TURN, HALF_TURN + 1), TURN * (index + 1)]
        sensor = self.traffic.sensor(knots)
        x, y = sensor[HALF_TURN, :2]
        here = self.traffic.along(TURN * index)
        far = 1.15 * self.reach + 15
        parts, still, things, numbers = self._standing(int((here - far) // TILE),
                                                       int((here + far) // TILE) + 1)
        moving = self.traffic.around(knots, far)
        which = np.concatenate([things[:, 0].astype(np.int64), moving.drawing])
        tracks = np.concatenate([np.repeat(things[:, None, 1:], len(knots), 1), moving.track])
        moves = np.arange(len(which)) >= len(things)
        drawings = self.library.drawings
        radius = np.array([d.radius for d in drawings])[which]
        away = np.hypot(*(tracks[:, HALF_TURN, :2] - (x, y)).T)
        near = away - radius < self.reach + 5
        which, tracks, moves, radius = which[near], tracks[near], moves[near], radius[near]
        around = still.radius + self.reach + 3 > np.hypot(*(still.centre[:, :2] - (x, y)).T)
        of_things = Groups(np.array([d.first for d in drawings])[which],
                           np.array([d.last for d in drawings])[which], np.zeros((len(which), 3)),
                           radius, np.arange(len(which)))
        groups = Groups(*(np.concatenate([a[around], b])
                          for a, b in zip(still, of_things, strict=True)))
        return Scene(parts, groups, self.ground.field(x, y, self.reach + 10),
                     [drawings[k] for k in which], np.concatenate([numbers, moving.number])[near],
                     moves, np.ascontiguousarray(tracks), sensor)

    def _standing(self, first: int, last: int) -> tuple[Parts, Groups, np.ndarray, np.ndarray]:
        """Return solids, groups, things (n, 7) and their numbers of the tiles [first, last)."""
        if self._static is None or self._static[0] != (first, last):
            tiles = [self._tile(k) for k in range(first, last)]
            packed = [tile.pack() for tile in tiles]
            parts = joined([self.library.parts, *(p for p, _, _ in packed if p is not None)])
            ends = np.cumsum(np.concatenate([[len(self.library.parts.kind)],
                                             *(counts for _, counts, _ in packed)]))
            spheres = np.concatenate([s for _, _, s in packed])
            groups = Groups(ends[:-1], ends[1:], spheres[:, :3].copy(), spheres[:, 3].copy(),
                            np.full(len(spheres), -1))
            things = np.array([t for tile in tiles for t in tile.things]).reshape(-1, 7)
            numbers = np.array([n for tile in tiles for n in tile.numbers], np.int64)
            self._static = (first, last), parts, groups, things, numbers
        return self._static[1:]

    def _tile(self, number: int) -> Tile:
        if number in self._tiles:
            self._tiles.move_to_end(number)
        else:
            self._tiles[number] = Builder(self.road, self.library, number).build()
            if len(self._tiles) > KEPT:
                self._tiles.popitem(last=False)
        return self._tiles[number]
