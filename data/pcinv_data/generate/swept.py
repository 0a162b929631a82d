"""Solids swept from a flat section or along a curve: extrusions and tubes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pcinv_data.generate.primitives import INSIDE_MARGIN, in_polygon


class Extruded:
    """A flat section between z0 and z1: an outer polygon or disc, with round or polygonal holes.

    outer : (n, 2) counter-clockwise corners, or a radius.
    holes : (x, y, radius) of discs taken out.
    """

    def __init__(self, outer: np.ndarray | float, z0: float, z1: float,
                 holes: Sequence[tuple[float, float, float]] = ()) -> None:
        self.z0, self.z1 = z0, z1
        self.holes = np.asarray(holes, dtype=float).reshape(-1, 3)
        self.edges: tuple[np.ndarray, np.ndarray] | None = None
        if isinstance(outer, np.ndarray):
            self.edges = (outer, np.roll(outer, -1, axis=0))
            self.low, self.high = outer.min(0), outer.max(0)
            lengths = np.hypot(*(self.edges[1] - self.edges[0]).T)
            circles = self.holes
            self.sign = -np.ones(len(circles))
        else:
            self.radius = float(outer)
            self.low, self.high = np.full(2, -self.radius), np.full(2, self.radius)
            lengths = np.zeros(0)
            circles = np.concatenate([[[0.0, 0.0, self.radius]], self.holes])
            self.sign = np.r_[1.0, -np.ones(len(self.holes))]
        self.circles = circles
        self.cumulative = np.cumsum(np.r_[lengths, 2 * math.pi * circles[:, 2]])
        self.side = float(self.cumulative[-1]) * (z1 - z0)
        self.cap = float(np.prod(self.high - self.low))
        self.envelope = self.side + 2 * self.cap

    def section(self, flat: np.ndarray) -> np.ndarray:
        """Tell which (n, 2) points lie in the section."""
        if self.edges is not None:
            result = in_polygon(flat, *self.edges)
        else:
            result = (flat * flat).sum(1) < self.radius**2
        for x, y, radius in self.holes:
            result &= (flat[:, 0] - x) ** 2 + (flat[:, 1] - y) ** 2 > radius**2
        return result

    def propose(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        on_side = int(rng.binomial(n, self.side / self.envelope))
        flat = self.low + rng.random((n - on_side, 2)) * (self.high - self.low)
        flat = flat[self.section(flat)]
        up = np.where(rng.random(len(flat)) < 0.5, 1.0, -1.0)
        caps = np.column_stack([flat, np.where(up > 0, self.z1, self.z0)])
        cap_normals = np.column_stack([np.zeros_like(flat), up])
        walls, wall_normals = self._walls(rng, on_side)
        return np.concatenate([walls, caps]), np.concatenate([wall_normals, cap_normals])

    def _walls(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        straight = 0 if self.edges is None else len(self.edges[0])
        which = np.searchsorted(self.cumulative, rng.random(n) * self.cumulative[-1])
        which = np.minimum(which, len(self.cumulative) - 1)
        u = rng.random(n)
        points, normals = np.empty((n, 3)), np.zeros((n, 3))
        points[:, 2] = self.z0 + rng.random(n) * (self.z1 - self.z0)
        line = which < straight
        if self.edges is not None:
            start, step = self.edges[0], self.edges[1] - self.edges[0]
            at = which[line]
            points[line, :2] = start[at] + step[at] * u[line, None]
            normals[line, :2] = np.column_stack([step[at, 1], -step[at, 0]])
            normals[line] /= np.hypot(step[at, 0], step[at, 1])[:, None]
        at = which[~line] - straight
        angle = 2 * math.pi * u[~line]
        out = np.column_stack([np.cos(angle), np.sin(angle)])
        points[~line, :2] = self.circles[at, :2] + out * self.circles[at, 2:]
        normals[~line, :2] = out * self.sign[at, None]
        return points, normals

    def inside(self, points: np.ndarray) -> np.ndarray:
        between = ((points[:, 2] > self.z0 + INSIDE_MARGIN)
                   & (points[:, 2] < self.z1 - INSIDE_MARGIN))
        result = np.zeros(len(points), dtype=bool)
        result[between] = self.section(points[between, :2])
        return result


Curve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""t in [0, 1] (n,) -> position, first and second derivative, each (n, 3)."""


