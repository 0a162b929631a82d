"""Generated rooms to train matching with: fragments and poses on disk, made when first asked for.

    <root>/training-rooms-<version>/room-00000.npz

A room's file is written aside and renamed, so what was made before an interruption is whole and is
not made again. No room of the test set `rooms` is among them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pcinv.errors import DatasetError
from pcinv_data.room_pairs import VERSION
from pcinv_data.rooms import make_room, scan_room

FIRST_SEED = 10_000
"""Of the rooms; those below belong to other sets."""
FRAGMENTS = 8


class ScannedRoom(NamedTuple):
    """A room as it was recorded.

    fragments : (N, 3) float32 each, metres, in the frame of its first camera, which is at the
        origin.  T_room_fragment : (F, 4, 4) float64.
    """

    fragments: list[np.ndarray]
    T_room_fragment: np.ndarray


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
