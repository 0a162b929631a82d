"""Registered pairs on disk: one JSON line a pair, whole or not there, so that a run can go on."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pcinv.errors import FileFormatError, LimitError, UsageError
from pcinv.io.writing import replacing
from pcinv.registration.pair_list import Pair

PAIRS = "pairs.jsonl"
Row = dict[str, Any]
_ANEW = "another folder with --output, or --force to do all pairs again"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the answers, beside the clouds; see `pcinv.register`."""

    method: str
    view_point: str | list[float]
    voxel: float | None
    fast: bool
    seed: int
    version: str
    weights: str | None = None


def read_rows(file: Path) -> dict[Pair, Row]:
    """Return the last row of each pair; what is left of a line that was cut off is removed.

    Raises FileFormatError with file and line for any other damage.
    """
    if not file.exists():
        return {}
    try:
        data = file.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(file, len(whole))
    except OSError as error:
        raise _unusable(file, error) from error
    rows = {}
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
            rows[Pair(row["source"], row["target"], row["init"])] = row
            row["settings"], row["files"], row["verdict"], row["error"]
        except (ValueError, TypeError, KeyError) as error:
            raise FileFormatError(f"this line is no registered pair: {error}",
                                  where=f"{file}:{number}",
                                  hint=f"remove this line, or name {_ANEW}") from error
    return rows


def check_settings(file: Path, rows: Mapping[Pair, Row], settings: Settings) -> None:
    """Raise UsageError where rows were made with other settings: they cannot stand together."""
    asked = dataclasses.asdict(settings)
    for row in rows.values():
        there = row["settings"]
        differing = [f"{key} {there.get(key)} there, {value} now" for key, value in asked.items()
                     if there.get(key) != value]
        if differing:
            raise UsageError(f"the pairs there have other settings: {'; '.join(differing)}",
                             where=str(file), hint=f"the same settings, {_ANEW}")


def append(file: Path, row: Row) -> None:
    """Add a line by one write, and wait until the disk has it.

    Raises LimitError where it cannot be written; then nothing of it is left.
    """
    line = (json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n").encode()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(handle).st_size
            if os.write(handle, line) < len(line):
                os.ftruncate(handle, before)
                raise LimitError("the disk is full", where=str(file),
                                 hint="free some space; the same command goes on")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unusable(file, error) from error


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file aside and put it in its place."""
    text = json.dumps(plain(content), ensure_ascii=False, allow_nan=False, indent=1)
    with replacing(file, force=True) as stream:
        stream.write((text + "\n").encode())


def make_folder(folder: Path) -> None:
    """Make the folder of the output. Raises LimitError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NaN and infinity as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _unusable(path: Path, error: OSError) -> LimitError:
    return LimitError(f"cannot be written: {error.strerror or error}", where=str(path),
                      hint="another folder with --output")
