"""An input file: its bytes, its size, and errors that name it."""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pcinv import limits
from pcinv.errors import FileFormatError, LimitError

HEAD_BYTES = 4096


class FormatWarning(UserWarning):
    """A file was read or written, but not everything in it as it stands."""


@dataclass(frozen=True)
class Source:
    """A regular, readable, non-empty file below the ceiling on file size."""

    path: Path
    size: int
    head: bytes

    @cached_property
    def data(self) -> bytes:
        """The whole content."""
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(content) != self.size:
            raise self.error(
                f"the file changed from {self.size} to {len(content)} bytes while it was read",
                hint="wait until the program that writes it is done",
            )
        return content

    def error(
        self,
        message: str,
        *,
        line: int | None = None,
        byte: int | None = None,
        hint: str | None = None,
    ) -> FileFormatError:
        """Return the error that names this file, with the line or byte at fault."""
        where = str(self.path)
        if line is not None:
            where += f":{line}"
        if byte is not None:
            where += f" (byte {byte})"
        return FileFormatError(
            message, where=where, hint=hint or "export or download the file again"
        )

    def warn(self, message: str) -> None:
        """Warn about this file."""
        warnings.warn(f"{self.path}: {message}", FormatWarning, stacklevel=2)

    def check_count(self, count: int, what: str) -> None:
        """Raise when a header promises a negative number of things, or more than pcinv takes."""
        if count < 0:
            raise self.error(f"the header promises {count} {what}")
        if count > limits.MAX_POINTS:
            raise LimitError(
                f"{count} {what} exceed MAX_POINTS = {limits.MAX_POINTS}",
                where=str(self.path),
                hint="split or thin the cloud first",
            )

    def check_room(self, needed: int, available: int, what: str) -> None:
        """Raise when `what` needs more bytes than the file holds, before anything is allocated."""
        if needed > available:
            raise self.error(
                f"the header promises {what} ({needed} bytes at least), the file holds {available}",
                byte=self.size,
                hint="the file is cut off or its header is wrong; get it again",
            )


def open_source(path: str | os.PathLike[str]) -> Source:
    """Look at a file: it must be regular, readable, not empty and not compressed.

    Raises
    ------
    FileFormatError : the file is missing, a folder, a device, unreadable, empty or gzip'd.
    LimitError : it is larger than MAX_FILE_BYTES.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileFormatError(
                "this is a folder, not a file",
                where=str(path),
                hint="name the files in it, for example with a * pattern",
            )
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(
                "this is a pipe or device, not a regular file",
                where=str(path),
                hint="save it to a file first",
            )
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not status.st_size or not head:
        raise FileFormatError(
            "the file is empty", where=str(path), hint="export or download it again"
        )
    if status.st_size > limits.MAX_FILE_BYTES:
        raise LimitError(
            f"{status.st_size} bytes exceed MAX_FILE_BYTES = {limits.MAX_FILE_BYTES}",
            where=str(path),
            hint="split the file",
        )
    if head.startswith(b"\x1f\x8b"):
        raise FileFormatError(
            "the file is compressed by gzip",
            where=str(path),
            hint=f"unpack it first: gunzip -k -S {path.suffix or '.gz'} {path.name}",
        )
    return Source(path, status.st_size, head)


def unreadable(path: Path, error: OSError | ValueError) -> FileFormatError:
    """Return the error for a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        return FileFormatError(
            "no such file", where=str(path), hint="check the spelling and the folder"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return FileFormatError(
        f"the file cannot be read: {reason}", where=str(path), hint="check its permissions"
    )
