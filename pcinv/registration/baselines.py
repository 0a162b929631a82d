"""Published estimators to compare with: RANSAC and FGR of Open3D, and KISS-Matcher.

They see what our search sees: prepared clouds, whose voxel is `VOXEL`, and their matches. Open3D
draws from one generator for the whole process, and its threads stop each other at no fixed moment,
so its calls are seeded and run on one thread: the same clouds give the same pose to the last bit.
KISS-Matcher draws nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from pcinv.errors import DependencyError, unknown_name
from pcinv.io.open3d import import_open3d
from pcinv.registration.prepare import VOXEL, Prepared
from pcinv.registration.search import Matched, agreeing

SAMPLE = 3
"""Matches that fix a pose; one that fewer agree with is no finding."""
SEED = 0
RANSAC_ITERATIONS, RANSAC_CONFIDENCE, EDGE_LENGTH = 50_000, 0.999, 0.9
FGR_DISTANCE, FGR_ITERATIONS, FGR_DIVISION = 0.5 * VOXEL, 64, 1.4
TUPLE_SCALE, TUPLES = 0.95, 1000
"""Open3D's own settings, which it applies to clouds shrunk to a radius of 1, this distance too."""
KISS_REACH, KISS_CLOSE, KISS_LEAST = 1.45, 4, 10
"""KISS-Matcher ends the process where no point of a cloud has a normal. For one it wants three
points within three voxels; if four lie within half of that of one of them, each of the four has
one. So many such points are asked for."""
_OPEN3D = threading.Lock()  # its seed, number of threads and log level are the process's


def baseline_poses(
    method: str, source: Prepared, target: Prepared, matches: Sequence[Matched]
) -> list[Float[np.ndarray, "4 4"]]:
    """Return the pose a published method finds between prepared clouds, or nothing.

    method : a name of `BASELINES`.
    source, target : clouds, lengths in units of the prepared clouds: their voxel is `VOXEL`.
    matches : matched points of each support, each (K, 3); "kiss" finds its own.

    Returns T_target_source (4, 4), best first: one, or none where fewer than three matches agree
    with what is found. The pose is neither refined nor judged.

    Raises UnknownNameError for another name, DependencyError where its package is not installed.
    Source: Fischler and Bolles, 1981 ("ransac"); Zhou et al., Fast Global Registration, ECCV 2016
    ("fgr"); Lim et al., KISS-Matcher, ICRA 2025 ("kiss").

    >>> import numpy as np
    >>> from pcinv.registration.prepare import prepare
    >>> from pcinv.registration.search import Matched
    >>> points = np.random.default_rng(0).normal(size=(500, 3))
    >>> cloud = prepare(points, 0.1)
    >>> x = cloud.points[:100]
    >>> baseline_poses("ransac", cloud, cloud, [Matched(x, x + [1.0, 0, 0])])[0].round(6)[:3, 3]
    array([1., 0., 0.])
    """
    if method not in BASELINES:
        raise unknown_name("method", method, BASELINES)
    pose = _METHODS[method](source, target, matches)
    return [] if pose is None else [pose]


def _ransac(
    source: Prepared, target: Prepared, matches: Sequence[Matched]
) -> Float[np.ndarray, "4 4"] | None:
    """Return the pose of three matches that most others are within a voxel of."""
    union = _union(matches)
    with _open3d() as o3d:
        if len(union.x) < SAMPLE:
            return None
        reg = o3d.pipelines.registration
        found = reg.registration_ransac_based_on_correspondence(
            *_paired(o3d, union), VOXEL, reg.TransformationEstimationPointToPoint(False), SAMPLE,
            [reg.CorrespondenceCheckerBasedOnEdgeLength(EDGE_LENGTH),
             reg.CorrespondenceCheckerBasedOnDistance(VOXEL)],
            reg.RANSACConvergenceCriteria(RANSAC_ITERATIONS, RANSAC_CONFIDENCE))
        return _pose(found.transformation, len(found.correspondence_set))


