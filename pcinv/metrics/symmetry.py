"""Poses of bodies that look the same after a turn: when one of them is right.

The errors of a body do not depend on the choice of frames: the translation is compared where its
centre comes to lie, and the rotation up to the turns that leave it as it is. Lengths are in the
units of the clouds. Source: Hodan et al., BOP: Benchmark for 6D Object Pose Estimation, ECCV 2018,
which takes the least error over the symmetries of a body too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.errors import InputError

Axis = tuple[float, float, float]


@dataclass(frozen=True)
class Symmetry:
    """The turns about one point that leave a body as it is.

    order : such turns about `axis` by 360 / order degrees and its multiples; 0 for any angle.
    axis : unit vector.  flip : unit vector across `axis`, about which a half turn is one too.
    ball : any turn at all.
    """

    order: int = 1
    axis: Axis = (0.0, 0.0, 1.0)
    flip: Axis | None = None
    ball: bool = False

    def __bool__(self) -> bool:
        return self.ball or self.order != 1 or self.flip is not None

    def turned(self, R: Float[np.ndarray, "3 3"]) -> "Symmetry":
        """Return the symmetry of the body after a rotation."""
        flip = None if self.flip is None else _axis(R @ np.array(self.flip))
        return Symmetry(self.order, _axis(R @ np.array(self.axis)), flip, self.ball)


@dataclass(frozen=True)
class Body:
    """What the pose of a body is judged by, in the frame of the source.

    centre : (3,) on all axes of symmetry.  diagonal : of the box around the whole body.
    hidden : the part that both clouds show would fit elsewhere on the body as well, although the
        whole body would not.
    """

    centre: Axis
    diagonal: float
    symmetry: Symmetry = Symmetry()
    hidden: bool = False

    @property
    def kind(self) -> str:
        """"symmetric", "hidden" or "plain"; in the first two, shapes alone leave the pose open."""
        return "symmetric" if self.symmetry else "hidden" if self.hidden else "plain"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        s = self.symmetry
        return {"centre": list(self.centre), "diagonal": self.diagonal, "hidden": self.hidden,
                "symmetric": bool(s), "order": s.order, "axis": list(s.axis),
                "flip": None if s.flip is None else list(s.flip), "ball": s.ball}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Body":
        """Return the body of `to_dict`. Raises InputError for other values."""
        try:
            flip = None if values["flip"] is None else _axis(values["flip"])
            symmetry = Symmetry(int(values["order"]), _axis(values["axis"]), flip,
                                bool(values["ball"]))
            body = cls(_axis(values["centre"]), float(values["diagonal"]), symmetry,
                       bool(values["hidden"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this does not describe a body: {error!r}", where="body",
                             hint="use what Body.to_dict returns") from error
        if not 0 < body.diagonal < np.inf or symmetry.order < 0:
            raise InputError(f"a body of diagonal {body.diagonal}, order {symmetry.order}",
                             where="body", hint="use what Body.to_dict returns")
        return body


def symmetry_turns(symmetry: Symmetry, steps: int = 12) -> list[Float[np.ndarray, "3 3"]]:
    """Return rotations (3, 3) of a symmetry: all of them, or `steps` where any angle will do.

    Of a ball, `steps` about each coordinate axis.
    """
    if symmetry.ball:
        return [about(axis, 2 * np.pi * k / steps) for axis in np.eye(3) for k in range(steps)]
    count = symmetry.order or steps
    turns = [about(symmetry.axis, 2 * np.pi * k / count) for k in range(count)]
    if symmetry.flip is not None:
        turns += [turn @ about(symmetry.flip, np.pi) for turn in turns]
    return turns


def body_rotation_error_deg(
    R: Float[np.ndarray, "3 3"], R_true: Float[np.ndarray, "3 3"], symmetry: Symmetry
) -> float:
    """Return the least angle between R and R_true S over the turns S of the source, in degrees.

    >>> round(body_rotation_error_deg(about((0, 0, 1), 1.6), np.eye(3), Symmetry(order=4)), 2)
    1.67
    """
    if symmetry.ball:
        return 0.0
    D = R_true.T @ R
    if symmetry.order:
        return min(_angle_deg(S.T @ D) for S in symmetry_turns(symmetry))
    axis = np.array(symmetry.axis)
    moved = D @ axis
    sine, cosine = float(np.linalg.norm(np.cross(axis, moved))), float(axis @ moved)
    return float(np.degrees(np.arctan2(sine, abs(cosine) if symmetry.flip else cosine)))


def centre_shift(
    T: Float[np.ndarray, "4 4"], T_true: Float[np.ndarray, "4 4"], body: Body
) -> float:
    """Return how far the centre of a body is from its true place, as a share of its diagonal."""
    difference = T - T_true
    shift = difference[:3, :3] @ np.array(body.centre) + difference[:3, 3]
    return float(np.linalg.norm(shift) / body.diagonal)


def about(axis: Axis | np.ndarray, angle: float) -> Float[np.ndarray, "3 3"]:
    """Return the rotation by an angle (radians) about a unit vector."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _angle_deg(D: np.ndarray) -> float:
    sine = np.linalg.norm([D[2, 1] - D[1, 2], D[0, 2] - D[2, 0], D[1, 0] - D[0, 1]])
    return float(np.degrees(np.arctan2(sine, np.trace(D) - 1)))


def _axis(values: Any) -> Axis:
    x, y, z = (float(value) for value in values)
    if not np.isfinite([x, y, z]).all():
        raise ValueError(f"{values} is not finite")
    return x, y, z
