"""Metrics as JSON Lines: one object an epoch, complete lines only."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from pcinv.engine.files import cannot_write
from pcinv.errors import FileFormatError


class JsonLines:
    """Append objects to a file; a resumed run first cuts it back to its checkpoint's position."""

    def __init__(self, path: Path, position: int | None = None) -> None:
        """Open `path`; keep its first `position` bytes, or all of it where None."""
        self.path = path
        try:
            self._stream = path.open("ab", buffering=0)
            if position is not None and position < self.position:
                self._stream.truncate(position)
        except OSError as error:
            raise cannot_write(path, error) from error

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._stream.seek(0, os.SEEK_END)

    def write(self, record: dict[str, Any]) -> None:
        """Append one object as one line and hand it to the system at once."""
        try:
            line = json.dumps(record, allow_nan=False).encode() + b"\n"
            if self._stream.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON Lines file; a last line without its end is left out."""
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise FileFormatError(f"line is not JSON: {error}", where=f"{path}:{number}",
                                  hint="remove the line") from error
    return records

