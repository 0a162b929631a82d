"""The answer of a registration: a pose, what speaks for and against it, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

Verdict = Literal["trusted", "suspect", "failed"]


@dataclass(frozen=True)
class Stage:
    """What one stage did, in words, and its time; stages are repeated for each view point tried."""

    name: str
    words: str
    time_ms: float = 0.0


@dataclass(frozen=True)
class Matches:
    """Points that were taken for the same place.

    source, target : (K, 3) each in the frame of its own cloud.  agree : (K,) with the pose.
    """

    source: Float[np.ndarray, "k 3"]
    target: Float[np.ndarray, "k 3"]
    agree: Bool[np.ndarray, " k"]


@dataclass(frozen=True)
class RegistrationResult:
    """A pose with its evidence. Lengths are in the target's units.

    transform : (4, 4) T_target_source: a source point p goes to R p + t (scale * R, if estimated).
    verdict : "trusted", "suspect" or "failed".  reasons : why it is not trusted; notes otherwise.
    overlap, overlap_target : share of the source near the target, and of the target near the
        source, within two voxels.
    inlier_rmse : root mean square distance of the source points that overlap.
    num_correspondences, num_inliers : feature matches, and those that agree with the pose.
    score, runner_up : of the pose, and how well the best other one fits as a share of it.
    contradiction : share of points that would have hidden what the other camera saw.
    condition : (6,) how firmly the surfaces hold each motion, from the loosest, 0 to about 1.
    open_motions : motions that the surfaces leave open, in words.
    alternatives : other poses that fit almost as well, best first.
    features : the kind that the answer was found with.
    view_points : which view points were used, in words.
    matches : what the pose was found from, in the frames of the two clouds; not in the JSON.
    spacing : median distances between neighbouring points, (source, target).  voxel : working size.
    """

    transform: Float[np.ndarray, "4 4"]
    verdict: Verdict
    reasons: tuple[str, ...]
    overlap: float
    overlap_target: float
    inlier_rmse: float
    num_correspondences: int
    num_inliers: int
    score: float
    runner_up: float
    contradiction: float
    condition: tuple[float, ...]
    open_motions: tuple[str, ...]
    alternatives: tuple[Float[np.ndarray, "4 4"], ...]
    method: str
    features: str
    view_points: str
    spacing: tuple[float, float]
    voxel: float
    scale: float = 1.0
    time_ms: dict[str, float] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    matches: Matches | None = field(default=None, repr=False)

    @property
    def rotation_angle_deg(self) -> float:
        """Angle of the rotation, in degrees."""
        r = self.transform[:3, :3] / self.scale
        axis = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
        return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(r) - 1)))

    @property
    def translation_norm(self) -> float:
        """Length of the translation."""
        return float(np.linalg.norm(self.transform[:3, 3]))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        return {
            "transform": self.transform.tolist(), "verdict": self.verdict,
            "reasons": list(self.reasons), "overlap": self.overlap,
            "overlap_target": self.overlap_target, "fitness": self.overlap,
            "inlier_rmse": self.inlier_rmse, "num_correspondences": self.num_correspondences,
            "num_inliers": self.num_inliers, "score": self.score, "runner_up": self.runner_up,
            "contradiction": self.contradiction, "condition": list(self.condition),
            "open_motions": list(self.open_motions),
            "alternatives": [pose.tolist() for pose in self.alternatives],
            "rotation_angle_deg": self.rotation_angle_deg,
            "translation_norm": self.translation_norm, "scale": self.scale,
            "method": self.method, "features": self.features, "view_points": self.view_points,
            "spacing": list(self.spacing), "voxel": self.voxel, "time_ms": self.time_ms,
        }
