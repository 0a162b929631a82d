"""Solids whose surfaces can be sampled exactly, and the union of several of them.

A solid proposes points on its surface with a density that is constant over the surface *after*
thinning: `propose(rng, n)` returns about `n * area / envelope` points, so a union draws its
proposals in proportion to the envelopes and needs no area in closed form. Points of one solid
that lie inside another are dropped: what remains is the visible skin of the union.

Units are free (every cloud is scaled into the unit ball afterwards); normals point outwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

INSIDE_MARGIN = 1e-6
"""A point on a face that two solids share counts as outside of both."""
SMOOTH_COSINE = math.cos(math.radians(30))
"""Profile corners flatter than this are read as a smooth curve (its normal is interpolated)."""


class Solid(Protocol):
    """What a primitive offers; local coordinates."""

    envelope: float

    def propose(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return points (M, 3) and unit normals (M, 3), M <= n."""

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Return (M,) bool: strictly inside the solid."""


class Convex:
    """A convex polyhedron of (T, 3, 3) triangles wound counter-clockwise seen from outside."""

    def __init__(self, triangles: np.ndarray) -> None:
        self.corner = triangles[:, 0]
        self.edges = triangles[:, 1:] - triangles[:, :1]
        cross = np.cross(self.edges[:, 0], self.edges[:, 1])
        double = np.sqrt((cross * cross).sum(-1))
        self.normals = cross / double[:, None]
        self.offsets = (self.normals * self.corner).sum(-1) - INSIDE_MARGIN
        self.cumulative = np.cumsum(double)
        self.envelope = float(self.cumulative[-1]) / 2

    def propose(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        which = np.searchsorted(self.cumulative, rng.random(n) * self.cumulative[-1])
        which = np.minimum(which, len(self.cumulative) - 1)
        uv = rng.random((n, 2))
        uv = np.where(uv.sum(1, keepdims=True) > 1, 1 - uv, uv)
        edges = self.edges[which]
        points = self.corner[which] + edges[:, 0] * uv[:, :1] + edges[:, 1] * uv[:, 1:]
        return points, self.normals[which]

    def inside(self, points: np.ndarray) -> np.ndarray:
        return np.all(points @ self.normals.T < self.offsets, axis=1)


def frustum(bottom: np.ndarray, top: np.ndarray, z0: float, z1: float) -> Convex:
    """Join two convex polygons (n, 2), counter-clockwise and with parallel edges."""
    n = len(bottom)
    low = np.column_stack([bottom, np.full(n, z0)])
    high = np.column_stack([top, np.full(n, z1)])
    i, j = np.arange(n), (np.arange(n) + 1) % n
    fan, nxt = i[1:-1], i[2:]
    zero = np.zeros_like(fan)
    triangles = np.concatenate([
        np.stack([low[i], low[j], high[j]], 1), np.stack([low[i], high[j], high[i]], 1),
        np.stack([low[zero], low[nxt], low[fan]], 1),
        np.stack([high[zero], high[fan], high[nxt]], 1)])
    return Convex(triangles)


def regular_polygon(sides: int, radius: float, phase: float = 0.0) -> np.ndarray:
    """Return the (sides, 2) corners, counter-clockwise."""
    angle = phase + 2 * math.pi * np.arange(sides) / sides
    return radius * np.column_stack([np.cos(angle), np.sin(angle)])


class Revolved:
    """A profile (m, 2) of (radius, height) turned about z; closed along the axis or in itself."""

    def __init__(self, profile: Sequence[tuple[float, float]] | np.ndarray) -> None:
        start = np.asarray(profile, dtype=float)
        end = np.roll(start, -1, axis=0)
        if (start[:, 0] * end[:, 1] - end[:, 0] * start[:, 1]).sum() < 0:
            start, end = end[::-1], start[::-1]
        step = end - start
        length = np.sqrt((step * step).sum(-1))
        keep = (length > 1e-12) & (start[:, 0] + end[:, 0] > 1e-12)
        self.polygon = (start, end)
        facing = np.column_stack([step[:, 1], -step[:, 0]]) / np.maximum(length, 1e-12)[:, None]
        before, after = np.roll(facing, 1, axis=0), np.roll(facing, -1, axis=0)
        at_start = _blend(facing, before, np.roll(keep, 1))
        at_end = _blend(facing, after, np.roll(keep, -1))
        self.start, self.step = start[keep], step[keep]
        self.at_start, self.turn = at_start[keep], (at_end - at_start)[keep]
        self.cumulative = np.cumsum((length * (start[:, 0] + end[:, 0]))[keep])
        self.envelope = math.pi * float(self.cumulative[-1])
        self.low, self.high = start.min(0), start.max(0)

    def propose(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        which = np.searchsorted(self.cumulative, rng.random(n) * self.cumulative[-1])
        which = np.minimum(which, len(self.cumulative) - 1)
        start, step = self.start[which], self.step[which]
        r0, r1 = start[:, 0], start[:, 0] + step[:, 0]
        u = rng.random(n)
        # density along the segment is proportional to the radius: invert its integral
        t = u * (r0 + r1) / (r0 + np.sqrt(np.maximum(r0 * r0 + u * (r1 * r1 - r0 * r0), 1e-30)))
        flat = start + step * t[:, None]
        facing = self.at_start[which] + self.turn[which] * t[:, None]
        facing /= np.sqrt((facing * facing).sum(-1, keepdims=True))
        angle = rng.random(n) * (2 * math.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        return (np.column_stack([flat[:, 0] * cos, flat[:, 0] * sin, flat[:, 1]]),
                np.column_stack([facing[:, 0] * cos, facing[:, 0] * sin, facing[:, 1]]))

    def inside(self, points: np.ndarray) -> np.ndarray:
        flat = np.column_stack([np.hypot(points[:, 0], points[:, 1]), points[:, 2]])
        box = ((flat < self.high - INSIDE_MARGIN).all(1)
               & (flat[:, 1] > self.low[1] + INSIDE_MARGIN))
        result = np.zeros(len(points), dtype=bool)
        result[box] = in_polygon(flat[box], *self.polygon)
        return result


def _blend(facing: np.ndarray, other: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Normal at a shared corner: the mean where the corner is smooth, else the facet's own."""
    smooth = present & ((facing * other).sum(-1) > SMOOTH_COSINE)
    mean = facing + other
    mean /= np.maximum(np.sqrt((mean * mean).sum(-1, keepdims=True)), 1e-12)
    return np.where(smooth[:, None], mean, facing)


