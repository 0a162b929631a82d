"""How far an estimated trajectory is from the true one.

Sources: relative errors, Geiger, Lenz, Urtasun, CVPR 2012 (KITTI odometry, its development kit);
absolute error, Sturm et al., IROS 2012, after the alignment of Umeyama, PAMI 1991, without scale.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcinv.errors import ShapeError
from pcinv.metrics.pose_errors import rotation_error_deg

LENGTHS = tuple(range(100, 801, 100))
"""Metres of path over which KITTI measures drift."""
STEP = 10
"""Scans between two places that a segment may begin at."""


@dataclass(frozen=True)
class Drift:
    """KITTI's error over segments of 100 to 800 m.

    t_rel_percent, r_rel_deg_per_100m : means over all segments; None where the path is too short
        for one.  num_segments : how many there are.
    by_length : metres -> (t_rel_percent, r_rel_deg_per_100m, segments).
    """

    t_rel_percent: float | None
    r_rel_deg_per_100m: float | None
    num_segments: int
    by_length: dict[int, tuple[float, float, int]]


def drift(
    estimated: Float[np.ndarray, "m 4 4"], truth: Float[np.ndarray, "m 4 4"],
    lengths: tuple[int, ...] = LENGTHS,
) -> Drift:
    """Return the relative errors of a trajectory as the development kit of KITTI counts them.

    Both in the same frame, as the kit has them of the left camera; metres.

    >>> straight = np.eye(4)[None].repeat(300, 0)
    >>> straight[:, 0, 3] = np.arange(300.0)
    >>> longer = straight.copy()
    >>> longer[:, 0, 3] *= 1.01
    >>> round(drift(longer, straight).t_rel_percent, 1)
    1.0

    Raises ShapeError unless both are of as many poses.
    """
    _check(estimated, truth)
    path = path_lengths(truth)
    found: dict[int, list[tuple[float, float]]] = {length: [] for length in lengths}
    for first in range(0, len(truth), STEP):
        for length in lengths:
            last = int(np.searchsorted(path, path[first] + length, side="right"))
            if last >= len(truth):
                break
            error = np.linalg.inv(_between(estimated, first, last)) @ _between(truth, first, last)
            angle_deg = rotation_error_deg(error, np.eye(4))
            found[length].append((float(np.linalg.norm(error[:3, 3])) / length * 100,
                                  angle_deg / length * 100))
    rows = np.array([row for each in found.values() for row in each]).reshape(-1, 2)
    by_length = {length: (*np.mean(each, axis=0).tolist(), len(each))
                 for length, each in found.items() if each}
    if len(rows) == 0:
        return Drift(None, None, 0, {})
    mean = rows.mean(0)
    return Drift(float(mean[0]), float(mean[1]), len(rows), by_length)


def path_lengths(poses: Float[np.ndarray, "m 4 4"]) -> Float[np.ndarray, "m"]:
    """Return the metres that were travelled up to each pose."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def step_errors(
    estimated: Float[np.ndarray, "m 4 4"], truth: Float[np.ndarray, "m 4 4"]
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Return the error of each step from one scan to the next: metres and degrees, (M - 1,) each.

    Raises ShapeError unless both are of as many poses.
    """
    _check(estimated, truth)
    errors = [np.linalg.inv(_between(truth, k, k + 1)) @ _between(estimated, k, k + 1)
              for k in range(len(truth) - 1)]
    return (np.array([np.linalg.norm(error[:3, 3]) for error in errors]),
            np.array([rotation_error_deg(error, np.eye(4)) for error in errors]))


def absolute_error(
    estimated: Float[np.ndarray, "m 4 4"], truth: Float[np.ndarray, "m 4 4"]
) -> tuple[float, float]:
    """Return the root mean square of what is left when one trajectory is laid over the other.

    Metres, after the best rigid motion of the places (no scale), and degrees after the same motion.

    Raises ShapeError unless both are of as many poses.
    """
    _check(estimated, truth)
    places, targets = estimated[:, :3, 3], truth[:, :3, 3]
    middle, aim = places.mean(0), targets.mean(0)
    u, _, vt = np.linalg.svd((targets - aim).T @ (places - middle))
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ handed @ vt
    if len(places) < 3 or np.linalg.matrix_rank(places - middle, 1e-6) < 2:
        # places on a line leave a turn about it open: the first pose decides
        turn = truth[0, :3, :3] @ estimated[0, :3, :3].T
    left = (places - middle) @ turn.T + aim - targets
    motion = np.eye(4)
    motion[:3, :3] = turn
    angles_deg = [rotation_error_deg(motion @ a, b) for a, b in zip(estimated, truth, strict=True)]
    return (float(np.sqrt((left**2).sum(1).mean())),
            float(np.sqrt(np.mean(np.square(angles_deg)))))


def _between(poses: Float[np.ndarray, "m 4 4"], first: int, last: int) -> Float[np.ndarray, "4 4"]:
    """Return T_first_last."""
    found: np.ndarray = np.linalg.inv(poses[first]) @ poses[last]
    return found


def _check(estimated: np.ndarray, truth: np.ndarray) -> None:
    for name, poses in (("estimated", estimated), ("truth", truth)):
        if poses.ndim != 3 or poses.shape[1:] != (4, 4):
            raise ShapeError(f"expected shape (M, 4, 4), got {poses.shape}", where=name,
                             hint="a 4x4 matrix for each scan")
    if len(estimated) != len(truth):
        raise ShapeError(f"{len(estimated)} poses, {len(truth)} true ones", where="estimated",
                         hint="give both for the same scans")
