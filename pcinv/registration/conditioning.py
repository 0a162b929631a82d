"""Which motions a fit of surfaces leaves open: planes slide, cylinders turn, rooms hold.

Points that lie on their target's tangent planes tell nothing about a motion that moves each of
them within its plane. These motions are the null directions of the information matrix.

Arrays are float64. A small motion is a vector of six: rotation, then translation; it moves a point
p by rotation x p + translation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcinv.errors import InputError, ShapeError

SHAPES = {
    (0, 0): "room", (1, 0): "corridor", (2, 1): "plane", (1, 1): "cylinder",
    (0, 3): "sphere", (0, 1): "body of revolution", (3, 3): "no surface",
}
"""What leaves so many translations and rotations open."""
THRESHOLD = 0.01
"""Share of a fully determined direction below which one counts as open."""
_PURE = 0.2  # length of the rotation of a unit motion below which it is a translation
_PITCH = 0.2  # shift along the axis, in mean radii for each radian, from which it is a screw


@dataclass(frozen=True)
class OpenMotion:
    """One motion that the surfaces do not determine.

    kind : "translation", "rotation" or "screw".
    direction : (3,) unit vector: of the shift, or of the axis.
    centre : (3,) a point of the axis in the frame of the points; of a translation, their centroid.
    """

    kind: str
    direction: Float[np.ndarray, "3"]
    centre: Float[np.ndarray, "3"]

    def in_frame(self, origin: Float[np.ndarray, "3"], unit: float) -> OpenMotion:
        """Return the motion for points origin + unit * p."""
        return OpenMotion(self.kind, self.direction, origin + unit * self.centre)

    def __str__(self) -> str:
        direction = _numbers(self.direction)
        if self.kind == "translation":
            return f"translation along {direction}"
        return f"{self.kind} about the axis {direction} through {_numbers(self.centre)}"


@dataclass(frozen=True)
class Conditioning:
    """How firmly pairs of points and tangent planes hold each motion.

    eigenvalues : (6,) of the normalised information, ascending, between 0 and about 1.
    eigenvectors : (6, 6) motions as columns, (rotation times `radius` | translation) about
        `centroid`.
    open_motions : what is left open, translations first.
    shape : what this looks like: a key's value of `SHAPES`, or "unnamed".
    centroid : (3,).  radius : mean distance from it, the length that a turn is measured by.
    """

    eigenvalues: Float[np.ndarray, "6"]
    eigenvectors: Float[np.ndarray, "6 6"]
    open_motions: tuple[OpenMotion, ...]
    shape: str
    centroid: Float[np.ndarray, "3"]
    radius: float

    @property
    def degenerate(self) -> bool:
        """Whether any motion is left open."""
        return bool(self.open_motions)


def conditioning(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"],
    threshold: float = THRESHOLD,
) -> Conditioning:
    """Return which motions of points on surfaces are determined, and words for those that are not.

    points : (N, 3) points of the pairs, in the target's frame.
    normals : (N, 3) unit normals of the surface at the points; their signs are no matter.
    threshold : eigenvalues below it count as open.

    The information is A = mean(J^T J), J = [((p - c) x n) / radius, n], with centroid c: it does
    not depend on the unit of length, the number of pairs or the origin, and turns with the cloud.

    Raises ShapeError, InputError for other shapes, no pairs, or values that are not finite.
    Source: Gelfand et al., Geometrically stable sampling for the ICP algorithm, 3DIM 2003; Zhang
    et al., On degeneracy of optimization-based state estimation problems, ICRA 2016.

    >>> side = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0), [0.0]), -1).reshape(-1, 3)
    >>> flat = conditioning(side, np.tile([0.0, 0.0, 1.0], (81, 1)))
    >>> flat.shape, len(flat.open_motions)
    ('plane', 3)
    """
    p, n = _check(points, normals)
    centroid = p.mean(0)
    local = p - centroid
    radius = float(np.linalg.norm(local, axis=1).mean())
    local = local / (radius if radius > 0 else 1.0)
    jacobian = np.concatenate([np.cross(local, n), n], axis=1)
    eigenvalues, eigenvectors = np.linalg.eigh(jacobian.T @ jacobian / len(p))
    is_open = eigenvalues < threshold
    motions = _name(eigenvectors[:, is_open], centroid, radius)
    kinds = [motion.kind for motion in motions]
    counts = (kinds.count("translation"), kinds.count("rotation"))
    shape = SHAPES.get(counts, "unnamed") if "screw" not in kinds else "unnamed"
    return Conditioning(eigenvalues, eigenvectors, tuple(motions), shape, centroid, radius)


def move_information(
    information: Float[np.ndarray, "6 6"], origin: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "6 6"]:
    """Return the information about the same motions for the origin put at another point.

    information : (6, 6), rotation before translation, as `small_gicp` gives it (H).
    origin : (3,) the new origin in the old coordinates: p' = p - origin.

    A motion (w, v') about the new origin is (w, v' + origin x w) about the old one. The eigenvalues
    depend on the origin; about the view point they can be compared between clouds.
    """
    information, origin = np.asarray(information, np.float64), np.asarray(origin, np.float64)
    if information.shape != (6, 6) or origin.shape != (3,):
        raise ShapeError(f"expected (6, 6) and (3,), got {information.shape} and {origin.shape}",
                         where="information", hint="rotation before translation")
    x, y, z = origin
    change = np.eye(6)
    change[3:, :3] = [[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]
    return np.asarray(change.T @ information @ change)


def _name(
    null: Float[np.ndarray, "6 k"], centroid: Float[np.ndarray, "3"], radius: float
) -> list[OpenMotion]:
    """Split a space of motions (columns, radius 1) into translations, rotations and screws."""
    if not null.shape[1]:
        return []
    _, size, mix = np.linalg.svd(null[:3])
    size = np.append(size, np.zeros(null.shape[1] - len(size)))
    motions = null @ mix.T  # columns with orthogonal rotations, longest first
    pure = motions[:, size < _PURE]
    shifts = np.linalg.svd(pure[3:])[0][:, : pure.shape[1]].T
    found = [OpenMotion("translation", shift, centroid) for shift in shifts]
    turning = motions[:, size >= _PURE]
    if not turning.shape[1]:
        return found
    # what does not move, up to shifts that are open anyway: w x c + v = 0 for all of them
    free = np.eye(3) - shifts.T @ shifts
    rows = [free @ np.cross(w, np.eye(3)).T for w in turning[:3].T]
    centre = np.linalg.lstsq(np.concatenate(rows), -(free @ turning[3:]).T.ravel(), rcond=1e-6)[0]
    for w, v in zip(turning[:3].T, turning[3:].T, strict=True):
        length = float(np.linalg.norm(w))
        pitch = float(free @ v @ w) / length**2
        kind = "screw" if abs(pitch) > _PITCH else "rotation"
        found.append(OpenMotion(kind, w / length, centroid + radius * centre))
    return found


def _numbers(vector: Float[np.ndarray, "3"]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in np.round(vector, 6) + 0.0) + ")"


def _check(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Return both in float64, checked."""
    p, n = np.asarray(points, np.float64), np.asarray(normals, np.float64)
    if p.ndim != 2 or p.shape[1] != 3 or p.shape != n.shape:
        raise ShapeError(f"expected two times (N, 3), got {p.shape} and {n.shape}", where="points",
                         hint="one normal for each point")
    if not len(p):
        raise InputError("no pairs", where="points", hint="there is nothing to judge")
    if not (np.isfinite(p).all() and np.isfinite(n).all()):
        raise InputError("not all values are finite", where="points", hint="drop these pairs")
    return p, n
