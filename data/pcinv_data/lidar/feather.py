"""Feather files (Arrow IPC) through pyarrow, once what they unpack to is held to their size."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pcinv import limits
from pcinv.errors import DependencyError
from pcinv.io.source import Source, open_source

_START = b"ARROW1\x00\x00"
_SMALL_BYTES = 2**26


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise DependencyError("Argoverse 2 needs pyarrow, which is not installed",
                              where="argoverse2", hint="pip install 'pcinv[av2]'") from error
    return pyarrow


def read_feather(file: Path, columns: list[str], optional: tuple[str, ...] = ()
                 ) -> dict[str, np.ndarray]:
    """Return the columns of a feather file as arrays; texts as arrays of objects.

    optional : columns that are left out where there are none.

    Raises
    ------
    FileFormatError : no feather file, damaged, without one of the columns or with holes in one.
    DependencyError : pyarrow is not installed.
    """
    arrow = _pyarrow()
    source = open_source(file)
    if not source.head.startswith(_START):
        raise source.error("no 'ARROW1' at the start: this is not a feather file", byte=0)
    try:
        rows = plain = 0
        for length, size in _batches(arrow, source):
            rows, plain = rows + length, plain + size
            source.check_count(rows, "rows")
            if plain > max(limits.MAX_EXPANSION_RATIO * source.size, _SMALL_BYTES):
                raise source.error(f"{source.size} bytes claim to unpack to {plain}, more than"
                                   f" MAX_EXPANSION_RATIO = {limits.MAX_EXPANSION_RATIO} times")
        table = arrow.ipc.open_file(arrow.py_buffer(source.data)).read_all()
        table.validate(full=True)
    except (arrow.ArrowException, OSError, ValueError, struct.error, IndexError, MemoryError
            ) as error:
        raise source.error(f"pyarrow cannot read it: {str(error)[:150]}") from error
    wanted = [*columns, *(name for name in optional if name in table.column_names)]
    lacking = [name for name in wanted if name not in table.column_names]
    if lacking:
        raise source.error(f"no column {lacking[0]};"
                           f" there are {', '.join(table.column_names)[:200]}")
    holes = [name for name in wanted if table[name].null_count]
    if holes:
        raise source.error(f"{table[holes[0]].null_count} rows have no {holes[0]}")
    return {name: table[name].to_numpy() for name in wanted}


def _batches(arrow: Any, source: Source) -> Iterator[tuple[int, int]]:
    """Yield, for each batch, its rows and its bytes once they are unpacked."""
    reader = arrow.ipc.MessageReader.open_stream(arrow.py_buffer(source.data)[len(_START):])
    while True:
        try:
            message = reader.read_next_message()
        except (StopIteration, EOFError):
            return
        if message.type != "record batch":
            continue
        batch = _table(message.metadata.to_pybytes(), 2)
        body = message.body
        size = 0 if body is None else body.size
        unpacked = 0
        for start, length in batch["buffers"]:
            if start < 0 or length < 0 or start + length > size:
                raise ValueError(f"a buffer of {length} bytes at {start} of {size}")
            plain = length
            if batch["packed"] and length >= 8:
                plain = struct.unpack("<q", body[start:start + 8].to_pybytes())[0]
            unpacked += max(plain, length)  # -1: it is not packed
        yield batch["length"], unpacked


def _table(data: bytes, header: int) -> dict[str, Any]:
    """Return what the flatbuffer of a record batch says: rows, buffers (offset, bytes), packing."""
    root = _field(data, struct.unpack_from("<I", data)[0], header)
    if root is None:
        raise ValueError("a batch without a header")
    batch = root + struct.unpack_from("<I", data, root)[0]
    rows, buffers, packing = (_field(data, batch, k) for k in (0, 2, 3))
    found = []
    if buffers is not None:
        start = buffers + struct.unpack_from("<I", data, buffers)[0]
        count = struct.unpack_from("<I", data, start)[0]
        if count * 16 > len(data):
            raise ValueError(f"{count} buffers in {len(data)} bytes")
        found = [struct.unpack_from("<qq", data, start + 4 + 16 * k) for k in range(count)]
    return {"length": 0 if rows is None else struct.unpack_from("<q", data, rows)[0],
            "buffers": found, "packed": packing is not None}


def _field(data: bytes, table: int, number: int) -> int | None:
    """Return where a field of a flatbuffer's table lies, or None where it has its default."""
    entries = table - struct.unpack_from("<i", data, table)[0]
    if entries < 0 or 4 + 2 * number + 2 > struct.unpack_from("<H", data, entries)[0]:
        return None
    offset = struct.unpack_from("<H", data, entries + 4 + 2 * number)[0]
    return table + offset if offset else None
