"""The ground around the scanner: heights and distances to the road on a lattice, by squares."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from pcinv_data.lidar_sim.road import BEGIN, KERB, LANE, STRIP, TILE, Road

SQUARE = 32
"""Metres along a side of a square; points of the lattice are 1 m apart."""
BLOCK = 8
FAR = 60.0
"""Distances to the road are told up to here."""
KEPT = 160
"""Squares that stay in memory: those within 150 m and some more; 35 kB each."""


class Field(NamedTuple):
    """The ground as the kernels want it, lattice points along x, then along y.

    height : (n, n).  kerb : (n, n) distance to the nearest road, negative on it.
    main, side : (n, n) to the main road and to the nearest side street.  along : the main road.
    paved : (n, n) whether what lies beyond the pavement is paved.
    tops : (n / BLOCK, n / BLOCK) the highest place of each block.  x0, y0 : the first point.
    top : the highest place.  step : of a kerb.  walk : width of the pavements.  strip : of the
        places to park.  wide : half the road.  lane : width of a lane.
    """

    height: np.ndarray
    kerb: np.ndarray
    main: np.ndarray
    side: np.ndarray
    along: np.ndarray
    paved: np.ndarray
    tops: np.ndarray
    x0: float
    y0: float
    top: float
    step: float
    walk: float
    strip: float
    wide: float
    lane: float


class Ground:
    """The ground of a road. kinds : (tile, side of the road) -> whether it is paved there."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self._squares: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._last: tuple[tuple[int, ...], Field] | None = None

    def field(self, x: float, y: float, reach: float) -> Field:
        """Return the ground at least so far from a place."""
        i0, i1 = math.floor((x - reach) / SQUARE), math.floor((x + reach) / SQUARE)
        j0, j1 = math.floor((y - reach) / SQUARE), math.floor((y + reach) / SQUARE)
        if self._last is None or self._last[0] != (i0, i1, j0, j1):
            rows = [np.concatenate([self._square(i, j) for j in range(j0, j1 + 1)], 2)
                    for i in range(i0, i1 + 1)]
            self._last = (i0, i1, j0, j1), self._field(np.concatenate(rows, 1), i0, j0)
        return self._last[1]

    def _field(self, grid: np.ndarray, i0: int, j0: int) -> Field:
        # the last row and column have no cell of their own: the window ends one block before
        height, main, side, along, paved = (np.ascontiguousarray(g) for g in grid)
        n, m = ((k - 1) // BLOCK for k in height.shape)
        cells = np.maximum(np.maximum(height[:-1, :-1], height[1:, :-1]),
                           np.maximum(height[:-1, 1:], height[1:, 1:]))
        tops = cells[:n * BLOCK, :m * BLOCK].reshape(n, BLOCK, m, BLOCK).max((1, 3))
        return Field(height, np.minimum(main, side), main, side, along, paved > 0, tops,
                     float(i0 * SQUARE), float(j0 * SQUARE), float(tops.max()), KERB,
                     self.road.walk, STRIP, self.road.half, LANE)

    def _square(self, i: int, j: int) -> np.ndarray:
        """Return (5, SQUARE, SQUARE): height, main, side, along, paved."""
        key = i, j
        if key in self._squares:
            self._squares.move_to_end(key)
            return self._squares[key]
        self._squares[key] = made = self._make(i, j)
        if len(self._squares) > KEPT:
            self._squares.popitem(last=False)
        return made

    def _make(self, i: int, j: int) -> np.ndarray:
        from pcinv_data.lidar_sim.ground_kernels import nearest_on_line

        road = self.road
        x, y = np.meshgrid(i * SQUARE + np.arange(SQUARE), j * SQUARE + np.arange(SQUARE),
                           indexing="ij")
        points = np.stack([x.ravel(), y.ravel()], 1).astype(np.float64)
        while road.x[-1] < x.max() + FAR + 1:
            road.extend(BEGIN + len(road.x) + 100)
        first = max(int(np.searchsorted(road.x, x.min() - FAR)) - 1, 0)
        last = min(int(np.searchsorted(road.x, x.max() + FAR)) + 2, len(road.x))
        line = road.y[first:last]
        if line.min() - FAR > y.max() or line.max() + FAR < y.min():
            left, along = np.full(x.shape, 1e3), np.full(x.shape, float(first)) + BEGIN
        else:
            out = np.empty((len(points), 2))
            nearest_on_line(points, road.x, road.y, first, last, out)
            left, along = out[:, 0].reshape(x.shape), out[:, 1].reshape(x.shape) + BEGIN
        main = np.minimum(np.abs(left), FAR) - road.half
        tile = np.floor(along / TILE).astype(np.int64)
        crossings = road.crossings(int(tile.min()) - 3, int(tile.max()) + 4)
        side = np.minimum(road.side_distance(points[:, 0], points[:, 1], crossings), FAR
                          ).reshape(x.shape)
        soil = np.clip((np.minimum(main, side) - road.walk - 1) / 4, 0, 1)
        rough = 0.10 * np.sin(0.9 * x + 0.31 * y) + 0.07 * np.sin(1.7 * y - 0.5 * x) \
            + 0.05 * np.sin(2.3 * x + 1.9 * y)
        paved = np.array([[is_paved(road.seed, t, s) for s in (0, 1)]
                          for t in range(tile.min(), tile.max() + 1)])
        told = paved[tile - tile.min(), (left < 0).astype(np.int64)]
        return np.stack([road.height(points[:, 0], points[:, 1]).reshape(x.shape) + soil * rough,
                         main, side, along, told])


def soil_height(road: Road, x: float, y: float, away: float) -> float:
    """Return the height of the ground at a place that is `away` from the nearest road."""
    soil = min(max((away - road.walk - 1) / 4, 0.0), 1.0)
    rough = 0.10 * math.sin(0.9 * x + 0.31 * y) + 0.07 * math.sin(1.7 * y - 0.5 * x) \
        + 0.05 * math.sin(2.3 * x + 1.9 * y)
    raised = KERB if away > 0 else 0.0
    return float(road.height(np.float64(x), np.float64(y))) + soil * rough + raised


KINDS = ("built", "built", "park", "park", "walled")


def kind_of(seed: int, tile: int, side: int) -> str:
    """Return what a side of a tile is: houses, trees, or walls and hedges; 0 is the left one."""
    rng = np.random.default_rng([seed, 1, tile + 2**20, side])
    return KINDS[int(rng.integers(len(KINDS)))]


def is_paved(seed: int, tile: int, side: int) -> bool:
    """Tell whether the ground between pavement and houses is paved."""
    return kind_of(seed, tile, side) == "built" and (tile + side) % 2 == 0
