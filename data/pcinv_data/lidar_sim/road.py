"""The road: its middle line, endless and never crossing itself, its widths and its slopes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

KERB = 0.12
"""Height of a kerb, in metres."""
LANE = 3.5
STRIP = 2.6
"""Width of the strip for parking on either side."""
BEGIN = -256.0
"""Where the line begins; the scanner starts at 0."""
STEEPEST = math.radians(70)
"""Largest angle to the x axis: since x always grows, the road never comes back."""
TIGHTEST = 90.0
"""Smallest radius of a bend: 14 m/s make 9 degrees a second there."""
SIDE_STREET = 3.4
"""Half the width of a side street, which has no parking."""
SIDE_LENGTH = 90.0
TILE = 40.0
"""Along the road: what stands beside it is drawn by tiles of this length, in metres."""
_WIDTHS, _BENDS, _SLOPES, _CROSSINGS = range(4)
"""Random streams; those of `tiles` and `traffic` have other numbers."""


class Crossing(NamedTuple):
    """A side street across the road. at : along it.  x, y, heading : of its middle there."""

    at: float
    x: float
    y: float
    heading: float


class Road:
    """The road of a seed; more of its line is made when it is asked for.

    lanes : of each direction.  half : from the middle to the kerb.  walk : width of the pavements.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng([seed, 0, _WIDTHS])
        self.lanes = 1 if rng.random() < 0.6 else 2
        self.half = LANE * self.lanes + STRIP
        self.walk = float(rng.uniform(2.6, 4.2))
        self._cross_every, self._cross_first = int(rng.integers(4, 7)), int(rng.integers(2, 4))
        slopes = np.random.default_rng([seed, 0, _SLOPES])
        length = np.array([420, 260, 150, 95, 60, 38]) * slopes.uniform(0.8, 1.25, 6)
        angle = slopes.uniform(0, 2 * math.pi, 6)
        self._k = 2 * math.pi / length[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        self._high = slopes.uniform(0.5, 1.2, 6) * length * [5e-3, 5e-3, 4e-3, 2e-3, 8e-4, 4e-4]
        self._phase = slopes.uniform(0, 2 * math.pi, 6)
        self._bend, self._straight = 0, True
        self.curvature = np.zeros(0)
        self.heading, self.x, self.y = np.zeros(1), np.zeros(1), np.zeros(1)
        self.extend(256.0)

    def extend(self, until: float) -> None:
        """Make the line at least to `until`, in metres along it."""
        need = math.ceil(until - BEGIN) + 2
        pieces, have, heading = [self.curvature], len(self.curvature), float(self.heading[-1])
        while have < need:
            piece = self._manoeuvre(heading)
            heading = float(np.cumsum(np.r_[heading, piece])[-1])  # as below, bit for bit
            pieces.append(piece)
            have += len(piece)
        if len(pieces) == 1:
            return
        added = np.concatenate(pieces[1:])
        turned = np.cumsum(np.concatenate([self.heading[-1:], added]))
        middle = (turned[1:] + turned[:-1]) / 2
        self.x = np.concatenate([self.x[:-1], np.cumsum(np.r_[self.x[-1], np.cos(middle)])])
        self.y = np.concatenate([self.y[:-1], np.cumsum(np.r_[self.y[-1], np.sin(middle)])])
        self.heading = np.concatenate([self.heading[:-1], turned])
        self.curvature = np.concatenate([self.curvature, added])

    def _manoeuvre(self, heading: float) -> np.ndarray:
        """Return the curvature of the next straight or bend, a value a metre."""
        rng = np.random.default_rng([self.seed, 0, _BENDS, self._bend])
        self._bend += 1
        self._straight = not self._straight
        if not self._straight:
            return np.zeros(int(rng.uniform(40, 130)))
        radius, angle = rng.uniform(TIGHTEST + 2, 220), rng.uniform(0.3, 1.3)
        sign = 1 if rng.random() < 0.5 else -1
        if abs(heading + sign * angle) > STEEPEST:
            sign = -sign
        angle = min(angle, STEEPEST - sign * heading)
        ramp = 15  # metres over which the wheel is turned
        flat = max(int(angle * radius) - ramp, 1)
        shape = np.concatenate([np.arange(1, ramp + 1), np.full(flat, ramp),
                                np.arange(ramp, 0, -1)]) / ramp
        return np.asarray(shape * sign * min(1 / radius, angle / shape.sum()))

    def at(self, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and the heading of the middle line (N,) at places along it."""
        along = np.asarray(along, np.float64)
        self.extend(float(along.max()))
        k = np.clip((along - BEGIN).astype(np.int64), 0, len(self.x) - 2)
        share = along - BEGIN - k
        return tuple(a[k] + share * (a[k + 1] - a[k]) for a in (self.x, self.y, self.heading))

    def beside(self, along: np.ndarray, left: np.ndarray | float
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and the heading of places (N,) that are so far left of the middle line."""
        x, y, heading = self.at(along)
        return x - left * np.sin(heading), y + left * np.cos(heading), heading

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the height of the ground, without kerbs and the roughness of soil."""
        places = np.stack([x, y], -1)
        return np.asarray((np.sin(places @ self._k.T + self._phase) * self._high).sum(-1))

    def is_crossing(self, tile: int) -> bool:
        """Tell whether a side street crosses in the middle of a tile."""
        return tile % self._cross_every == self._cross_first

    def crossings(self, first: int, last: int) -> list[Crossing]:
        """Return the side streets of the tiles [first, last)."""
        found = [(tile + 0.5) * TILE for tile in range(first, last) if self.is_crossing(tile)]
        if not found:
            return []
        return [Crossing(*map(float, row)) for row in zip(found, *self.at(np.array(found)),
                                                           strict=True)]

    def side_distance(self, x: np.ndarray, y: np.ndarray, crossings: list[Crossing]) -> np.ndarray:
        """Return how far places are from the nearest side street; negative within."""
        nearest = np.full(np.shape(x), 1e3)
        for street in crossings:
            u, v = x - street.x, y - street.y
            c, s = math.cos(street.heading), math.sin(street.heading)
            nearest = np.minimum(nearest, np.maximum(np.abs(u * c + v * s) - SIDE_STREET,
                                                     np.abs(v * c - u * s) - SIDE_LENGTH))
        return nearest
