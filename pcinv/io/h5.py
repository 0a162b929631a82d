"""HDF5 behind a guard: nothing outside the file is opened, and no size is believed unchecked.

HDF5 files may point at other files (external links, external storage, virtual data sets;
CVE-2026-1669) and may declare terabytes in a kilobyte. Each name is walked component by component
before it is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pcinv import limits
from pcinv.errors import LimitError
from pcinv.io.columns import from_table
from pcinv.io.format import Array, Format, Raw
from pcinv.io.source import Source, open_source

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SMALL_BYTES = 2**20
"""Data sets below this may expand without limit: constant labels compress very well."""
_MAX_NAMES = 10_000
_POINT_KEYS = ("xyz", "points", "pos", "data")


class H5File:
    """An open HDF5 file that gives only data sets it has checked."""

    def __init__(self, source: Source, handle: h5py.File) -> None:
        self.source = source
        self._handle = handle

    def names(self) -> list[str]:
        """Return the names at the root that are hard links to data sets."""
        import h5py

        with self._wrapped():
            if len(self._handle) > _MAX_NAMES:
                raise self.source.error(f"{len(self._handle)} names, more than {_MAX_NAMES}")
            found = [
                n
                for n in self._handle
                if isinstance(self._handle.get(n, getlink=True), h5py.HardLink)
            ]
            return [n for n in found if self._handle.get(n, getclass=True) is h5py.Dataset]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the data set, checked."""
        with self._wrapped():
            return tuple(int(n) for n in self._dataset(name).shape)

    def read(
        self, name: str, rows: slice | None = None, *, ndim: int | None = None, kinds: str = "biuf"
    ) -> Array:
        """Return the data set `name`, or some of its rows.

        ndim : the rank it must have.  kinds : numpy type kinds it may have.

        Raises
        ------
        FileFormatError : no such data set; links, external or virtual storage on the way to it;
            another rank or type; more bytes declared than the stored ones can hold.
        LimitError : more bytes than MAX_FILE_BYTES.
        """
        with self._wrapped():
            dataset = self._dataset(name)
            if (ndim is not None and dataset.ndim != ndim) or dataset.dtype.kind not in kinds:
                raise self.source.error(
                    f"{name} has shape {dataset.shape} and type {dataset.dtype},"
                    f" expected {ndim if ndim is not None else 'any'} axes of kind {kinds}"
                )
            return np.asarray(dataset[rows] if rows is not None else dataset[()])

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except (
            OSError,
            KeyError,
            RuntimeError,
            ValueError,
            TypeError,
            OverflowError,
            UnicodeError,
        ) as error:
            raise self.source.error(
                f"HDF5 cannot read it: {' '.join(str(error).split())[:200]}"
            ) from error

    def _dataset(self, name: str) -> h5py.Dataset:
        import h5py

        at: Any = self._handle
        parts = [p for p in name.split("/") if p]
        for k, part in enumerate(parts, 1):
            path = "/".join(parts[:k])
            link = at.get(part, getlink=True) if isinstance(at, h5py.Group) and part in at else None
            if link is None:
                raise self.source.error(
                    f"no data set '{name}' (there are: {', '.join(list(at)[:12])})"
                    if isinstance(at, h5py.Group)
                    else f"no data set '{name}'"
                )
            if not isinstance(link, h5py.HardLink):
                raise self.source.error(
                    f"{path} is a {type(link).__name__}, which could lead outside the file",
                    hint="write the data itself into the file",
                )
            at = at[part]
        if not isinstance(at, h5py.Dataset):
            raise self.source.error(f"'{name}' is not a data set")
        self._check(at, name)
        return at

    def _check(self, dataset: h5py.Dataset, name: str) -> None:
        plist = dataset.id.get_create_plist()
        if dataset.is_virtual or dataset.external or plist.get_external_count():
            raise self.source.error(
                f"{name} keeps its values in other files",
                hint="write the data itself into the file",
            )
        if dataset.shape is None or dataset.dtype.hasobject or dataset.dtype.kind not in "biufSV":
            raise self.source.error(f"{name} has type {dataset.dtype}, expected plain numbers")
        declared = (
            int(np.prod([int(n) for n in dataset.shape], dtype=object)) * dataset.dtype.itemsize
        )
        stored = int(dataset.id.get_storage_size())
        source = self.source
        if stored > source.size:
            raise source.error(f"{name} claims {stored} stored bytes, the file has {source.size}")
        if declared and not stored:
            raise source.error(f"{name} {dataset.shape} was declared but never written")
        if declared > max(limits.MAX_H5_EXPANSION_RATIO * stored, _SMALL_BYTES):
            raise source.error(
                f"{name} declares {declared} bytes and stores {stored}, more than"
                f" MAX_H5_EXPANSION_RATIO = {limits.MAX_H5_EXPANSION_RATIO} times"
            )
        if declared > limits.MAX_FILE_BYTES:
            raise LimitError(
                f"{name} of {declared} bytes exceeds MAX_FILE_BYTES = {limits.MAX_FILE_BYTES}",
                where=str(source.path),
                hint="split the file",
            )
        if dataset.chunks:
            expected = int(
                np.prod(
                    [-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)],
                    dtype=object,
                )
            )
            written = int(dataset.id.get_num_chunks())
            if written < expected:
                raise source.error(
                    f"{name}: {expected - written} of {expected} chunks were never written"
                )
        elif stored < declared:
            raise source.error(f"{name} declares {declared} bytes and stores {stored}")


