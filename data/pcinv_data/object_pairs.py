"""The generated set of pairs `objects`: scans of the shapes of all classes, and whole shapes.

Each pair has a shape of its own. A scan is what a camera at the origin sees of it, one point a
pixel, with noise. Sizes are 5 cm to 2 m, some in millimetres; both clouds of a pair are in the same
units. Symmetric shapes are marked, and so are pairs whose shared part fits elsewhere on the shape.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pcinv_data.generate.classes import CLASS_NAMES, draw_shape
from pcinv_data.generate.symmetry import Shape
from pcinv_data.generated_pairs import MadePair, MadeScene, open_generated
from pcinv_data.pairs import RegistrationPair

VERSION = 1
"""To be raised with any change of what is drawn."""
PAIRS = 4
"""Of a class; the first one has a whole shape, the others are of two scans."""
DENSE, WHOLE = 60_000, 6000
"""Points on a shape, of which a camera sees some, and points of a whole shape as a cloud."""
PIXELS = 100
"""Across the diagonal of the shape in the image of the camera."""
DISTANCE = 2.5
"""Of the camera from the middle of the shape, in diagonals."""
LEAST_COSINE = 0.15
"""Between ray and surface; the scanner gets nothing from surfaces seen from the side."""
OVERLAP_RADIUS = 0.02
"""Points with a partner within so much of the diagonal overlap."""
LEAST_OVERLAP = 0.05
VIEWS = 10
"""Second views that are tried, to come near to the wanted overlap."""
GOLDEN = (math.sqrt(5) - 1) / 2
SCENES = list(CLASS_NAMES)
_STREAM = 3  # of the seeds; those of `shapes.STREAMS` are 0 to 2


class Scan(NamedTuple):
    """What a camera sees. rows : of the dense points, (N,).  T_camera_shape : (4, 4)."""

    rows: np.ndarray
    T_camera_shape: np.ndarray


def open_objects(root: Path, scene: str | None = None) -> list[RegistrationPair]:
    """List the pairs of the set, after making the classes that are not in the folder yet."""
    return open_generated(root, "objects", VERSION, SCENES, make_scene, scene)


def make_scene(name: str) -> MadeScene:
    """Make the pairs of a class: clouds 2 k (target) and 2 k + 1 (source) are of pair k."""
    clouds: list[np.ndarray] = []
    pairs: list[MadePair] = []
    for k in range(PAIRS):
        source, target, pair = make_pair(name, k)
        clouds += [target, source]
        pairs.append(pair)
    return MadeScene(clouds, pairs)


def make_pair(name: str, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, MadePair]:
    """Return source (N, 3), target (M, 3) and truth of pair k of a class; a pure function."""
    number = CLASS_NAMES.index(name)
    rng = np.random.default_rng([seed, _STREAM, number, k])
    points, normals, _ = draw_shape(name, DENSE, rng)
    size = math.exp(rng.uniform(math.log(0.05), math.log(2.0)))
    size *= 1000 if rng.random() < 0.4 else 1  # millimetres
    points = points * (size / np.linalg.norm(np.ptp(points, axis=0)))
    shape = Shape(points)
    noise = shape.diagonal * rng.uniform(0.0005, 0.004)
    first = see(points, normals, shape, _direction(rng), rng)
    if k == 0:
        second = Scan(np.arange(WHOLE), _pose(shape, _direction(rng), rng))
        second.T_camera_shape[:3, 3] = shape.diagonal * rng.uniform(-2, 2, 3)
    else:
        # spread evenly over all pairs of the set, in an order that is even for any few of them
        wanted = LEAST_OVERLAP + (1 - LEAST_OVERLAP) * ((number * PAIRS + k) * GOLDEN % 1)
        second = _second_view(points, normals, shape, first, wanted, rng)
    scans = [first, second]
    if rng.random() < 0.5:
        scans.reverse()
    source, target = scans
    shared = shared_rows(points, source.rows, target.rows, shape.diagonal)
    T = target.T_camera_shape @ np.linalg.inv(source.T_camera_shape)
    hidden = not shape.symmetry and shape.hides(points[shared])
    body = shape.body(source.T_camera_shape, hidden)
    pair = MadePair(f"{name}/{k}", 2 * k + 1, 2 * k, T, len(shared) / len(source.rows),
                    body=body.to_dict())
    there, here = (_cloud(points, scan, 0.0 if k == 0 and scan is second else noise, rng)
                   for scan in scans)
    return there, here, pair


def see(points: np.ndarray, normals: np.ndarray, shape: Shape, direction: np.ndarray,
        rng: np.random.Generator) -> Scan:
    """Return what a camera in a direction (3,) from the shape sees of it, one point a pixel.

    points, normals : (N, 3), so dense that many fall into a pixel: the nearest one is seen.
    """
    T = _pose(shape, direction, rng)
    at, facing = points @ T[:3, :3].T + T[:3, 3], normals @ T[:3, :3].T
    cosine = -(at * facing).sum(1) / np.sqrt((at * at).sum(1))
    pixel = np.floor(at[:, :2] / at[:, 2:] * (DISTANCE * PIXELS)).astype(np.int64)
    number = (pixel[:, 0] + 4 * PIXELS) * 8 * PIXELS + pixel[:, 1] + 4 * PIXELS
    order = np.lexsort((at[:, 2], number))
    nearest = order[np.r_[True, np.diff(number[order]) > 0]]
    return Scan(np.sort(nearest[cosine[nearest] > LEAST_COSINE]), T)


def _second_view(points: np.ndarray, normals: np.ndarray, shape: Shape, first: Scan, wanted: float,
                 rng: np.random.Generator) -> Scan:
    """Return a view whose overlap with the first comes near to the wanted one."""
    towards = -first.T_camera_shape[:3, :3].T @ first.T_camera_shape[:3, 3] - shape.centre
    towards /= np.linalg.norm(towards)
    best, least = None, math.inf
    for turn in np.linspace(0.05, 2.9, VIEWS):  # nearly all of the way round, in radians
        aside = np.cross(towards, _direction(rng))
        aside /= np.linalg.norm(aside)
        view = see(points, normals, shape, math.cos(turn) * towards + math.sin(turn) * aside, rng)
        shared = [len(shared_rows(points, *rows, shape.diagonal)) / len(rows[0])
                  for rows in ((first.rows, view.rows), (view.rows, first.rows))]
        off = abs(min(shared) - wanted) + (min(shared) < LEAST_OVERLAP)
        if off < least:
            best, least = view, off
    return first if best is None else best


def shared_rows(points: np.ndarray, rows: np.ndarray, others: np.ndarray, diagonal: float
                ) -> np.ndarray:
    """Return those of `rows` of the points whose nearest of `others` is within the radius."""
    from scipy.spatial import cKDTree

    away, _ = cKDTree(points[others]).query(points[rows],
                                            distance_upper_bound=OVERLAP_RADIUS * diagonal)
    return np.asarray(rows[np.isfinite(away)])


def _cloud(points: np.ndarray, scan: Scan, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return the points of a scan in its frame, with noise along the rays."""
    at = points[scan.rows] @ scan.T_camera_shape[:3, :3].T + scan.T_camera_shape[:3, 3]
    away = np.sqrt((at * at).sum(1, keepdims=True))
    return np.asarray(at * (1 + noise * rng.normal(size=away.shape) / away))


def _pose(shape: Shape, direction: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return T_camera_shape (4, 4) of a camera that looks at the shape, rolled at random."""
    z = -direction
    x = np.cross(z, np.eye(3)[np.abs(z).argmin()])
    x /= np.linalg.norm(x)
    y, roll = np.cross(z, x), rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(roll), math.sin(roll)
    T = np.eye(4)
    T[:3, :3] = [cos * x + sin * y, cos * y - sin * x, z]
    T[:3, 3] = -T[:3, :3] @ (shape.centre + DISTANCE * shape.diagonal * direction)
    return T


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
