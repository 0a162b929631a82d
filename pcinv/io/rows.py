"""Rows of numbers in text: parsed in blocks at C speed, with the exact line of each fault."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcinv import limits
from pcinv.io.source import Source

_BLOCK_BYTES = 2**22
NUMBER = re.compile(
    rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE
)
_COMMENT = re.compile(rb"(#|//)[^\n]*")
_TOKEN, _BLANK, _NEWLINE = 0, 1, 2
_KIND = np.zeros(256, np.uint8)
_KIND[[9, 11, 12, 13, 32]] = _BLANK
_KIND[10] = _NEWLINE


@dataclass(frozen=True)
class Rows:
    """Numbers of the lines that have any.

    values : (T,) float64, all lines one after the other.
    counts : (R,) numbers of each line.  lines : (R,) its number in the file, from 1.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def starts(self) -> NDArray[np.int64]:
        """(R,) place of each line's first number in `values`."""
        return np.cumsum(self.counts) - self.counts

    def part(self, first: int, count: int) -> Rows:
        """Return the rows first, ..., first + count - 1."""
        counts = self.counts[first : first + count]
        start = int(self.counts[:first].sum())
        return Rows(
            self.values[start : start + int(counts.sum())],
            counts,
            self.lines[first : first + count],
        )

    def table(self, source: Source, columns: int | None = None) -> NDArray[np.float64]:
        """Return the rows as (R, columns); raise on the first row of another length."""
        if not len(self):
            raise source.error("no rows of numbers")
        width = int(self.counts[0]) if columns is None else columns
        odd = np.flatnonzero(self.counts != width)
        if len(odd):
            row = int(odd[0])
            raise source.error(
                f"row of {self.counts[row]} numbers, expected {width}",
                line=int(self.lines[row]),
                hint="every row needs the same number of columns",
            )
        return self.values.reshape(len(self), width)


def scan_rows(source: Source, text: bytes, first_line: int = 1, delimiter: bytes = b"") -> Rows:
    """Parse all numbers of `text`, the part of the file that begins at line `first_line`.

    Comments from # or // to the end of the line and blank lines are skipped. `delimiter` is a
    comma, a semicolon, or empty for white space.

    Raises
    ------
    FileFormatError : a word, an empty field or an over-long line, with the number of its line.
    """
    values, counts, lines = [], [], []
    for block in _blocks(source, text, first_line):
        if b"#" in block or b"//" in block:
            block = _COMMENT.sub(b"", block)
        found = _scan_block(source, block, first_line, delimiter)
        values.append(found.values)
        counts.append(found.counts)
        lines.append(found.lines)
        first_line += block.count(b"\n")
    if not values:
        return Rows(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Rows(np.concatenate(values), np.concatenate(counts), np.concatenate(lines))


def _blocks(source: Source, text: bytes, line: int) -> Iterator[bytes]:
    """Cut the text behind line ends into blocks of bounded size."""
    start = 0
    while start < len(text):
        end = start + _BLOCK_BYTES
        if end < len(text):
            end = text.rfind(b"\n", start, end) + 1
            if end <= start:
                raise _long_line(source, line + text.count(b"\n", 0, start))
        yield text[start:end]
        start = end


def _long_line(source: Source, line: int) -> Exception:
    return source.error(
        f"line longer than MAX_LINE_BYTES = {limits.MAX_LINE_BYTES}",
        line=line,
        hint="write one point a line",
    )


def _scan_block(source: Source, block: bytes, first_line: int, delimiter: bytes) -> Rows:
    codes = np.frombuffer(block, np.uint8)
    kind = _KIND[codes]
    if delimiter:
        kind[codes == ord(delimiter)] = _BLANK
    ends = np.append(np.flatnonzero(kind == _NEWLINE), len(codes))
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.max() > limits.MAX_LINE_BYTES:
        raise _long_line(source, first_line + int(lengths.argmax()))
    is_start = kind == _TOKEN
    is_start[1:] &= kind[:-1] != _TOKEN
    tokens = np.flatnonzero(is_start)
    counts = np.diff(np.searchsorted(tokens, ends), prepend=0)
    if delimiter:
        _check_marks(
            source, np.flatnonzero(codes == ord(delimiter)), tokens, ends, counts, first_line
        )
    plain = block.replace(delimiter, b" ") if delimiter else block
    kept = np.flatnonzero(counts)
    return Rows(_parse(source, plain, len(tokens), first_line), counts[kept], first_line + kept)


def _check_marks(
    source: Source,
    marks: NDArray[np.int64],
    tokens: NDArray[np.int64],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
    first_line: int,
) -> None:
    """Raise unless a separator stands between two numbers; one may follow the last."""
    upto = np.searchsorted(marks, ends)
    found = np.diff(upto, prepend=0)
    last_mark = np.append(marks, -1)[upto - 1]
    last_token = np.append(tokens, -1)[np.cumsum(counts) - 1]
    good = (found == counts - 1) | ((found == counts) & (last_mark > last_token))
    wrong = np.flatnonzero((counts > 0) & ~good)
    if len(wrong):
        raise source.error(
            f"{counts[wrong[0]]} numbers and {found[wrong[0]]} separators do not go together",
            line=first_line + int(wrong[0]),
            hint="fill in or remove the empty field",
        )


def _parse(source: Source, plain: bytes, expected: int, first_line: int) -> NDArray[np.float64]:
    if not expected:
        return np.zeros(0)
    try:
        with warnings.catch_warnings():
            # numpy before 2.4 only warns about what it cannot read
            warnings.simplefilter("error", DeprecationWarning)
            values = np.fromstring(plain, dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        values = np.zeros(0)
    if len(values) == expected and b"(" not in plain:  # nan(...) is a number to C
        return values
    for number, line in enumerate(plain.split(b"\n"), first_line):
        for token in line.split():
            if not NUMBER.fullmatch(token):
                word = token[:40].decode("utf-8", "replace")
                raise source.error(
                    f"'{word}' is not a number",
                    line=number,
                    hint="rows hold numbers only; start comments with #",
                )
    raise source.error("numbers that cannot be told apart", line=first_line)