def in_polygon(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Tell by the even-odd rule which (n, 2) points the edges start[i]-end[i] enclose."""
    y = points[:, 1:2]
    crosses = (start[:, 1] <= y) != (end[:, 1] <= y)
    rise = end[:, 1] - start[:, 1]
    slope = (end[:, 0] - start[:, 0]) / np.where(rise == 0, 1.0, rise)
    at = start[:, 0] + (y - start[:, 1]) * slope
    return (crosses & (points[:, 0:1] < at)).sum(1) % 2 == 1


class Ellipsoid:
    """An ellipsoid with half axes `radii` (3,)."""

    def __init__(self, radii: Sequence[float]) -> None:
        self.radii = np.asarray(radii, dtype=float)
        self.stretch = np.prod(self.radii) / self.radii
        self.envelope = 4 * math.pi * float(self.stretch.max())

    def propose(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        unit = rng.standard_normal((n, 3))
        unit /= np.sqrt((unit * unit).sum(-1, keepdims=True))
        weighted = unit * self.stretch
        size = np.sqrt((weighted * weighted).sum(-1))
        keep = rng.random(n) * self.stretch.max() < size
        return (unit * self.radii)[keep], (weighted / size[:, None])[keep]

    def inside(self, points: np.ndarray) -> np.ndarray:
        scaled = points / self.radii
        return (scaled * scaled).sum(-1) < 1 - INSIDE_MARGIN


@dataclass(frozen=True)
class Piece:
    """A solid in its place, with the part that its points belong to.

    part : index into the part names of the class, or a function of local points (M, 3) -> (M,).
    """

    solid: Solid
    part: int | Callable[[np.ndarray], np.ndarray]
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: np.ndarray | None = None


def box(size: Sequence[float], centre: Sequence[float], part: int,
        top: Sequence[float] = (1.0, 1.0), rotation: np.ndarray | None = None) -> Piece:
    """Place a box of full side lengths `size`; its top face may be scaled by `top`."""
    x, y, z = (s / 2 for s in size)
    low = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    return Piece(frustum(low, low * np.asarray(top), -z, z), part,
                 (centre[0], centre[1], centre[2]), rotation)


Point = Sequence[float] | np.ndarray


def rod(start: Point, end: Point, radius: float, part: int, tip: float | None = None) -> Piece:
    """Place a round rod, or a cone frustum whose radius at `end` is `tip`."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    length = float(np.sqrt(((b - a) ** 2).sum()))
    solid = Revolved([(0, 0), (radius, 0), (radius if tip is None else tip, length), (0, length)])
    return Piece(solid, part, (a[0], a[1], a[2]), upright_to((b - a) / length))


def bar(start: Point, end: Point, width: float, part: int) -> Piece:
    """Place a square bar between two points."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    length = float(np.sqrt(((b - a) ** 2).sum()))
    square = width / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return Piece(frustum(square, square, 0, length), part, (a[0], a[1], a[2]),
                 upright_to((b - a) / length))


def upright_to(direction: np.ndarray) -> np.ndarray:
    """Return the rotation that takes +z to the unit vector `direction` by the shortest way."""
    x, y, z = direction
    if z < -0.999999:
        return np.diag([1.0, -1.0, -1.0])
    return np.array([[1 - x * x / (1 + z), -x * y / (1 + z), x],
                     [-x * y / (1 + z), 1 - y * y / (1 + z), y],
                     [-x, -y, z]])


def turn(axis: int, angle: float) -> np.ndarray:
    """Return the rotation by `angle` (radians) about coordinate axis 0, 1 or 2."""
    c, s = math.cos(angle), math.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    result = np.eye(3)
    result[i, i] = result[j, j] = c
    result[i, j], result[j, i] = -s, s
    return result
