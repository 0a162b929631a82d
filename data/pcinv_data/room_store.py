"""Generated rooms to train matching with: fragments and poses on disk, made when first asked for.

    <root>/training-rooms-<version>/room-00000.npz

A room's file is written aside and renamed, so what was made before an interruption is whole and is
not made again. No room of the test set `rooms` is among them.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pcinv.errors import DatasetError, unknown_name
from pcinv_data.generated_pairs import process_folder
from pcinv_data.room_pairs import VERSION
from pcinv_data.rooms import make_room, scan_room

log = logging.getLogger(__name__)

SETS = ("rooms",)
"""Sets of scans that matching is trained on."""
FIRST_SEED = 10_000
"""Of the rooms; those below belong to other sets."""
FRAGMENTS = 8
DEFAULT_COUNT = 120


class ScannedRoom(NamedTuple):
    """A room as it was recorded.

    fragments : (N, 3) float32 each, metres, in the frame of its first camera, which is at the
        origin.  T_room_fragment : (F, 4, 4) float64.
    """

    fragments: list[np.ndarray]
    T_room_fragment: np.ndarray


def load_rooms(name: str, root: str | Path | None = None, limit: int | None = None, jobs: int = 1
               ) -> list[ScannedRoom]:
    """Return the rooms of a set to train matching with, after making those that are not there.

    name : "rooms".  root : where they are kept; None for a folder that the program removes.
    limit : how many.  jobs : processes that make them.

    Raises UnknownNameError for another set, DatasetError for a damaged file, LimitError where
    nothing can be written.
    """
    if name not in SETS:
        raise unknown_name("data set of scans", name, SETS, where="dataset")
    folder, count = process_folder() if root is None else Path(root), limit or DEFAULT_COUNT
    for number, file in enumerate(make_rooms(folder, count, jobs), 1):
        if number % 20 == 0:
            log.info("%d of %d rooms, the last is %s", number, count, file.name)
    rooms = [read_room(file) for file in room_files(folder, count)]
    return [room for room in rooms if len(room.fragments)]


def room_files(root: Path, count: int) -> list[Path]:
    """Return where the first `count` rooms are, or will be."""
    return [root / f"training-rooms-{VERSION}" / f"room-{k:05d}.npz" for k in range(count)]


def make_rooms(root: Path, count: int, jobs: int = 1) -> Iterator[Path]:
    """Make those of the first `count` rooms that are not there; yield each file as it is ready.

    jobs : processes. About 7 s a room and process.

    Raises LimitError where nothing can be written.
    """
    from joblib import Parallel, delayed, parallel_config

    from pcinv.engine.files import make_folder

    files = room_files(root, count)
    make_folder(files[0].parent)
    missing = [(k, file) for k, file in enumerate(files) if not file.is_file()]
    yield from (file for file in files if file.is_file())
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(write_room)(FIRST_SEED + k, file) for k, file in missing)


def write_room(seed: int, file: Path) -> Path:
    """Generate a room, record it and write its file."""
    from pcinv.engine.files import write_atomic

    fragments = scan_room(make_room(seed), seed, FRAGMENTS)
    arrays = {f"points_{k}": f.points.astype(np.float32) for k, f in enumerate(fragments)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False,
             T_room_fragment=np.stack([f.T_room_fragment for f in fragments]) if fragments
             else np.zeros((0, 4, 4)), **arrays)
    write_atomic(file, buffer.getvalue())
    return file


def read_room(file: Path) -> ScannedRoom:
    """Read a room.

    Raises DatasetError for a file that is not there, or is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            poses = stored["T_room_fragment"]
            fragments = [stored[f"points_{k}"] for k in range(len(poses))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"the room cannot be read: {error}", where=str(file),
                           hint="remove the file; it is made again") from error
    return ScannedRoom(fragments, poses)
