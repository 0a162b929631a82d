"""Write a cloud or mesh aside, then rename it into place: no half-written file is left."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pcinv.errors import InputError, LimitError, UsageError
from pcinv.io.formats import FORMATS, format_named, format_of_suffix
from pcinv.io.source import FormatWarning
from pcinv.types import Mesh, PointCloud

Writer = Callable[[BinaryIO, PointCloud | Mesh], list[str]]
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write(
    path: str | os.PathLike[str],
    data: PointCloud | Mesh,
    *,
    format: str | None = None,
    force: bool = False,
) -> None:
    """Write a cloud or mesh in the format of the suffix, or in `format`.

    Attributes that the format cannot keep are named in a `FormatWarning`.

    Raises
    ------
    UsageError : the file exists and not `force`; an unknown or unfitting format; the folder is
        missing or closed.
    LimitError : the disk is full; nothing is left behind.
    """
    name, writer = check_output(path, data, format=format, force=force)
    with replacing(Path(path), force=force) as stream:
        dropped = writer(stream, data)
    if not format_named(name).keeps_view_point and getattr(data, "view_point", None) is not None:
        dropped = [*dropped, "view_point"]
    if dropped:
        warnings.warn(
            f"{path}: {name} does not keep {', '.join(dropped)}", FormatWarning, stacklevel=2
        )


def check_output(
    path: str | os.PathLike[str],
    data: PointCloud | Mesh,
    *,
    format: str | None = None,
    force: bool = False,
) -> tuple[str, Writer]:
    """Return the format that `write` would choose and its writer, or raise what it would."""
    path = Path(path)
    chosen = format_named(format) if format is not None else format_of_suffix(path)
    writers = ", ".join(f.name for f in FORMATS.values() if f.write)
    if chosen is None or chosen.write is None:
        what = (
            f"suffix '{path.suffix}' stands for no format that can be written"
            if chosen is None
            else f"{chosen.name} can be read, not written"
        )
        raise UsageError(what, where=str(path), hint=f"choose one of: {writers}")
    if not len(data):
        raise InputError(
            "there are no points to write", where=str(path), hint="check how the cloud was made"
        )
    if isinstance(data, Mesh) and not chosen.writes_meshes:
        raise UsageError(
            f"{chosen.name} holds points only, this is a mesh",
            where=str(path),
            hint="sample the mesh first, or write ply, off, obj or stl",
        )
    if isinstance(data, PointCloud) and not chosen.writes_clouds:
        raise UsageError(
            f"{chosen.name} holds meshes only, this is a cloud",
            where=str(path),
            hint="write ply or pcd",
        )
    check_place(path, force=force)
    return chosen.name, chosen.write


def check_place(path: Path, *, force: bool = False) -> None:
    """Raise UsageError where a file cannot be put: one is there, or there is no folder for it."""
    if not force and os.path.lexists(path):
        raise UsageError(
            "the file exists already",
            where=str(path),
            hint="choose another name, or force overwriting",
        )
    if path.is_dir():
        raise UsageError("this is a folder", where=str(path), hint="name a file in it")
    if not path.parent.is_dir():
        raise UsageError(
            "the folder does not exist", where=str(path), hint=f"mkdir -p {path.parent}"
        )


@contextmanager
def replacing(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Give a stream to a file beside `path` that takes its place when all is written and synced."""
    check_place(path, force=force)
    target = Path(os.path.realpath(path))
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with aside.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; some file systems cannot, and the file is written all the same."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _not_written(path: Path, error: OSError) -> LimitError | UsageError:
    if error.errno in _FULL:
        return LimitError(
            f"the disk is full: {error.strerror}; nothing was written",
            where=str(path),
            hint="free some space, or write to another disk",
        )
    if isinstance(error, FileNotFoundError):
        return UsageError(
            "the folder does not exist", where=str(path), hint=f"mkdir -p {path.parent}"
        )
    return UsageError(
        f"the file cannot be written: {error.strerror or error}",
        where=str(path),
        hint="check the permissions of the folder",
    )
