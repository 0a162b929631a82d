"""Prepared arrays kept on disk: ten thousand text files take minutes to read and thin out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pcinv.errors import LimitError
from pcinv_data.dataset import Source

log = logging.getLogger(__name__)
VERSION = 1
Arrays = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]


def cached(folder: str | Path, name: str, source: Source, indices: Sequence[int],
           settings: dict[str, object], make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept for these files and settings, or make and keep them.

    The key covers the name, size and time of change of every file, so a changed copy is read
    again. A kept file that is damaged is made again too.
    """
    stats = {file: (os.stat(file).st_size, os.stat(file).st_mtime_ns)
             for file in {source.files[i] for i in indices}}
    items = [(source.names[i], int(source.labels[i]), source.files[i], stats[source.files[i]])
             for i in indices]
    key = json.dumps([VERSION, name, source.layout, settings, items], sort_keys=True)
    file = Path(folder) / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    kept = _read(file, len(indices))
    if kept is not None:
        return kept
    arrays = make()
    _write(file, arrays)
    return arrays


def _read(file: Path, count: int) -> Arrays | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            xyz, normal, part = (stored.get(key) for key in ("xyz", "normal", "part"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        log.warning("%s is damaged (%s) and is made again", file, error)
        return None
    return (xyz, normal, part) if xyz is not None and len(xyz) == count else None


def _write(file: Path, arrays: Arrays) -> None:
    from pcinv.io.writing import replacing

    names = ("xyz", "normal", "part")
    kept = {key: a for key, a in zip(names, arrays, strict=True) if a is not None}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LimitError(f"cannot keep the prepared data: {error.strerror}", where=str(file.parent),
                         hint="name another folder, or leave out cache") from error
    with replacing(file, force=True) as stream:
        np.savez(stream, **kept)
