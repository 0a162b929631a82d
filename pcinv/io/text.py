"""Points as text, one a row: xyz, txt, csv, pts; separated by white space, commas or semicolons."""

from __future__ import annotations

import re
from typing import BinaryIO

from pcinv import limits
from pcinv.io.columns import from_table, narrowed, to_columns
from pcinv.io.format import Array, Format, Raw
from pcinv.io.rows import NUMBER, Rows, scan_rows
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

_BLOCK_ROWS = 50_000


def read_text(source: Source) -> Raw:
    """Read rows of at least three numbers, with at most one line of column names before them."""
    text = source.data
    if b"\0" in source.head:
        raise source.error(
            "binary content where rows of numbers are expected",
            byte=source.head.index(b"\0"),
            hint="name the format that it really has",
        )
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:]
    if b"\r" in text and b"\n" not in text:
        text = text.replace(b"\r", b"\n")
    names, start, line = _find_names(text)
    first = next(
        (
            part
            for part in text[start : start + limits.MAX_LINE_BYTES].split(b"\n")
            if _row_of(part)
        ),
        b"",
    )
    delimiter = next((mark for mark in (b";", b",") if mark in first), b"")
    rows = scan_rows(source, text[start:], line, delimiter)
    if len(rows) > 1 and rows.counts[0] == 1 < rows.counts[1]:
        rows = _without_count(source, rows)
    table = rows.table(source)
    if names and len(names) != table.shape[1]:
        names = None if text.startswith((b"#", b"//")) else names
    if names and len(names) != table.shape[1]:
        raise source.error(
            f"{len(names)} column names for {table.shape[1]} columns", line=max(1, line - 1)
        )
    return from_table(table, source, names)


def _row_of(line: bytes) -> bytes:
    """Return what is on the line beside comments and blanks."""
    return re.split(rb"#|//", line, maxsplit=1)[0].strip()


def _find_names(text: bytes) -> tuple[list[str] | None, int, int]:
    """Return the column names, where the rows begin, and the number of that line.

    Names are one line of words, or the comment before the first row if it names x, y and z.
    """
    at, number, names = 0, 1, None
    while at < min(len(text), limits.MAX_HEADER_BYTES):
        stop = text.find(b"\n", at, at + limits.MAX_LINE_BYTES)
        stop = stop if stop >= 0 else min(len(text), at + limits.MAX_LINE_BYTES)
        line = text[at:stop]
        row = _row_of(line)
        words = _words(row or line.lstrip(b"#/ \t"))
        if not row:
            if {"x", "y", "z"} <= {w.lower() for w in words}:
                names = words
        elif NUMBER.fullmatch(words[0].encode()) or NUMBER.fullmatch(words[-1].encode()):
            return names, at, number
        else:
            return words, stop + 1, number + 1
        at, number = stop + 1, number + 1
    return names, 0, 1


def _words(line: bytes) -> list[str]:
    """Split a line at its separators; names may hold blanks where these are commas."""
    text = line.decode("utf-8", "replace").strip()
    mark = next((m for m in ";," if m in text), None)
    return [word.strip(" \t\r\"'") for word in text.split(mark)]


def _without_count(source: Source, rows: Rows) -> Rows:
    """Take off the first line of a .pts file, which holds the number of points."""
    promised = float(rows.values[0])
    if promised != len(rows) - 1:
        raise source.error(
            f"{promised:g} points promised, {len(rows) - 1} rows are there",
            line=int(rows.lines[0]),
            hint="the file is cut off; get it again",
        )
    return rows.part(1, len(rows) - 1)


def write_rows(
    stream: BinaryIO, columns: list[Array], separator: str = " ", row: str | None = None
) -> None:
    """Write columns as text; floats with as many digits as bring back the same bits.

    row : a pattern with one %s for each column, in place of separators.
    """
    shown = [
        "%d" if c.dtype.kind in "biu" else "%.9g" if c.dtype.itemsize <= 4 else "%.17g"
        for c in columns
    ]
    pattern = (row % tuple(shown) if row else separator.join(shown)) + "\n"
    for start in range(0, len(columns[0]), _BLOCK_ROWS):
        lists = [c[start : start + _BLOCK_ROWS].tolist() for c in columns]
        flat = tuple(value for values in zip(*lists, strict=True) for value in values)
        stream.write((pattern * len(lists[0]) % flat).encode("ascii"))


def _write(stream: BinaryIO, data: PointCloud | Mesh, separator: str, mark: str) -> list[str]:
    columns, dropped = to_columns(data)
    flat: dict[str, Array] = {}
    for name, values in columns.items():
        if narrowed(values, ("f8",)) is None:  # numbers of text come back as float64
            dropped.append(name)
        elif values.ndim == 1:
            flat[name] = values
        else:
            flat |= {f"{name}_{k}": part for k, part in enumerate(values.T)}
    if len(flat) > 3 or not mark:
        stream.write((mark + separator.join(flat) + "\n").encode("ascii"))
    write_rows(stream, list(flat.values()), separator)
    return dropped


def write_xyz(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write rows separated by blanks, with a comment of column names if there are attributes."""
    return _write(stream, data, " ", "# ")


def write_csv(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write rows separated by commas below a line of column names."""
    return _write(stream, data, ",", "")


def looks_like_rows(source: Source) -> bool:
    """Tell whether the first row has three numbers or more, perhaps below the names x, y, z."""
    lines = source.head.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n").split(b"\n")
    rows = [row for line in lines if (row := _row_of(line))]
    if b"\0" in source.head or not rows:
        return False
    if len(rows) > 1 and {"x", "y", "z"} <= {word.lower() for word in _words(rows[0])}:
        rows = rows[1:]
    words = re.split(rb"[\s,;]+", rows[0])
    return len(words) >= 3 and all(NUMBER.fullmatch(w) for w in words if w)


FORMATS = [
    Format(
        "xyz",
        (".xyz", ".txt", ".pts", ".asc", ".xyzn", ".xyzrgb"),
        read_text,
        looks_like_rows,
        write=write_xyz,
        about="points as text, all one-column attributes",
    ),
    Format("csv", (".csv",), read_text, write=write_csv, about="points as text with column names"),
]
