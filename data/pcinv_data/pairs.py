"""Pairs of clouds with the motion between them, and the one table of data sets that hold such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import DatasetError, FileFormatError, InputError, UsageError, unknown_name
from pcinv_data.manifest import Manifest, read_manifest

CACHED_CLOUDS = 128
"""Clouds that stay in memory: all of a 3DMatch scene, about 60 MB."""
MAX_SKEW = 0.02
"""Largest entry of R R^T - I in a stored pose. Those of 3DMatch have up to 0.0012."""


@dataclass(frozen=True, eq=False)
class RegistrationPair:
    """Two overlapping clouds and the true motion from one to the other; picklable.

    name : what a person recognises the pair by, `<scene>/<target>-<source>` for 3DMatch.
    scene : what recalls are averaged over.  source_id, target_id : numbers within the scene.
    T_target_source : (4, 4) float64, takes points of the source into the frame of the target. As
        it is stored: its rotation may be off an exact one by `MAX_SKEW`.
    information : (6, 6) float64 of the official 3DMatch error, or None. All zero for one pair.
    overlap : official share of overlapping points where the data set tells it, or None.
    consecutive : neighbours in time, which the recall of 3DMatch does not count.
    body : of single objects, what `pcinv.metrics.symmetry.Body` tells of the source, or None.
    """

    name: str
    scene: str
    source_id: int
    target_id: int
    T_target_source: np.ndarray
    source_file: Path
    target_file: Path
    information: np.ndarray | None = None
    overlap: float | None = None
    consecutive: bool = False
    body: dict[str, Any] | None = None

    @property
    def symmetric(self) -> bool:
        """Whether the pair is of an object that some turn leaves as it is."""
        return self.body is not None and bool(self.body["symmetric"])

    def load_source(self) -> np.ndarray:
        """Return the (N, 3) float64 points of the source; shared, so not writable.

        In metres, but for some objects, which are in millimetres.
        """
        return read_points(self.source_file)

    def load_target(self) -> np.ndarray:
        """Return the (M, 3) float64 points of the target, in the units of the source."""
        return read_points(self.target_file)


@dataclass(frozen=True)
class PairSet:
    """One row of the table. open : folder, scene or None -> the pairs in official order.

    scenes : folder -> names of the listed scenes.
    recall_rule : which rule of `pcinv.metrics.registration.RULES` its papers use.
    overlap_radius : what `measure_overlap` takes where no overlap is told, in metres.
    needs_root : it is a copy of files. Those that do not are generated, into a folder if given.
    bodies : pairs of single bodies, each in units of its own; some clouds are whole bodies, which
        no camera at the origin saw.
    """

    name: str
    open: Callable[[Path, str | None], list[RegistrationPair]]
    scenes: Callable[[Path], list[str]]
    manifest_name: str
    recall_rule: str
    overlap_radius: float
    needs_root: bool = True
    bodies: bool = False

    @property
    def manifest(self) -> Manifest:
        """Terms, layout and sizes."""
        return read_manifest(self.manifest_name)


def _open_benchmark(benchmark: str, root: Path, scene: str | None) -> list[RegistrationPair]:
    from pcinv_data.threedmatch import open_benchmark

    return open_benchmark(root, benchmark, scene)


def _scenes_benchmark(benchmark: str, root: Path) -> list[str]:
    from pcinv_data.threedmatch import list_scenes

    return list_scenes(root, benchmark)


def _open_lists(part: str, root: Path, scene: str | None) -> list[RegistrationPair]:
    from pcinv_data.pair_lists import open_lists

    return open_lists(root, part, scene)


def _scenes_lists(part: str, root: Path) -> list[str]:
    from pcinv_data.pair_lists import list_scenes

    return list_scenes(root, part)


def _open_kitti(root: Path, scene: str | None) -> list[RegistrationPair]:
    from pcinv_data.kitti_pairs import open_kitti_pairs

    return open_kitti_pairs(root, scene)


def _scenes_kitti(root: Path) -> list[str]:
    return sorted({pair.scene for pair in _open_kitti(root, None)})


def _open_rooms(root: Path, scene: str | None) -> list[RegistrationPair]:
    from pcinv_data.room_pairs import open_rooms

    return open_rooms(root, scene)


def _scenes_rooms(root: Path) -> list[str]:
    from pcinv_data.room_pairs import SCENES

    return list(SCENES)


def _open_objects(root: Path, scene: str | None) -> list[RegistrationPair]:
    from pcinv_data.object_pairs import open_objects

    return open_objects(root, scene)


def _scenes_objects(root: Path) -> list[str]:
    from pcinv_data.object_pairs import SCENES

    return list(SCENES)


PAIR_SETS: dict[str, PairSet] = {
    row.name: row for row in (
        *(PairSet(name.lower(), partial(_open_benchmark, name), partial(_scenes_benchmark, name),
                  "threedmatch", "3dmatch", 0.0375) for name in ("3DMatch", "3DLoMatch")),
        *(PairSet(f"3dmatch-{part}", partial(_open_lists, part), partial(_scenes_lists, part),
                  "threedmatch_lists", "indoor", 0.0375) for part in ("train", "val")),
        PairSet("kitti-pairs", _open_kitti, _scenes_kitti, "kitti_pairs", "kitti", 0.6),
        PairSet("rooms", _open_rooms, _scenes_rooms, "rooms", "3dmatch", 0.0375, needs_root=False),
        PairSet("objects", _open_objects, _scenes_objects, "objects", "objects", 0.0375,
                needs_root=False, bodies=True),
    )
}


def load_pairs(name: str, root: str | Path | None, *, scene: str | None = None,
               limit: int | None = None, consecutive: bool = True) -> list[RegistrationPair]:
    """List the pairs of a data set; their clouds are read when they are asked for.

    name : a key of `PAIR_SETS`.
    root : the folder of your copy. Of a generated set: where its clouds are kept, and made if they
        are not there; None for a folder that is removed when the program ends.
    scene : only this one; the others need not be there.
    limit : at most this many, evenly spaced over the whole list.
    consecutive : keep pairs of neighbours in time. The 3DMatch recall does not count them.

    Raises
    ------
    UnknownNameError : no such data set or scene.
    DatasetError : the folder is not the data set, is damaged, or lacks a cloud of a pair.
    """
    if name not in PAIR_SETS:
        raise unknown_name("data set of pairs", name, PAIR_SETS, where="dataset")
    folder = pair_folder(name, root)
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit is {limit}, expected a whole number of 1 or more", where="limit",
                         hint="leave it out to take all pairs")
    pairs = PAIR_SETS[name].open(folder, scene)
    if not consecutive:
        pairs = [pair for pair in pairs if not pair.consecutive]
    if limit is not None and limit < len(pairs):
        pairs = [pairs[k] for k in np.linspace(0, len(pairs) - 1, limit).round().astype(int)]
    return pairs


def pair_folder(name: str, root: str | Path | None) -> Path:
    """Return the folder of a data set; UsageError where one must be given and is not."""
    if root is not None:
        return Path(root)
    if PAIR_SETS[name].needs_root:
        raise UsageError(f"{name} needs the folder of your copy", where="root",
                         hint=f"--root DIR; pcinv data info {name} says where to get it")
    from pcinv_data.generated_pairs import process_folder

    return process_folder()


def read_points(file: Path) -> np.ndarray:
    """Return the (N, 3) float64 points of a cloud, or of a `.pth` that holds one numpy array.

    The last `CACHED_CLOUDS` stay in memory, until their files change; the array is not writable.

    Raises FileFormatError and LimitError as `pcinv.read` does.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise FileFormatError(f"the cloud cannot be read: {error.strerror}", where=str(file),
                              hint="get this file again") from error
    return _read_points(str(file), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=CACHED_CLOUDS)
