"""What stands along a road, drawn tile by tile: houses, trees, lamps, signs, parked cars."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pcinv_data.lidar_sim import buildings, roadside
from pcinv_data.lidar_sim.ground import is_paved, kind_of, soil_height
from pcinv_data.lidar_sim.library import Library
from pcinv_data.lidar_sim.road import KERB, SIDE_LENGTH, SIDE_STREET, STRIP, TILE, Crossing, Road
from pcinv_data.lidar_sim.solids import Parts, Thing, enclosing, joined, moved, turned

MOST_THINGS = 64
"""Things of a tile that can be told apart; a multiple of these is the first one's number."""
NUMBERED_TILES = 480
"""After so many tiles, 19 km, the numbers of things begin anew, so that they fit 16 bits."""


@dataclass
class Tile:
    """What stands in a tile. groups : rows first, last, and sphere (4,) of each thing of `parts`.

    things : (drawing, x, y, z, yaw, pitch, roll) of those that can be told apart, and numbers.
    """

    parts: list[Parts] = field(default_factory=list)
    spheres: list[tuple[float, ...]] = field(default_factory=list)
    things: list[tuple[float, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def pack(self) -> tuple[Parts | None, np.ndarray, np.ndarray]:
        """Return all solids, how many each group has, and the spheres (G, 4)."""
        counts = np.array([len(p.kind) for p in self.parts], np.int64)
        return (joined(self.parts) if self.parts else None, counts,
                np.array(self.spheres, np.float64).reshape(-1, 4))


class Builder:
    """Draws tile `number` of a road."""

    def __init__(self, road: Road, library: Library, number: int) -> None:
        self.road, self.library, self.number = road, library, number
        self.rng = np.random.default_rng([road.seed, 3, number + 2**20])
        self.streets = road.crossings(number - 3, number + 4)
        self.tile = Tile()
        self.start = number * TILE

    def build(self) -> Tile:
        """Draw both sides, and the side street if there is one."""
        for side in (0, 1):
            self._parked(side)
            self._kerbside(side)
            getattr(self, "_" + kind_of(self.road.seed, self.number, side))(side)
        if self.road.is_crossing(self.number):
            for street in self.road.crossings(self.number, self.number + 1):
                self._crossing(street)
        return self.tile

    def _put(self, thing: Thing, along: float, left: float, turn: float = 0.0,
             room: float = 0.5) -> bool:
        """Place a thing beside the road, if it keeps `room` from side streets."""
        x, y, heading = (float(v) for v in self.road.beside(np.float64(along), left))
        return self._put_at(thing, x, y, heading + turn, abs(left) - self.road.half, room)

    def _put_at(self, thing: Thing, x: float, y: float, yaw: float, away: float,
                room: float = 0.5) -> bool:
        ends = [(x, y)]
        if room > 0.5:
            low, high = thing.bounds()
            ends += [(x + u * math.cos(yaw), y + u * math.sin(yaw)) for u in (low[0], high[0])]
        from_street = [float(self.road.side_distance(np.float64(a), np.float64(b), self.streets))
                       for a, b in ends]
        if room and min(from_street) < room:
            return False
        z = soil_height(self.road, x, y, min(away, from_street[0]))
        parts = moved(thing.parts(), turned(yaw), (x, y, z))
        centre, radius = enclosing(parts)
        self.tile.parts.append(parts)
        self.tile.spheres.append((*centre.tolist(), radius))
        return True

    def _stand(self, kind: str, x: float, y: float, yaw: float, raised: bool) -> None:
        """Place something that can be told apart."""
        choice = self.library.kinds[kind]
        which = choice[int(self.rng.integers(len(choice)))]
        drawing = self.library.drawings[which]
        pose = on_slope(self.road, np.array([x]), np.array([y]), np.array([yaw]), drawing.size,
                        drawing.lift + KERB * raised, upright=kind == "stander")[0]
        if len(self.tile.things) < MOST_THINGS:
            self.tile.numbers.append(1 + (self.number % NUMBERED_TILES) * MOST_THINGS
                                     + len(self.tile.things))
            self.tile.things.append((float(which), *pose.tolist()))

    def _parked(self, side: int) -> None:
        rng, sign, skip = self.rng, 1 - 2 * side, 0
        turn, share = (math.pi if side == 0 else 0.0), rng.choice([0.1, 0.35, 0.6])
        for slot in range(6):
            along, kind = self.start + 3.3 + 6.66 * slot + rng.normal(0, 0.25), "car"
            taken, out, askew = rng.random() < share, rng.normal(0, 0.04), rng.normal(0, 0.02)
            if slot == (self.number + side) % 6:
                kind, taken = "motorcycle", True
            elif slot == (self.number + 3) % 6 and (2 * self.number + side) % 4 in (1, 3):
                kind, taken = ("lorry" if (2 * self.number + side) % 4 == 1 else "trailer"), True
            if skip or not taken or (kind == "lorry" and slot == 5):
                skip = 0
                continue
            skip = 1 if kind == "lorry" else 0
            left = sign * (self.road.half - STRIP / 2 + 0.15 + out + 0.1 * skip)
            x, y, heading = (float(v) for v in self.road.beside(np.float64(along + 2 * skip), left))
            if self.road.side_distance(np.float64(x), np.float64(y), self.streets) > 5.5 + skip:
                self._stand(kind, x, y, heading + turn + askew, False)

    def _kerbside(self, side: int) -> None:
        rng, sign, half = self.rng, 1 - 2 * side, self.road.half
        turn, start = math.pi * side, self.start
        lamp = start + rng.uniform(1, 8)
        self._put(roadside.lamp(rng), lamp, sign * (half + 0.5), turn)
        if rng.random() < 0.6:
            for along in np.arange(start + rng.uniform(3, 6), start + TILE - 1,
                                   rng.uniform(8, 12)):
                if abs(along - lamp) > 1.8:
                    self._put(roadside.tree(rng), along, sign * (half + 0.8), rng.uniform(0, 6),
                              2.5)
        self._put(roadside.sign(rng), start + rng.uniform(9, 36), sign * (half + 0.45),
                  turn + rng.normal(0, 0.08))
        if rng.random() < 0.3:
            self._put(roadside.direction_board(rng), start + rng.uniform(9, 36),
                      sign * (half + 1.2), turn, 2)
        if self.road.walk > 3.6 and rng.random() < 0.35:
            self._put(roadside.shelter(rng), start + rng.uniform(9, 32), sign * (half + 0.95), turn,
                      2)
        if rng.random() < 0.5:  # a railing
            self._put(buildings.fence(rng, rng.uniform(4, 8)), start + rng.uniform(9, 32),
                      sign * (half + 0.25), turn, 2)
        if rng.random() < 0.3:
            self._put(roadside.bollards(rng), start + rng.uniform(9, 32), sign * (half + 0.3), turn,
                      2)
        if (self.number + side) % 2 == 0:  # bicycles
            along = start + rng.uniform(10, 30)
            for k in range(rng.integers(2, 5)):
                self._beside("bicycle", along + 1.9 * k, sign * (half + rng.uniform(0.35, 0.5)),
                             rng.normal(0, 0.1))
        for _ in range(rng.integers(0, 3)):
            self._beside("stander", start + rng.uniform(0, TILE),
                         sign * (half + rng.uniform(0.5, 0.9)), rng.uniform(0, 6))

    def _beside(self, kind: str, along: float, left: float, turn: float) -> None:
        x, y, heading = (float(v) for v in self.road.beside(np.float64(along), left))
        if self.road.side_distance(np.float64(x), np.float64(y), self.streets) > 1.2:
            self._stand(kind, x, y, heading + turn, True)

    def _built(self, side: int) -> None:
        rng, sign, line = self.rng, 1 - 2 * side, self.road.half + self.road.walk
        turn, along, end = math.pi * side, self.start, self.start + TILE
        paved = is_paved(self.road.seed, self.number, side)
        set_back = rng.uniform(1.5, 4.5) if paved or rng.random() < 0.5 else rng.uniform(0.1, 0.6)
        while along < end - 4:
            width = min(rng.uniform(8, 16), end - along)
            if end - along - width < 6:
                width = end - along
            gap = rng.uniform(0, 0.4) if rng.random() < 0.7 else rng.uniform(2, 4)
            middle = along + width / 2
            if not self._put(buildings.house(rng, width - gap), middle,
                             sign * (line + set_back + rng.uniform(0, 0.5)), turn, 2.5):
                self._put(roadside.tree(rng), middle, sign * (line + 4), 0, 3)
                self._put(buildings.fence(rng, 6), middle, sign * (line + 0.4), turn, 2.5)
            elif set_back > 1.4 and not paved:
                self._front(side, middle, width)
            along += width

    def _front(self, side: int, middle: float, width: float) -> None:
        """Place what bounds a front garden, and some bushes in it."""
        rng, sign, line = self.rng, 1 - 2 * side, self.road.half + self.road.walk
        make = (buildings.fence, roadside.hedge, buildings.wall)[rng.integers(3)]
        for share in (-0.3, 0.3):
            self._put(make(rng, 0.35 * width), middle + share * width, sign * (line + 0.3),
                      math.pi * side, 1.5)
        for _ in range(rng.integers(1, 4)):
            self._put(roadside.bush(rng), middle + rng.uniform(-0.4, 0.4) * width,
                      sign * (line + rng.uniform(0.9, 1.3)), 0, 1.5)

    def _park(self, side: int) -> None:
        rng, sign, line = self.rng, 1 - 2 * side, self.road.half + self.road.walk
        make = (buildings.fence, roadside.hedge, None)[rng.integers(3)]
        for k in range(6 if make is not None else 0):
            self._put(make(rng, TILE / 6 - 0.1), self.start + (k + 0.5) * TILE / 6,
                      sign * (line + 0.5), math.pi * side, 1.5)
        for _ in range(rng.integers(6, 11)):
            self._put(roadside.tree(rng, (0.6, 2.4)), self.start + rng.uniform(0, TILE),
                      sign * (line + rng.uniform(2.5, 24)), rng.uniform(0, 6), 3)
        for _ in range(rng.integers(14, 24)):  # most of them near the pavement
            self._put(roadside.bush(rng), self.start + rng.uniform(0, TILE),
                      sign * (line + 1.3 + 14 * rng.random() ** 2), 0, 2)

    def _walled(self, side: int) -> None:
        rng, sign, line = self.rng, 1 - 2 * side, self.road.half + self.road.walk
        turn, make = math.pi * side, buildings.wall if rng.random() < 0.6 else buildings.fence
        garage = int(rng.integers(0, 6))
        for k in range(4):
            middle = self.start + (k + 0.5) * TILE / 4
            if k == garage:
                self._put(buildings.garage(rng, TILE / 4 - 0.3), middle, sign * (line + 1.0), turn,
                          2)
            else:
                self._put(make(rng, TILE / 4 - 0.1), middle, sign * (line + 0.3), turn, 1.5)
                if rng.random() < 0.5:
                    self._put(roadside.hedge(rng, TILE / 4 - 1), middle, sign * (line + 1.3), turn,
                              1.5)
        for share in (0.27, 0.75):
            self._put(buildings.house(rng, rng.uniform(9, 13)), self.start + share * TILE,
                      sign * (line + rng.uniform(9, 14)), turn, 3)
        for _ in range(5):
            self._put(roadside.tree(rng, (0.8, 2.4)), self.start + rng.uniform(0, TILE),
                      sign * (line + rng.uniform(3, 7)), 0, 3)

    def _crossing(self, street: Crossing) -> None:
        """Place lights, islands, and what stands along the side street."""
        rng, half, walk = self.rng, self.road.half, self.road.walk
        c, s = math.cos(street.heading), math.sin(street.heading)

        def at(u: float, v: float) -> tuple[float, float]:
            return street.x + u * c - v * s, street.y + u * s + v * c

        for side in (0, 1):
            sign, turn = 1 - 2 * side, street.heading + math.pi * side
            self._put_at(roadside.traffic_light(rng), *at(sign * (SIDE_STREET + 1.2),
                         sign * (half + 0.6)), turn, 0.6)
            away = sign * (half + 4.5)
            self._put_at(roadside.island(rng), *at(0, away), street.heading + math.pi / 2, -1, 0)
            self._put_at(roadside.sign(rng), *at(0, away), turn + math.pi / 2, -1, 0)
            for u in (-1, 1):  # houses along the side street
                for v in (half + walk + 20, half + walk + 35, half + walk + 50):
                    width = rng.uniform(10, 14)
                    self._put_at(buildings.house(rng, width),
                                 *at(u * (SIDE_STREET + walk + rng.uniform(0.3, 2)), sign * v),
                                 street.heading - u * math.pi / 2, walk + 1, 0)
            lane = -sign * SIDE_STREET / 2  # towards the main road, on its right-hand side
            for k, v in enumerate((half + 9.0, half + 15.5, half + 31.0)):
                if k == 0 or rng.random() < 0.5:
                    self._stand("car", *at(lane, sign * min(v, SIDE_LENGTH - 4)),
                                street.heading - sign * math.pi / 2, False)


def on_slope(road: Road, x: np.ndarray, y: np.ndarray, yaw: np.ndarray, size: np.ndarray,
             lift: np.ndarray | float, upright: bool) -> np.ndarray:
    """Return x, y, z, yaw, pitch, roll (..., 6) of what stands on the ground; size : (..., 3)."""
    c, s = np.cos(yaw), np.sin(yaw)
    u, v = 0.3 * size[..., 0], 0.45 * size[..., 1]
    front, back = road.height(x + u * c, y + u * s), road.height(x - u * c, y - u * s)
    if upright:
        z, pitch, roll = road.height(x, y), np.zeros_like(x), np.zeros_like(x)
    else:
        left, right = road.height(x - v * s, y + v * c), road.height(x + v * s, y - v * c)
        z = (front + back + left + right) / 4
        pitch, roll = -np.arctan((front - back) / (2 * u)), np.arctan((left - right) / (2 * v))
    return np.stack([x, y, z + lift, yaw, pitch, roll], -1)