class Tube:
    """A round tube of one radius about a curve, with flat ends; hollow where `bore` > 0."""

    def __init__(self, curve: Curve, radius: float, bore: float = 0.0, closed: bool = False,
                 steps: int = 48) -> None:
        self.curve, self.radius, self.bore, self.closed = curve, radius, bore, closed
        self.nodes, first, second = curve(np.linspace(0, 1, steps))
        speed2 = (first * first).sum(-1)
        bend = _curvature(first, second, speed2)
        self.density = float((np.sqrt(speed2)
                              * (1 + radius * np.sqrt((bend * bend).sum(-1)))).max()) * 1.02
        self.wall = 2 * math.pi * radius * self.density
        self.lining = 2 * math.pi * bore * self.density
        self.end = 0.0 if closed else math.pi * (radius**2 - bore**2)
        self.envelope = self.wall + self.lining + 2 * self.end

    def propose(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        shares = np.array([self.wall, self.lining, self.end, self.end]) / self.envelope
        wall, lining, *ends = rng.multinomial(n, shares)
        parts = [self._wall(rng, wall, self.radius, 1.0), self._wall(rng, lining, self.bore, -1.0),
                 self._end(rng, ends[0], 0.0), self._end(rng, ends[1], 1.0)]
        return np.concatenate([p for p, _ in parts]), np.concatenate([q for _, q in parts])

    def _wall(self, rng: np.random.Generator, n: int, radius: float,
              sign: float) -> tuple[np.ndarray, np.ndarray]:
        centre, first, second = self.curve(rng.random(n))
        out = _circle(first, rng.random(n))
        speed2 = (first * first).sum(-1)
        bend = (_curvature(first, second, speed2) * out).sum(-1)
        # area element of a tube: speed * (1 - radius * curvature towards the point)
        keep = rng.random(n) * self.density < np.sqrt(speed2) * np.maximum(1 - radius * bend, 0)
        return (centre + radius * out)[keep], sign * out[keep]

    def _end(self, rng: np.random.Generator, n: int, t: float) -> tuple[np.ndarray, np.ndarray]:
        centre, first, _ = self.curve(np.full(n, t))
        radius = np.sqrt(self.bore**2 + rng.random(n) * (self.radius**2 - self.bore**2))
        along = first / np.sqrt((first * first).sum(-1, keepdims=True))
        points = centre + radius[:, None] * _circle(first, rng.random(n))
        return points, along if t else -along

    def inside(self, points: np.ndarray) -> np.ndarray:
        low, high = self.nodes.min(0) - self.radius, self.nodes.max(0) + self.radius
        near = ((points > low) & (points < high)).all(1)
        result = np.zeros(len(points), dtype=bool)
        step = np.diff(self.nodes, axis=0)
        offset = points[near, None] - self.nodes[:-1]
        t = (offset * step).sum(-1) / (step * step).sum(-1)
        gap = offset - np.clip(t, 0, 1)[..., None] * step
        distance2 = (gap * gap).sum(-1)
        distance2[:, 0][t[:, 0] < 0] = np.inf  # flat ends: nothing beyond the first and last node
        distance2[:, -1][t[:, -1] > 1] = np.inf
        nearest = np.sqrt(distance2.min(1))
        result[near] = (nearest < self.radius - INSIDE_MARGIN) & (nearest > self.bore)
        return result


def _curvature(first: np.ndarray, second: np.ndarray, speed2: np.ndarray) -> np.ndarray:
    along = (first * second).sum(-1, keepdims=True) * first
    return (second * speed2[:, None] - along) / (speed2**2)[:, None]


def _circle(tangent: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Unit vectors across `tangent`, at `turn` full turns from an arbitrary direction."""
    along = tangent / np.sqrt((tangent * tangent).sum(-1, keepdims=True))
    helper = np.zeros_like(along)
    helper[np.arange(len(along)), np.abs(along).argmin(-1)] = 1.0
    side = np.cross(along, helper)
    side /= np.sqrt((side * side).sum(-1, keepdims=True))
    angle = 2 * math.pi * turn[:, None]
    return side * np.cos(angle) + np.cross(along, side) * np.sin(angle)
