"""How symmetric a shape is, measured on its points: which turns lay it onto itself.

Measured and not declared by the builders, because their proportions are drawn: a seat may be square
by chance, and a pipe bend may have two equal ends. What counts is what a scan could tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pcinv.metrics.symmetry import Body, Symmetry, about, body_rotation_error_deg

Points = NDArray[np.float64]

SAME = 0.01
"""Distance from the surface that a turned point may have, as a share of the diagonal."""
MOST_POINTS = 0.99
"""Share of the points that must be as close: a smaller feature than the rest tells nothing."""
MOST_ORDER = 24
ODD_ANGLES = 2 * math.pi * 0.381966 * np.arange(1, 7)
"""In radians, of which none is near a multiple of a small part of a turn."""
SHARED_POINTS = 0.97
"""As `MOST_POINTS`, for the part that two views share, whose rim is noisy."""
ELSEWHERE = np.radians(np.arange(30, 360, 30))
SLIDE = 0.1
"""Share of the diagonal that a shared part is moved by, to see whether it would still fit."""
WORTH_SETTLING = 0.04
"""Distance from the surface, as a share of the diagonal, that half of a turned part must keep."""
_SAMPLE, _SHARED_SAMPLE = 1500, 150
_STEP = math.radians(0.5)


class Shape:
    """Points on the whole surface of a body, and what is measured on them.

    points : (N, 3), so dense that neighbours are closer than `SAME` of the diagonal; in any order
        that is not by place.
    """

    def __init__(self, points: Points) -> None:
        from scipy.spatial import cKDTree

        self.tree = cKDTree(points)
        self.centre = points.mean(0)
        self.diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
        self.sample = points[:_SAMPLE] - self.centre
        middle = points - self.centre
        self.principal = np.linalg.eigh(middle.T @ middle)[1].T
        self.symmetry = self._find_symmetry()

    def misfit(self, points: Points, share: float = MOST_POINTS) -> float:
        """Return the distance from the surface that a share of points (M, 3) keep, by diagonal."""
        return float(np.quantile(self.tree.query(points)[0], share)) / self.diagonal

    def fits(self, R: Points) -> bool:
        """Tell whether the shape turned about its centre lies on itself."""
        few = self.sample[::8] @ R.T + self.centre  # most turns do not fit by far
        return (self.misfit(few, 0.95) <= SAME
                and self.misfit(self.sample @ R.T + self.centre) <= SAME)

    def hides(self, shared: Points) -> bool:
        """Tell whether a part (M, 3) of the surface would fit elsewhere on the whole as well.

        Elsewhere: turned by more than 10 degrees, but for the symmetry of the whole, or with its
        centre shifted by more than 5 % of the diagonal, as the rule of the benchmark has it. Found
        by iterated closest points from turns about likely axes, through the middle of the body and
        that of the part, and from slides along them.
        """
        some = shared[:: -(-len(shared) // _SHARED_SAMPLE)]
        starts = [(about(axis, angle), middle, np.zeros(3)) for axis in self.axes()
                  for angle in ELSEWHERE for middle in (self.centre, some.mean(0))]
        starts += [(np.eye(3), self.centre, sign * SLIDE * self.diagonal * axis)
                   for axis in self.axes() for sign in (-1, 1)]
        for R, middle, slide in starts:
            moved = (some - middle) @ R.T + middle + slide
            if self.misfit(moved, 0.5) > WORTH_SETTLING:
                continue
            moved = self._settled(moved)
            if self.misfit(moved, SHARED_POINTS) <= SAME and self._elsewhere(some, moved):
                return True
        return False

    def _settled(self, points: Points) -> Points:
        """Return points (M, 3) after some steps of iterated closest points to the surface."""
        for _ in range(10):
            away, row = self.tree.query(points)
            near = away <= np.quantile(away, 0.95)
            R, t = _best_motion(points[near], self.tree.data[row[near]])
            points = points @ R.T + t
        return points

    def _elsewhere(self, points: Points, moved: Points) -> bool:
        """Tell whether a motion, told by what it did to points, is no right pose of the body."""
        R, t = _best_motion(points, moved)
        shift = np.linalg.norm(R @ self.centre + t - self.centre) / self.diagonal
        return bool(shift > 0.05 or body_rotation_error_deg(R, np.eye(3), self.symmetry) > 10)

    def body(self, T: Points, hidden: bool = False) -> Body:
        """Return the body after a motion (4, 4)."""
        x, y, z = (T[:3, :3] @ self.centre + T[:3, 3]).tolist()
        return Body((x, y, z), self.diagonal, self.symmetry.turned(T[:3, :3]), hidden)

    def axes(self) -> Iterator[Points]:
        """Yield unit vectors: those of the builder's frame, then the principal axes.

        An axis of symmetry is a principal axis; those of the frame are exact where two principal
        moments are alike, so that the axes of a sample are not.
        """
        yield from np.eye(3)[::-1]
        for axis in self.principal:
            if np.abs(axis).max() < math.cos(math.radians(2)):
                yield axis

    def _find_symmetry(self) -> Symmetry:
        best, order = None, 1
        for axis in self.axes():
            found = self._order(axis)
            if found == 0 and order == 0 and best is not None and abs(best @ axis) < 0.9:
                return Symmetry(0, ball=True)
            if order != 0 and (found == 0 or found > order):
                best, order = axis, found
        if best is None:
            return Symmetry()
        x, y, z = best.tolist()
        flip = self._flip(best, order)
        if flip is None:
            return Symmetry(order, (x, y, z))
        u, v, w = flip.tolist()
        return Symmetry(order, (x, y, z), (u, v, w))

    def _order(self, axis: Points) -> int:
        """Return how many turns about an axis fit, 0 for any."""
        if all(self.fits(about(axis, angle)) for angle in ODD_ANGLES):
            return 0
        # all multiples: what is nearly round fits after a small turn too
        return next((n for n in range(MOST_ORDER, 1, -1)
                     if all(self.fits(about(axis, 2 * math.pi * k / n))
                            for k in range(1, n // 2 + 1))), 1)

    def _flip(self, axis: Points, order: int) -> Points | None:
        """Return an axis across the main one about which a half turn fits, if there is one."""
        side = np.eye(3)[np.abs(axis).argmin()]
        side = side - axis * (side @ axis)
        side /= np.linalg.norm(side)
        across = np.cross(axis, side)
        # flips of an n-fold body lie 180 / n degrees apart
        angles = np.arange(0, math.pi / order, _STEP) if order else np.zeros(1)
        candidates = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * across
        few = self.sample[::8]
        misfits = [self.misfit(few @ about(flip, math.pi).T + self.centre) for flip in candidates]
        best: Points = candidates[int(np.argmin(misfits))]
        return best if self.fits(about(best, math.pi)) else None


def _best_motion(source: Points, target: Points) -> tuple[Points, Points]:
    """Return R (3, 3), t (3,) that take points (M, 3) closest to others, row by row (Kabsch)."""
    p, q = source.mean(0), target.mean(0)
    U, _, Vt = np.linalg.svd((target - q).T @ (source - p))
    R = U @ np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    return R, q - R @ p
