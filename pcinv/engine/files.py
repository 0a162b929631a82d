"""Files that are whole or not there: written aside, synced, renamed."""

from __future__ import annotations

import os
from pathlib import Path

from pcinv.errors import LimitError


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file by a new one, or leave it as it is.

    Raises
    ------
    LimitError where it cannot be written.
    """
    aside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        write_synced(aside, data)
        os.replace(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def make_folder(path: Path, *, exist_ok: bool = True) -> bool:
    """Make a folder and those above it; return False where it exists and `exist_ok` is not set."""
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError as error:
        if exist_ok:  # a file is in the way
            raise cannot_write(path, error) from error
        return False
    except OSError as error:
        raise cannot_write(path, error) from error
    return True


def cannot_write(path: Path, error: OSError) -> LimitError:
    """Return the error for a file or folder that the system refused to write."""
    return LimitError(f"cannot write: {error.strerror or error}", where=str(path),
                      hint="free space on the disk or choose another folder with --output")
