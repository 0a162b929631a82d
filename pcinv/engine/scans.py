"""Scans to train matching with: prepared fragments, and what each two of them have in common.

What a network sees here is what it sees in registration: `pcinv.registration` prepares the clouds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

from pcinv.engine.config import Config
from pcinv.engine.datasets import from_providers
from pcinv.errors import DatasetError

CORRESPOND = 0.04
"""Key points nearer than this under the true motion are one place, in units of prepared clouds."""
SAME_SIDE = 0.5
"""Least cosine of their normals."""
LEAST_SHARE, LEAST_COUNT = 0.1, 150
"""Of the smaller cloud's key points, and how many of them, that a pair has in common at least."""


class ScannedRoom(Protocol):
    """Fragments (N, 3) of one place, each in the frame of its camera, and `T_room_fragment`."""

    fragments: Sequence[np.ndarray]
    T_room_fragment: np.ndarray


class Fragment(NamedTuple):
    """A prepared fragment; lengths in units of prepared clouds.

    points, normals : (N, 3) float32 of the finer cloud.  density : of its grids.
    keys, axes : (K, 3) float32, key points and their normals.  T_room_fragment : (4, 4).
    """

    points: np.ndarray
    normals: np.ndarray
    density: float
    keys: np.ndarray
    axes: np.ndarray
    T_room_fragment: np.ndarray


class ScanPair(NamedTuple):
    """Two fragments by number, and their corresponding key points.

    rows : (M, 2) of the source and the target.  share : of the smaller cloud's key points.
    """

    source: int
    target: int
    rows: Int[np.ndarray, "m 2"]
    share: float


def load_rooms(config: Config) -> list[Any]:
    """Return the rooms of the configured set, from the first package that knows it.

    Raises UnknownNameError, DependencyError, and what the package raises.
    """
    data = config.data
    rooms: list[Any] = from_providers(
        "load_rooms", data.dataset, root=data.root, limit=data.limit,
        jobs=max(1, config.train.workers))
    return rooms


def split_rooms(rooms: Sequence[Any], val_fraction: float) -> tuple[list[Any], list[Any]]:
    """Return the rooms to train on and those to validate on, the last ones; at least one of each.

    Raises DatasetError for fewer than two rooms.
    """
    if len(rooms) < 2:
        raise DatasetError(f"{len(rooms)} room(s), at least 2 are needed", where="data.limit",
                           hint="one of them is for validation")
    held = min(max(1, round(val_fraction * len(rooms))), len(rooms) - 1)
    return list(rooms[:-held]), list(rooms[-held:])


class Scans:
    """Prepared fragments of rooms, and their pairs.

    scales : lowest and highest factor of the voxel; each room draws one of its own.
    """

    def __init__(self, rooms: Sequence[Any], seed: int, voxel: float = 0.05,
                 scales: tuple[float, float] = (1.0, 1.0), jobs: int = 1) -> None:
        from joblib import Parallel, delayed, parallel_config

        low, high = np.log(scales)
        voxels = [voxel * float(np.exp(np.random.default_rng([seed, 7, k]).uniform(low, high)))
                  for k in range(len(rooms))]
        with parallel_config(backend="loky", inner_max_num_threads=1):
            prepared = Parallel(n_jobs=jobs)(
                delayed(prepare_room)(room, v) for room, v in zip(rooms, voxels, strict=True))
        self.fragments: list[Fragment] = []
        self.pairs: list[ScanPair] = []
        for fragments, pairs in prepared:
            first = len(self.fragments)
            self.fragments += fragments
            self.pairs += [pair._replace(source=pair.source + first, target=pair.target + first)
                           for pair in pairs]
        if not self.pairs:
            raise DatasetError("no two fragments have enough in common", where="data.dataset",
                               hint="more rooms: --set data.limit=20")
        chance = np.array([1 / pair.share for pair in self.pairs])
        self.chance = chance / chance.sum()

    def draw(self, rng: np.random.Generator, count: int, hard: bool = True
             ) -> list[tuple[ScanPair, bool]]:
        """Draw pairs, and whether each is turned round.

        hard : those of little overlap more often.
        """
        return [(self.pairs[number], bool(rng.random() < 0.5))
                for number in rng.choice(len(self.pairs), count, p=self.chance if hard else None)]

    def T_target_source(self, pair: ScanPair) -> Float[np.ndarray, "4 4"]:
        """Return the true motion of a pair, in units of prepared clouds."""
        source, target = (self.fragments[k].T_room_fragment for k in (pair.source, pair.target))
        motion: np.ndarray = np.linalg.inv(target) @ source
        return motion


def prepare_room(room: Any, voxel: float) -> tuple[list[Fragment], list[ScanPair]]:
    """Prepare the fragments of a room and find what each two of them have in common."""
    fragments = [prepare_fragment(points, pose, voxel)
                 for points, pose in zip(room.fragments, room.T_room_fragment, strict=True)]
    pairs = [(i, j) for j in range(len(fragments)) for i in range(j)]
    found = ((i, j, *common_rows(fragments[j], fragments[i])) for i, j in pairs)
    return fragments, [ScanPair(j, i, rows, share) for i, j, rows, share in found
                       if share >= LEAST_SHARE and len(rows) >= LEAST_COUNT]


def prepare_fragment(
    points: Float[np.ndarray, "n 3"], T_room_fragment: Float[np.ndarray, "4 4"], voxel: float
) -> Fragment:
    """Prepare a fragment that was seen from the origin of its frame."""
    from dataclasses import replace

    from pcinv.registration.patches import detail
    from pcinv.registration.prepare import prepare
    from pcinv.registration.viewpoint import orient_towards

    cloud = prepare(np.asarray(points, np.float64), voxel, ())
    place = -cloud.origin / cloud.unit
    cloud = replace(cloud, view_point=place,
                    normals=orient_towards(cloud.points, cloud.normals, place))
    fine = detail(cloud)
    pose = np.array(T_room_fragment, np.float64)
    pose[:3, 3] = (pose[:3, :3] @ cloud.origin + pose[:3, 3]) / cloud.unit
    return Fragment(fine.points.astype(np.float32), fine.normals.astype(np.float32), fine.density,
                    cloud.points.astype(np.float32), cloud.normals.astype(np.float32), pose)


def common_rows(source: Fragment, target: Fragment) -> tuple[Int[np.ndarray, "m 2"], float]:
    """Return the corresponding key points (M, 2), and their share of the smaller cloud's."""
    from scipy.spatial import cKDTree

    pose = np.linalg.inv(target.T_room_fragment) @ source.T_room_fragment
    moved = source.keys @ pose[:3, :3].T + pose[:3, 3]
    away, index = cKDTree(target.keys).query(moved, distance_upper_bound=CORRESPOND)
    rows = np.flatnonzero(np.isfinite(away))
    alike = ((source.axes[rows] @ pose[:3, :3].T) * target.axes[index[rows]]).sum(1) > SAME_SIDE
    rows = rows[alike]
    share = len(rows) / max(1, min(len(source.keys), len(target.keys)))
    return np.stack([rows, index[rows]], 1).astype(np.int32), share


def evenly(pairs: Sequence[ScanPair], count: int) -> Iterator[ScanPair]:
    """Yield at most `count` pairs, evenly spaced."""
    for k in np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)):
        yield pairs[int(k)]