def _read_points(file: str, modified: int, size: int) -> np.ndarray:
    from pcinv.io import read
    from pcinv.io.restricted_pickle import read_torch_array
    from pcinv.types import Mesh

    if file.endswith(".pth"):
        points = read_torch_array(file)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or points.dtype.kind != "f":
            raise FileFormatError(f"an array {points.shape} of {points.dtype}, expected (N, 3)"
                                  " coordinates", where=file, hint="get this file again")
        if not np.isfinite(points).all():
            raise FileFormatError("some coordinates are not finite", where=file,
                                  hint="get this file again")
        points = points.astype(np.float64)
    else:
        thing = read(file)
        points = thing.vertices if isinstance(thing, Mesh) else thing.absolute()
    points.setflags(write=False)
    return points


def measure_overlap(pair: RegistrationPair, radius: float) -> float:
    """Return the share of source points with a target point within `radius` (m), after the motion.

    The usual radii are 0.0375 for 3DMatch fragments of 2.5 cm, and 0.6 for LiDAR of 0.3 m.
    """
    from scipy.spatial import cKDTree

    T = pair.T_target_source
    moved = pair.load_source() @ T[:3, :3].T + T[:3, 3]
    distance, _ = cKDTree(pair.load_target()).query(moved, distance_upper_bound=radius)
    return float((distance <= radius).mean())


def numbers(text: str, count: int, where: str) -> list[float]:
    """Return the `count` finite numbers of a line; `where` is its file and line number."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        shown = text[:60] + ("..." if len(text) > 60 else "")
        raise DatasetError(f"'{shown}' is not {count} finite numbers", where=where,
                           hint="the file is damaged; get it again")
    return values


def as_motion(rows: list[list[float]], where: str) -> np.ndarray:
    """Return the (4, 4) float64 rigid motion of these rows, or raise DatasetError."""
    T = np.asarray(rows, dtype=np.float64)
    R = T[:3, :3]
    skew = float(np.abs(R @ R.T - np.eye(3)).max())
    if not np.allclose(T[3], (0, 0, 0, 1), atol=1e-6) or not skew <= MAX_SKEW \
            or not np.linalg.det(R) > 0:
        raise DatasetError("the matrix is not a rotation and a shift", where=where,
                           hint="the file is damaged; get it again")
    return T