@contextmanager
def open_h5(path: str | os.PathLike[str]) -> Iterator[H5File]:
    """Open an HDF5 file for reading behind the guard.

    Raises
    ------
    FileFormatError : missing, empty, cut off, or not HDF5.
    """
    source = open_source(path)
    if not source.head.startswith(_SIGNATURE):
        raise source.error("no HDF5 signature at the start: this is not an HDF5 file", byte=0)
    import h5py

    try:
        handle = h5py.File(source.path, "r", locking=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise source.error(
            f"HDF5 cannot open it: {' '.join(str(error).split())[:200]}",
            hint="the file is cut off or damaged; get it again",
        ) from error
    try:
        yield H5File(source, handle)
    finally:
        handle.close()


def read_h5_array(
    path: str | os.PathLike[str],
    name: str,
    rows: slice | None = None,
    *,
    ndim: int | None = None,
    kinds: str = "biuf",
) -> Array:
    """Return one data set of an HDF5 file, or some of its rows, behind the guard."""
    with open_h5(path) as file:
        return file.read(name, rows, ndim=ndim, kinds=kinds)


def read_h5(source: Source) -> Raw:
    """Read one cloud: an (N, C) data set under xyz, points, pos or data, with its attributes."""
    with open_h5(source.path) as file:
        names = file.names()
        key = next((k for k in _POINT_KEYS if k in names), None)
        if key is None:
            raise source.error(
                "no points under xyz, points, pos or data"
                f" (there are: {', '.join(names[:12]) or 'none'})"
            )
        shape = file.shape(key)
        if len(shape) == 3:
            raise source.error(
                f"{key} {shape} holds {shape[0]} clouds, not one",
                hint="this is a data set: name its folder by --dataset and --root",
            )
        if len(shape) != 2 or shape[1] < 3:
            raise source.error(f"{key} has shape {shape}, expected (N, 3) or more columns")
        source.check_count(shape[0], "points")
        raw = from_table(file.read(key, ndim=2, kinds="iuf"), source)
        for name in names:
            if (
                name != key
                and (other := file.shape(name))
                and len(other) <= 2
                and other[0] == shape[0]
            ):
                values = file.read(name)
                raw.attributes[name] = values.astype(np.float32) if name == "normal" else values
    return raw


FORMATS = [
    Format(
        "h5",
        (".h5", ".hdf5"),
        read_h5,
        lambda s: s.head.startswith(_SIGNATURE),
        magic=True,
        about="one cloud; no links, external or virtual storage",
    ),
]
