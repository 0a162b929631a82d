"""Solids of the generated street: what a thing is made of, in its own frame, ready for the kernels.

Each solid is described in a canonical space q = A (x - c), so that moving it is moving A and c.

    CONVEX   the points with n . q <= w for all of its planes (n, w)
    BALL     |q| <= 1; an ellipsoid
    ROD      about z from -h/2 to h/2, with the radii r0 below and r1 above; a cylinder or a cone
    LEAVES   an ellipsoid filled with small spheres, at most one in each cell of a lattice
    GRILLE   the plane y = 0 with upright and level bars and nothing between them
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

CONVEX, BALL, ROD, LEAVES, GRILLE = range(5)
PARAMETERS = 7

Vector = Sequence[float] | np.ndarray


class Parts(NamedTuple):
    """Solids as arrays, one row each; all in one frame.

    kind : (P,) int64.  A : (P, 3, 3).  c : (P, 3).  radius : (P,) of a sphere about c around it.
    values : (P, PARAMETERS) of its kind.  first, last : (P,) rows of `planes` (Q, 4).
    label : (P,) int64 class.  shine : (P,) share of the light that comes back.
    """

    kind: np.ndarray
    A: np.ndarray
    c: np.ndarray
    radius: np.ndarray
    values: np.ndarray
    first: np.ndarray
    last: np.ndarray
    planes: np.ndarray
    label: np.ndarray
    shine: np.ndarray


class Thing:
    """A thing under construction: solids are added one by one."""

    def __init__(self, label: int, shine: float = 0.3) -> None:
        self.label, self.shine = label, shine
        self.rows: list[tuple[int, np.ndarray, np.ndarray, float, tuple[float, ...], np.ndarray,
                              int, float]] = []
        self.corners: list[np.ndarray] = []

    def _add(self, kind: int, A: np.ndarray, c: Vector, radius: float, values: tuple[float, ...],
             planes: np.ndarray, corners: np.ndarray, told: dict[str, float]) -> None:
        padded = tuple(values) + (0.0,) * (PARAMETERS - len(values))
        self.rows.append((kind, A, np.asarray(c, np.float64), radius, padded, planes,
                          int(told.get("label", self.label)), told.get("shine", self.shine)))
        self.corners.append(corners)

    def box(self, low: Vector, high: Vector, **told: float) -> None:
        """Add a box by two corners."""
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        half = (high - low) / 2
        planes = _SIDES.copy()
        planes[:3, 3] = planes[3:, 3] = half
        self._add(CONVEX, _EYE, (low + high) / 2, math.sqrt(half @ half), (), planes,
                  (low + high) / 2 + _SIGNS * half, told)

    def hull(self, points: Iterable[Vector], **told: float) -> None:
        """Add the convex hull of points."""
        from scipy.spatial import ConvexHull

        corners = np.array([tuple(p) for p in points], np.float64)
        centre = (corners.min(0) + corners.max(0)) / 2
        around = corners - centre
        faces = np.unique(np.round(ConvexHull(around).equations, 9), axis=0)
        planes = faces * [1, 1, 1, -1]
        self._add(CONVEX, _EYE, centre, math.sqrt((around * around).sum(1).max()), (), planes,
                  corners, told)

    def profile(self, outline: Iterable[tuple[float, float, float]], **told: float) -> None:
        """Add the convex hull of (x, half width, z), the same on the left and on the right."""
        self.hull([(x, side * y, z) for x, y, z in outline for side in (-1, 1)], **told)

    def ball(self, at: Vector, radii: Vector, tilt: float = 0.0, **told: float) -> None:
        """Add an ellipsoid; tilt turns it about y, in radians."""
        radii, R = np.asarray(radii, np.float64), _about_y(tilt)
        self._add(BALL, R.T / radii[:, None], at, float(radii.max()), (), _NONE,
                  np.asarray(at) + (_SIGNS * radii) @ R.T, told)

    def rod(self, start: Vector, end: Vector, r0: float, r1: float | None = None, **told: float
            ) -> None:
        """Add a cylinder or cone between two points."""
        start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
        r1 = r0 if r1 is None else r1
        z = end - start
        length = math.sqrt(z @ z)
        z = z / length
        x = np.array([1.0, 0, 0]) if abs(z[0]) < 0.9 else np.array([0, 1.0, 0])
        x = x - (x @ z) * z
        x = x / math.sqrt(x @ x)
        A = np.array([x, (z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2],
                          z[0] * x[1] - z[1] * x[0]), z])
        wide = max(r0, r1)
        around = np.sqrt(np.maximum(1 - z * z, 0)) * wide
        ends = np.concatenate([start + _SIGNS * around, end + _SIGNS * around])
        self._add(ROD, A, (start + end) / 2, math.hypot(length / 2, wide), (length, r0, r1), _NONE,
                  ends, told)

    def leaves(self, at: Vector, radii: Vector, salt: float, *, cell: float = 0.3,
               leaf: float = 0.1, density: float = 0.6, **told: float) -> None:
        """Add an ellipsoid of leaves: spheres of radius `leaf` in a share of the cells."""
        radii = np.asarray(radii, np.float64)
        wider = radii * (1 + 0.87 * cell / radii.min())  # holds all cells whose middle is inside
        self._add(LEAVES, _EYE, at, float(wider.max()),
                  (*wider.tolist(), cell, leaf, density, float(salt)), _NONE,
                  np.asarray(at) + _SIGNS * radii, told)

    def grille(self, at: Vector, half: tuple[float, float], bars: tuple[float, float],
               rails: tuple[float, float], turn: float = 0.0, **told: float) -> None:
        """Add a flat grille: half its length and height; distance and width of bars and rails."""
        R = turned(turn)
        corners = np.asarray(at) + (_SIGNS * [half[0], 0, half[1]]) @ R.T
        self._add(GRILLE, R.T, at, math.hypot(*half), (*half, *bars, *rails), _NONE, corners, told)

    def parts(self, shift: Vector = (0, 0, 0)) -> Parts:
        """Return what was added, moved by `shift`."""
        kind, A, c, radius, values, planes, label, shine = zip(*self.rows, strict=True)
        ends = np.cumsum([len(p) for p in planes])
        return Parts(np.array(kind), np.stack(A), np.stack(c) + np.asarray(shift, np.float64),
                     np.array(radius), np.array(values), ends - [len(p) for p in planes], ends,
                     np.concatenate([*planes, _NONE]), np.array(label), np.array(shine))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest coordinates (3,) of all solids."""
        corners = np.concatenate(self.corners)
        return corners.min(0), corners.max(0)


