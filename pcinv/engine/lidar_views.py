"""Views of a scan: flipped, scaled, turned about z, shifted, in this order.

The turn comes last but for the shift: a mirrored street is a street, so the angle of a view can be
told, and is the one it was turned by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pcinv.types import Boxes

SCALES = (0.95, 1.05)
SHIFT = 0.2
"""Metres along each axis."""
TURN = math.pi / 2
"""Largest angle of a view to either side."""


@dataclass(frozen=True)
class View:
    """p -> scale * R_z(yaw) * flip(p) + shift. flip : y changes its sign."""

    yaw: float = 0.0
    flip: bool = False
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def linear(self) -> Float[np.ndarray, "3 3"]:
        """(3, 3) what happens to vectors, such as flow."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        found: np.ndarray = self.scale * turn @ np.diag([1.0, -1.0 if self.flip else 1.0, 1.0])
        return found

    def points(self, xyz: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return points of the view, in the type that came in."""
        moved: np.ndarray = xyz.astype(np.float64) @ self.linear.T + np.array(self.shift)
        return moved.astype(xyz.dtype)

    def vectors(self, flow: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return vectors between points of the view: a shift leaves them as they are."""
        moved: np.ndarray = flow.astype(np.float64) @ self.linear.T
        return moved.astype(flow.dtype)

    def boxes(self, boxes: Boxes) -> Boxes:
        """Return boxes of the view; the heading of a mirrored thing turns the other way."""
        velocity = None
        if boxes.velocity is not None:
            velocity = boxes.velocity @ self.linear[:2, :2].T
        return replace(
            boxes, centre=boxes.centre @ self.linear.T + np.array(self.shift),
            size=boxes.size * self.scale,
            yaw=(-boxes.yaw if self.flip else boxes.yaw) + self.yaw, velocity=velocity)


def draw_view(rng: np.random.Generator, yaw: float) -> View:
    """Draw what is told by contrast: flip, scale and shift; the turn is given."""
    return View(yaw=yaw, flip=bool(rng.random() < 0.5), scale=float(rng.uniform(*SCALES)),
                shift=tuple(rng.uniform(-SHIFT, SHIFT, 3).tolist()))


def draw_yaw(rng: np.random.Generator, most: float = TURN) -> float:
    """Draw an angle, evenly between -most and most."""
    return float(rng.uniform(-most, most))