def _fgr(
    source: Prepared, target: Prepared, matches: Sequence[Matched]
) -> Float[np.ndarray, "4 4"] | None:
    """Return the pose of least Geman-McClure cost, whose width shrinks from round to round."""
    union = _union(matches)
    with _open3d() as o3d:
        if len(union.x) < SAMPLE:
            return None
        reg = o3d.pipelines.registration
        found = reg.registration_fgr_based_on_correspondence(
            *_paired(o3d, union), reg.FastGlobalRegistrationOption(
                division_factor=FGR_DIVISION, use_absolute_scale=False, decrease_mu=True,
                maximum_correspondence_distance=FGR_DISTANCE, iteration_number=FGR_ITERATIONS,
                tuple_scale=TUPLE_SCALE, maximum_tuple_count=TUPLES, tuple_test=True))
        # too few consistent triples, and it returns the shift of the centroids
        return _pose(found.transformation, agreeing(found.transformation, [union])[0])


def _kiss(
    source: Prepared, target: Prepared, matches: Sequence[Matched]
) -> Float[np.ndarray, "4 4"] | None:
    """Return the pose of KISS-Matcher: its own features, k-core of consistent matches, GNC."""
    kiss = _import("kiss_matcher", "kiss", "pip install 'pcinv[kiss]', or another method")
    if not (_has_normals(source.points) and _has_normals(target.points)):
        return None
    # thinned already: its own voxels would only move points and leave fewer
    matcher = kiss.KISSMatcher(kiss.KISSMatcherConfig(VOXEL, use_voxel_sampling=False))
    # it turns normals to the origin, which has to be where the camera was
    views = [np.zeros(3) if c.view_point is None else c.view_point for c in (source, target)]
    found = matcher.estimate(*(list((cloud.points - view).astype(np.float32))
                               for cloud, view in zip((source, target), views, strict=True)))
    pose = np.eye(4)
    pose[:3, :3] = found.rotation
    pose[:3, 3] = np.ravel(found.translation) + views[1] - pose[:3, :3] @ views[0]
    return _pose(pose, matcher.get_num_final_inliers() if found.valid else 0)


_METHODS: dict[str, Callable[..., Float[np.ndarray, "4 4"] | None]] = {
    "ransac": _ransac, "fgr": _fgr, "kiss": _kiss}
BASELINES = tuple(_METHODS)


def _union(matches: Sequence[Matched]) -> Matched:
    """Return the matches of all supports, each of them once."""
    rows = np.concatenate([np.zeros((0, 6)), *(np.hstack(matched) for matched in matches)])
    rows = np.unique(rows, axis=0)
    return Matched(rows[:, :3], rows[:, 3:])


def _paired(o3d: Any, matched: Matched) -> tuple[Any, Any, Any]:
    """Return clouds of Open3D and pairs of their rows."""
    clouds = [o3d.geometry.PointCloud(o3d.utility.Vector3dVector(rows)) for rows in matched]
    rows = np.arange(len(matched.x), dtype=np.int32)
    return clouds[0], clouds[1], o3d.utility.Vector2iVector(np.column_stack([rows, rows]))


def _pose(found: Any, agreeing: int) -> Float[np.ndarray, "4 4"] | None:
    """Return a pose of its own memory, or None where too few matches agree with it."""
    pose = np.array(found, np.float64)
    if agreeing < SAMPLE or not np.isfinite(pose).all():
        return None
    pose[3] = (0, 0, 0, 1)  # FGR inverts a matrix, and writes -0
    return pose


def _has_normals(points: Float[np.ndarray, "n 3"]) -> bool:
    close = cKDTree(points).query_ball_point(points, KISS_REACH * VOXEL, return_length=True)
    return int((close >= KISS_CLOSE).sum()) >= KISS_LEAST


@contextmanager
def _open3d() -> Iterator[Any]:
    """Lend Open3D, seeded, quiet and on one thread."""
    o3d = import_open3d("method")
    utility = o3d.utility
    with _OPEN3D, utility.VerbosityContextManager(utility.VerbosityLevel.Error):
        threads = utility.get_max_threads()
        utility.set_max_threads(1)
        utility.random.seed(SEED)
        try:
            yield o3d
        finally:
            utility.set_max_threads(threads)


def _import(module: str, name: str, hint: str) -> Any:
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        raise DependencyError(f"the method needs {module}, which does not start: {error}",
                              where="method", hint=hint) from error
