"""From an exception to an exit code and three lines: what, where, what to do."""

from __future__ import annotations

import dataclasses
import errno
import os
import platform
import sys
import tempfile
import traceback
from typing import Any

import click

from pcinv import __version__
from pcinv.errors import PcinvError


@dataclasses.dataclass(frozen=True)
class Failure:
    """What a person is told when a verb fails; `exit_code` is a key of EXIT_CODES."""

    exit_code: int
    code: str
    message: str
    where: str | None = None
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the `error` field of the JSON object."""
        return {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}


def failure_of(error: BaseException) -> Failure:
    """Return what is to be said of `error`; an unknown kind is written to a report file."""
    if isinstance(error, PcinvError):
        return Failure(error.exit_code, error.code, error.message, error.where, error.hint)
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Failure(130, "interrupted", "interrupted", None, None)
    if isinstance(error, MemoryError) or _is_torch_memory(error):
        return Failure(7, "limit", f"out of memory ({_first_line(error)})", "memory",
                       "a smaller batch (--set train.batch_size=8) or fewer points")
    if isinstance(error, OSError) and error.errno is not None:
        return _system(error)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("pcinv"):
        return Failure(4, "dependency", f"the package {error.name} is not installed", error.name,
                       "pcinv doctor names the command that adds it")
    report = write_report(error)
    return Failure(70, "internal", f"{type(error).__name__}: {_first_line(error)}",
                   f"report: {report}" if report else None,
                   "send the report to the maintainers, or add --debug to see the traceback")


def _usage(error: click.ClickException) -> Failure:
    ctx = getattr(error, "ctx", None)
    where = ctx.command_path if ctx else "pcinv"
    hint = f"{where} --help"
    near = getattr(error, "possibilities", None)
    if near:
        hint = f"did you mean {' or '.join(sorted(near))}?"
    message = error.message if near else error.format_message()
    return Failure(2, "usage", message.splitlines()[0], where, hint)


def _system(error: OSError) -> Failure:
    where = str(error.filename) if error.filename is not None else None
    said = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure(7, "limit", said, where or "standard output",
                       "free some space, or choose another place with -o")
    if error.errno == errno.ENOMEM:
        return Failure(7, "limit", said, where, "close other programs, or use a smaller batch")
    hints = {errno.ENOENT: "check the spelling of the path", errno.EISDIR: "name a file",
             errno.EEXIST: "add --force to overwrite", errno.EACCES: "check its permissions",
             errno.ENOTDIR: "name a folder"}
    return Failure(3, "file", said, where, hints.get(error.errno or 0, "check the path"))


def _is_torch_memory(error: BaseException) -> bool:
    if type(error).__name__ in ("OutOfMemoryError", "_ArrayMemoryError"):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def write_report(error: BaseException) -> str | None:
    """Write the traceback, versions and arguments to a private file; return its path."""
    try:
        handle, path = tempfile.mkstemp(prefix="pcinv-report-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"pcinv {__version__}, python {platform.python_version()}, "
                       f"{platform.platform()}\narguments: {sys.argv[1:]}\n\n")
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path
