"""The typed errors of pcinv: what went wrong, where, and what to do about it.

Every error that a user can cause derives from `PcinvError`, carries the three parts that the
console prints, and names the console's exit code. The table of codes is `EXIT_CODES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "ran, but a gate failed or the answer is not to be trusted",
    2: "usage: unknown verb, option, name or configuration key",
    3: "bad input file or data",
    4: "missing optional package or device",
    5: "checkpoint or configuration does not match",
    6: "non-finite numbers",
    7: "resource limit: memory, size or disk",
    8: "network or checksum",
    70: "internal error, with a report",
    130: "interrupted, state saved",
}


class PcinvError(Exception):
    """Base of all errors that pcinv raises on purpose.

    Parameters
    ----------
    message : what is wrong, with the offending value.
    where : the file (with line or byte), argument or key at fault.
    hint : what to do; a command where there is one.
    """

    exit_code = 70
    code = "internal"

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message]
        if self.where:
            parts.append(f"(where: {self.where})")
        if self.hint:
            parts.append(f"(try: {self.hint})")
        return " ".join(parts)

    def __reduce__(self) -> tuple[Callable[..., PcinvError], tuple[object, ...]]:
        # keyword-only parts must survive worker processes
        return _rebuild, (type(self), self.message, self.where, self.hint)


def _rebuild(
    kind: type[PcinvError], message: str, where: str | None, hint: str | None
) -> PcinvError:
    return kind(message, where=where, hint=hint)


class UsageError(PcinvError):
    """A verb, option, name or key that does not exist, or values that exclude each other."""

    exit_code = 2
    code = "usage"


class UnknownNameError(UsageError):
    """A name that is not in its table; the hint holds the nearest valid ones."""

    code = "unknown-name"


class ConfigError(UsageError):
    """A configuration key or value that is not valid."""

    code = "config"


class InputError(PcinvError):
    """Data that cannot be worked on: wrong shape, not finite, too few points."""

    exit_code = 3
    code = "input"


class ShapeError(InputError):
    """An array of the wrong shape or type."""

    code = "shape"


class FileFormatError(InputError):
    """A file that is damaged, or not what its header or suffix says."""

    code = "file"


class DatasetError(InputError):
    """A folder that is not the data set, or a data set that lacks what was asked for."""

    code = "dataset"


class DependencyError(PcinvError):
    """An optional package that is not installed."""

    exit_code = 4
    code = "dependency"


class DeviceError(PcinvError):
    """A device that is not there."""

    exit_code = 4
    code = "device"


class CheckpointError(PcinvError):
    """A checkpoint that is damaged, or belongs to another backbone or configuration."""

    exit_code = 5
    code = "checkpoint"


class NonFiniteError(PcinvError):
    """A loss, gradient or output that is not finite."""

    exit_code = 6
    code = "non-finite"


class LimitError(PcinvError):
    """A ceiling of `pcinv.limits`, memory or disk space that would be exceeded."""

    exit_code = 7
    code = "limit"


class NetworkError(PcinvError):
    """A download that failed or whose checksum is wrong."""

    exit_code = 8
    code = "network"


class Interrupted(PcinvError):
    """Training stopped by a signal after its state was saved."""

    exit_code = 130
    code = "interrupted"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the valid names that look most like `name`, best first."""
    known = sorted(known)
    found = difflib.get_close_matches(name, known, n=count, cutoff=0.5)
    return found or [k for k in known if name and (name in k or k in name)][:count]


def unknown_name(
    kind: str, name: str, known: Iterable[str], where: str | None = None
) -> UnknownNameError:
    """Build the error for a `name` that is not among the `known` ones of this `kind`."""
    known = sorted(known)
    near = nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"one of: {', '.join(known)}"
    return UnknownNameError(f"unknown {kind} '{name}'", where=where or kind, hint=hint)
