"""A folder of trials: a run for each, and beside its checkpoints what was measured of it.

What is measured is not repeated, what was interrupted goes on, and what has other settings is
refused; so a folder is the table of a comparison.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pcinv.engine import runs
from pcinv.engine.config import Config, differing, flatten, to_tree
from pcinv.engine.files import write_atomic
from pcinv.engine.progress import Tick
from pcinv.engine.tracking import read_lines
from pcinv.engine.trainer import Run, train
from pcinv.errors import CheckpointError, UsageError

MEASURED = "measured.json"
_FREE = ("data.root", "train.device", "train.workers", "train.keep_checkpoints", "model.init")
"""Settings that may differ: where things are, and on what they are computed."""


class Named(Protocol):
    """A trial. name : of its folder."""

    @property
    def name(self) -> str: ...


class Measured(Protocol):
    """A row of a table. settings : dotted key -> value of the configuration."""

    @property
    def settings(self) -> dict[str, Any]: ...


Trial = TypeVar("Trial", bound=Named)
Row = TypeVar("Row", bound=Measured)
MakeRow = Callable[[dict[str, Any]], Row]


def held(configs: Mapping[Trial, Config], folder: Path, make: MakeRow[Row]) -> dict[Trial, Row]:
    """Return the rows of the trials that a folder holds already.

    make : makes a row of its fields.

    Raises UsageError where one has other settings, CheckpointError for a file that is not whole.
    """
    found = {}
    for trial, config in configs.items():
        row = read_row(folder / trial.name, make)
        if row is not None:
            _check_same(config, row.settings, folder / trial.name)
            found[trial] = row
    return found


def rows_in(output: str | Path, make: MakeRow[Row]) -> Iterator[Row]:
    """Yield the rows of all trials that a folder holds, by name."""
    for file in sorted(Path(output).glob(f"*/{MEASURED}")):
        row = read_row(file.parent, make)
        if row is not None:
            yield row


def read_row(run: Path, make: MakeRow[Row]) -> Row | None:
    """Return what was measured of the trial in this folder, None where nothing was.

    Raises CheckpointError for a file that is not whole.
    """
    file = run / MEASURED
    if not file.is_file():
        return None
    try:
        return make(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"not what was measured of a trial: {error}", where=str(file),
                              hint="remove this file, and the trial is measured again") from error


def write_row(run: Path, row: Any) -> None:
    """Keep a row, a dataclass, beside the run that it is of."""
    write_atomic(run / MEASURED, (json.dumps(asdict(row), indent=1) + "\n").encode())


def train_in(run: Path, config: Config, callback: Callable[[Tick], None] | None) -> Run:
    """Train into a folder, or go on with what was begun there.

    Raises UsageError where it was begun with other settings, else as `train`.
    """
    if not (run / runs.CONFIG).is_file():
        return train(config, output=run, callback=callback)
    _check_same(config, flatten(to_tree(runs.open_run(run)[1])), run)
    return train(resume=run, callback=callback)


def seconds(run: Path) -> float:
    """Return how long all epochs of a run took."""
    total: float = sum(line["time_s"] for line in read_lines(run / runs.METRICS))
    return round(total, 3)


def _check_same(config: Config, settings: dict[str, Any], run: Path) -> None:
    mine, there = (
        {key: value for key, value in values.items() if key not in _FREE}
        # keys that came later have their defaults
        for values in (flatten(to_tree(config)), flatten(to_tree(Config())) | settings))
    lines = differing(mine, there)
    if lines:
        raise UsageError(f"'{run}' is a trial with other settings: {'; '.join(lines[:3])}",
                         where="output", hint="choose another folder, or the settings it has")
