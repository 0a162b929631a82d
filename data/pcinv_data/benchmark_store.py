"""Results of a benchmark on disk: settings, chosen trials, and one JSON line a trial."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from pcinv.errors import FileFormatError, UsageError
from pcinv_data.benchmark_pair import Row, Settings

SETTINGS, RESULTS = "settings.json", "results.jsonl"
_NEEDED = ("name", "scene", "negative", "consecutive", "overlap", "pose", "truth", "information",
           "source_motion", "target_motion", "verdict", "score", "inlier_ratio", "time_ms", "error")
_SHAPES = {"pose": (4, 4), "truth": (4, 4), "source_motion": (4, 4), "target_motion": (4, 4),
           "information": (6, 6)}
_FIELDS = {field.name for field in dataclasses.fields(Settings)}
_ANEW = "name another folder with --output to begin anew"


def begin(folder: Path, settings: Settings, names: list[str]) -> dict[str, Row]:
    """Make the folder, or go on in it; return the rows that it holds, by name.

    names : of the trials that are asked for now; rows of others are kept, and not scored.

    Raises UsageError where the folder holds results of other settings, FileFormatError where its
    files are damaged, LimitError where it cannot be written.
    """
    from pcinv.engine.files import cannot_write, make_folder, write_atomic

    file, results = folder / SETTINGS, folder / RESULTS
    rows: dict[str, Row] = {}
    if file.is_file():
        _compare(file, read_settings(folder)[0], settings)
        rows = {row["name"]: row for row in read_rows(folder)}
    elif results.exists():
        raise UsageError(f"there are results, but no {SETTINGS} that tells their settings",
                         where=str(folder), hint=_ANEW)
    make_folder(folder)
    plan = {**dataclasses.asdict(settings), "trials": names}
    write_atomic(file, (json.dumps(plan, indent=1) + "\n").encode())
    try:
        if results.exists():
            os.truncate(results, len(_whole_lines(results)))
    except OSError as error:
        raise cannot_write(results, error) from error
    return rows


def check_settings(folder: Path, settings: Settings) -> None:
    """Raise what `begin` would for a folder with results of other settings; change nothing."""
    if (folder / SETTINGS).is_file():
        _compare(folder / SETTINGS, read_settings(folder)[0], settings)


def _compare(file: Path, stored: Settings, asked: Settings) -> None:
    differing = [f"{name} {getattr(stored, name)} there, {getattr(asked, name)} now"
                 for name in sorted(_FIELDS) if getattr(stored, name) != getattr(asked, name)]
    if differing:
        raise UsageError(f"the results there are of other settings: {'; '.join(differing)}",
                         where=str(file), hint=f"use the same settings, or {_ANEW}")


@contextmanager
def appending(folder: Path | None) -> Iterator[TextIO | None]:
    """Open the results to add to them; without a folder nothing is opened."""
    if folder is None:
        yield None
        return
    from pcinv.engine.files import cannot_write

    file = folder / RESULTS
    try:
        stream = file.open("a", encoding="utf-8")
    except OSError as error:
        raise cannot_write(file, error) from error
    with stream:
        yield stream


def append(stream: TextIO, row: Row) -> None:
    """Write a row, so that it is there when the process is ended the next moment."""
    from pcinv.engine.files import cannot_write

    try:
        stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        stream.flush()
    except OSError as error:
        raise cannot_write(Path(stream.name), error) from error


def read_settings(folder: Path) -> tuple[Settings, list[str]]:
    """Return the settings of a run and the names of the trials that were last asked for.

    Raises FileFormatError.
    """
    file = folder / SETTINGS
    try:
        values = json.loads(file.read_text("utf-8"))
        names = values.pop("trials")
        if set(values) != _FIELDS or not all(isinstance(name, str) for name in names):
            raise ValueError("its fields are not those of a benchmark")
        return Settings(**values), list(names)
    except OSError as error:
        raise FileFormatError(f"no results of a benchmark here: {error.strerror}", where=str(file),
                              hint="name the folder that was given as --output") from error
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise FileFormatError(f"the settings cannot be read: {error}", where=str(file),
                              hint=_ANEW) from error


def read_rows(folder: Path) -> list[Row]:
    """Return the rows in the order in which they were written; a last line cut off is left out.

    Raises FileFormatError with file and line for any other damage.
    """
    file = folder / RESULTS
    if not file.is_file():
        return []
    rows = []
    for number, line in enumerate(_whole_lines(file).split(b"\n")[:-1], 1):
        try:
            rows.append(_checked(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise FileFormatError(f"this result cannot be read: {error}",
                                  where=f"{file}:{number}",
                                  hint="remove this line and run again") from error
    return rows


def _checked(row: Any) -> Row:
    missing = [key for key in _NEEDED if key not in row]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    for key, shape in _SHAPES.items():
        if row[key] is not None and np.asarray(row[key], np.float64).shape != shape:
            raise ValueError(f"{key} is not a matrix {shape}")
    for key in ("overlap", "score", "inlier_ratio", "time_ms"):
        if row[key] is not None and not isinstance(row[key], int | float):
            raise ValueError(f"{key} is no number")
    if not isinstance(row["name"], str) or not isinstance(row["scene"], str):
        raise ValueError("name and scene must be texts")
    checked: Row = row
    return checked


def _whole_lines(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FileFormatError(f"the results cannot be read: {error.strerror}", where=str(file),
                              hint=_ANEW) from error
    return data[: data.rfind(b"\n") + 1]


def is_done(row: Row | None) -> bool:
    """Return whether a trial has its answer; those that ended with an error are tried again."""
    return row is not None and row["error"] is None

