"""A stand-in for `pcinv.register`, for clouds whose rows belong together."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pcinv.registration.result import RegistrationResult


def best_motion(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the (4, 4) motion that takes row k of the source to row k of the target (Kabsch)."""
    p, q = source.mean(axis=0), target.mean(axis=0)
    U, _, Vt = np.linalg.svd((target - q).T @ (source - p))
    T = np.eye(4)
    T[:3, :3] = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    T[:3, 3] = q - T[:3, :3] @ p
    return T


def answer(T: np.ndarray, verdict: str = "trusted", score: float = 50.0) -> RegistrationResult:
    """Return a result with this pose and verdict."""
    return RegistrationResult(
        transform=T, verdict=verdict, reasons=(), overlap=0.5, overlap_target=0.5,
        inlier_rmse=float("nan"), num_correspondences=90, num_inliers=40, score=score,
        runner_up=0.0, contradiction=0.0, condition=(1.0,) * 6, open_motions=(), alternatives=(),
        method="auto", features="fpfh", view_points="the origin", spacing=(0.1, 0.1), voxel=0.2,
        time_ms={"search": 1.0})


class FakeRegister:
    """Finds the true motion, unless the clouds are not of one world: then something else.

    calls : (source, target, options) of each call.
    change : takes the result and the number of the call, and returns what is told instead.
    """

    def __init__(self, change: Callable[[RegistrationResult, int], Any] | None = None) -> None:
        self.calls: list[tuple[np.ndarray, np.ndarray, dict[str, Any]]] = []
        self.change = change

    def __call__(self, source: np.ndarray, target: np.ndarray, **options: Any) -> Any:
        self.calls.append((source, target, options))
        found = answer(best_motion(source, target))
        return self.change(found, len(self.calls)) if self.change else found
