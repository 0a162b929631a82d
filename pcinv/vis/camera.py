"""From where a scene is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pcinv.errors import UsageError
from pcinv.vis.scene import Scene

FIELD_OF_VIEW_DEG = 45.0
LOOKS = {"iso": (1.0, -1.3, 0.8), "front": (0.0, -1.0, 0.0), "back": (0.0, 1.0, 0.0),
         "left": (-1.0, 0.0, 0.0), "right": (1.0, 0.0, 0.0), "top": (0.0, -0.001, 1.0),
         "bottom": (0.0, -0.001, -1.0)}
"""Where the eye is, seen from the middle, with z up."""
UPS = ("z", "y", "x", "-z", "-y", "-x")
FILLED = 0.88
"""Share of the picture's height or width that the points take at most."""
MOST_FITTED = 200_000
_AHEAD, _SEEN = 0.95, 0.7
"""A cloud in the frame of its depth camera: nearly all of it is in front, z ahead and y down."""


@dataclass(frozen=True)
class Camera:
    """eye, target, up : (3,) in the scene's coordinates.  near, far : depths that are drawn."""

    eye: Float[np.ndarray, "3"]
    target: Float[np.ndarray, "3"]
    up: Float[np.ndarray, "3"]
    near: float
    far: float

    def axes(self) -> Float[np.ndarray, "3 3"]:
        """Return the directions to the right, up and backwards as rows."""
        back = _unit(self.eye - self.target)
        right = np.cross(self.up, back)
        if np.linalg.norm(right) < 1e-6:
            right = np.cross(np.roll(self.up, 1), back)
        right = _unit(right)
        return np.stack([right, np.cross(back, right), back])

    def focal(self, height: int) -> float:
        """Return the focal length of a picture so high, in pixels."""
        return float(0.5 * height / np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2))

    def project(self, points: Float[np.ndarray, "n 3"], width: int, height: int
                ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
        """Return places (N, 2) in the picture, right and down, and depths (N,) in front."""
        seen = (points - self.eye) @ self.axes().T
        depth = -seen[:, 2]
        focal = self.focal(height)
        safe = np.where(depth > self.near, depth, np.inf)
        return np.stack([width / 2 + focal * seen[:, 0] / safe,
                         height / 2 - focal * seen[:, 1] / safe], axis=1), depth


def camera_for(scene: Scene, look: str | tuple[float, ...] = "iso", up: str = "auto",
               turn_deg: float = 0.0, aspect: float = 4 / 3,
               distance: float | None = None) -> Camera:
    """Return a camera that sees all that is visible.

    look : a name of `LOOKS`, or a direction from the middle to the eye.
    up : an axis, such as "-y"; "auto": see `up_of`.
    turn_deg : about the upward axis, for turntables.
    aspect : width by height of the picture.
    distance : of the eye from the middle; None: as near as all points allow.

    Raises UsageError for other names.
    """
    told, up = up, up_of(scene if up == "auto" else replace(scene, up=up))
    if told == scene.up == "auto" and up == "-y" and look == "iso":
        look = (0.35, -0.35, -1.0)  # from about where the depth camera was
    upward = np.zeros(3)
    upward["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    if isinstance(look, str):
        if look not in LOOKS:
            raise UsageError(f"no view '{look}'", where="look", hint=", ".join(LOOKS))
        direction = _to_up(upward) @ np.asarray(LOOKS[look])
    else:
        direction = np.asarray(look, np.float64)
    if direction.shape != (3,) or not np.isfinite(direction).all() or not direction.any():
        raise UsageError(f"{look} is no direction", where="look", hint="three numbers: 1,-1,0.5")
    direction = _about(upward, np.radians(turn_deg)) @ _unit(direction)
    low, high = scene.bounds()
    middle, radius = (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-9)
    near = Camera(middle + direction, middle, upward, 0.0, 0.0)
    if distance is None:
        distance = _fitting(scene, near, aspect, radius)
    return Camera(middle + distance * direction, middle, upward,
                  max(distance - 2 * radius, 0.01 * radius), distance + 2 * radius)


def up_of(scene: Scene) -> str:
    """Return the axis that points up: as the scene tells, or -y for what a depth camera sees.

    A depth camera has z ahead and y down; of anything else z is taken to point up.

    Raises UsageError for what is no axis.
    """
    if scene.up == "auto":
        return "-y" if is_camera_frame(scene) else "z"
    if scene.up not in UPS:
        raise UsageError(f"'{scene.up}' is no axis", where="up", hint=", ".join(UPS))
    return scene.up


def _fitting(scene: Scene, camera: Camera, aspect: float, radius: float) -> float:
    """Return how far the eye has to be for all points to lie within the picture."""
    seen = [layer.points for layer in scene.layers if layer.visible and len(layer.points)]
    if not seen:
        return 3 * radius
    points = np.concatenate([each[:: max(1, len(each) // MOST_FITTED)] for each in seen])
    right, up, back = ((points - camera.target) @ camera.axes().T).T
    half = np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2) * FILLED
    needed = np.maximum(np.abs(right) / (half * aspect), np.abs(up) / half) + back
    return float(max(needed.max(), radius))


def is_camera_frame(scene: Scene) -> bool:
    """Return whether the points lie in front of a depth camera at the files' own origin."""
    points = [layer.points for layer in scene.layers if len(layer.points)]
    if not points:
        return False
    seen = np.concatenate([p[:: max(1, len(p) // 2000)] for p in points]) + scene.origin
    distance = np.linalg.norm(seen, axis=1)
    ahead = seen[:, 2] > 0
    inside = distance > 0
    return bool(ahead.mean() > _AHEAD and inside.all()
                and np.median(seen[:, 2] / distance) > _SEEN
                and seen[:, 2].min() > 0.05 * np.median(distance))


def _to_up(up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Return the rotation that takes z to the upward axis."""
    axis = int(np.flatnonzero(up)[0])
    if axis == 2:
        return np.diag([1.0, up[2], up[2]])
    first = np.zeros(3)
    first[(axis + 1) % 3] = 1.0
    return np.stack([first, np.cross(up, first), up], axis=1)


def _about(axis: Float[np.ndarray, "3"], angle: float) -> Float[np.ndarray, "3 3"]:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _unit(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    return np.asarray(vector / np.linalg.norm(vector))