_SIGNS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_NONE, _EYE = np.zeros((0, 4)), np.eye(3)
_SIDES = np.concatenate([np.eye(3, 4), -np.eye(3, 4)])


def turned(yaw: float) -> np.ndarray:
    """Return the (3, 3) rotation about z."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _about_y(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])


def moved(parts: Parts, R: np.ndarray, t: Vector) -> Parts:
    """Return solids carried by a rotation (3, 3) and a shift."""
    return parts._replace(A=parts.A @ R.T, c=parts.c @ R.T + np.asarray(t, np.float64))


def joined(many: Sequence[Parts]) -> Parts:
    """Return the solids of all, in their order."""
    starts = np.cumsum([0, *(len(p.planes) for p in many)])
    moved_rows = [p._replace(first=p.first + k, last=p.last + k)
                  for p, k in zip(many, starts[:-1], strict=True)]
    return Parts(*(np.concatenate(arrays) for arrays in zip(*moved_rows, strict=True)))


def enclosing(parts: Parts) -> tuple[np.ndarray, float]:
    """Return centre (3,) and radius of a sphere around all solids."""
    low = (parts.c - parts.radius[:, None]).min(0)
    high = (parts.c + parts.radius[:, None]).max(0)
    centre = (low + high) / 2
    away = parts.c - centre
    return centre, float((np.sqrt((away * away).sum(1)) + parts.radius).max())
