"""Runs side by side: what they learned, what was set differently, what rotations do to them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.engine.config import Config, flatten, to_tree
from pcinv.engine.evaluator import Evaluation, evaluate
from pcinv.engine.loading import load_model
from pcinv.engine.runs import METRICS, open_run
from pcinv.errors import FileFormatError, InputError
from pcinv.geometry.transforms import ROTATION_KINDS
from pcinv.tasks import get_task
from pcinv.vis import plots
from pcinv.vis.report import Report, readable

Line = dict[str, Any]


@dataclass(frozen=True)
class RunLog:
    """What a run folder tells.

    name : of the folder, longer where two have the same.
    lines : of metrics.jsonl, one an epoch.
    score : name of the metric by which the best epoch is chosen.
    notes : what could not be read, or is not there yet.
    """

    name: str
    path: Path
    config: Config
    lines: list[Line]
    score: str
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Line | None:
        """Return the line of the best epoch, by the rule of training; None before the first."""
        key = f"val_{self.score}" if any(f"val_{self.score}" in line for line in self.lines) else ""
        if not key:
            return self.lines[-1] if self.lines else None
        return max(self.lines, key=lambda line: (_number(line, key), -_number(
            line, "val_loss" if "val_loss" in line else "loss")))


@dataclass(frozen=True)
class Comparison:
    """Runs, what differs between them, and how they fare under rotations.

    differing : configuration key -> the value in each run, as text.
    evaluations : name of a run -> rotation -> what was measured.
    """

    runs: list[RunLog]
    differing: dict[str, list[str]]
    evaluations: dict[str, dict[str, Evaluation]] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """Return what a person has to be told."""
        return [note for run in self.runs for note in run.notes]


def compare_runs(folders: Sequence[str | Path], *, measured: bool = False, limit: int | None = None,
                 device: str = "auto", seed: int = 0) -> Comparison:
    """Read runs of `pcinv train`, those in progress too.

    measured : evaluate each on its own data under each rotation as well, on at most `limit` clouds.

    Raises CheckpointError for a folder that is no run, FileFormatError for damaged metrics,
    InputError where there is nothing to show yet; what `evaluate` raises.
    """
    runs = [_read(Path(folder), name)
            for folder, name in zip(folders, unique_names(folders), strict=True)]
    if not any(run.lines for run in runs) and not measured:
        raise InputError("no epoch is finished yet", where=", ".join(str(run.path) for run in runs),
                         hint="wait for the first epoch")
    trees = [{key: readable(value) for key, value in flatten(to_tree(run.config)).items()}
             for run in runs]
    keys = dict.fromkeys(key for tree in trees for key in tree)
    differing = {key: [tree.get(key, "-") for tree in trees] for key in keys
                 if len({tree.get(key) for tree in trees}) > 1}
    evaluations: dict[str, dict[str, Evaluation]] = {}
    if measured:
        for k, run in enumerate(runs):
            if run.config.model.task == "matching":
                note = (f"{run.name}: pairs are matched, not clouds; pcinv benchmark registration "
                        "measures that")
                runs[k] = RunLog(**{**vars(run), "notes": (*run.notes, note)})
                continue
            loaded = load_model(run.path)
            evaluations[run.name] = {
                rotation: evaluate(loaded, rotation=rotation, limit=limit, device=device, seed=seed)
                for rotation in ROTATION_KINDS}
    return Comparison(runs, differing, evaluations)


def unique_names(folders: Sequence[str | Path]) -> list[str]:
    """Return a short name for each folder, with as much of its path as tells it from the others."""
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    names = [path[-1] for path in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        doubled = {name for name in names if names.count(name) > 1}
        names = [os.path.join(*path[-depth:]) if name in doubled else name
                 for name, path in zip(names, parts, strict=True)]
    return [f"{name} ({names[:k].count(name) + 1})" if name in names[:k] else name
            for k, name in enumerate(names)]


def _read(folder: Path, name: str) -> RunLog:
    run, config = open_run(folder)
    lines, note = (read_metrics(run / METRICS) if (run / METRICS).is_file()
                   else ([], "no epoch is finished yet"))
    return RunLog(name, run, config, lines, get_task(config.model.task).score,
                  () if note is None else (f"{name}: {note}",))


def read_metrics(path: Path) -> tuple[list[Line], str | None]:
    """Return the lines of a metrics.jsonl, and a note if the last one was left out.

    The last line of a run in progress may be half written. Raises FileFormatError for any other
    line that is no JSON object.
    """
    try:
        rows = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FileFormatError(f"the metrics cannot be read: {error.strerror}", where=str(path),
                              hint="check the permissions of the run folder") from error
    whole, rest = rows[:-1], rows[-1]
    lines, left_out = [], bool(rest.strip())
    for number, row in enumerate(whole, 1):
        try:
            line = json.loads(row)
            if not isinstance(line, dict):
                raise ValueError("no object")
        except ValueError as error:
            if number == len(whole) and not left_out:
                left_out = True
                break
            raise FileFormatError(f"line is not a JSON object: {error}", where=f"{path}:{number}",
                                  hint="remove the line") from error
        lines.append(line)
    if left_out:
        return lines, "the last line of metrics.jsonl is cut off and left out"
    return lines, None if lines else "no epoch is finished yet"


def curves(found: Comparison) -> Any:
    """Return the figure of all runs over their epochs, with bars by rotation if measured."""
    shown = {run.name: run.lines for run in found.runs}
    scores = _by_rotation(found)
    return plots.learning_curves(shown, scores or None, _score(found) if scores else "")


def comparison_report(found: Comparison, *, command: str = "") -> Report:
    """Return the page of a comparison: curves, tables, and what was measured."""
    page = Report(" and ".join(run.name for run in found.runs) if len(found.runs) < 3
                  else f"{len(found.runs)} runs")
    if command:
        page.code(command)
    for note in found.notes:
        page.text(note)
    page.table(HEADERS, table_rows(found))
    if any(run.name != str(run.path) for run in found.runs):
        page.facts({run.name: str(run.path) for run in found.runs})
    page.heading("Learning")
    page.figure(curves(found))
    if len(found.runs) > 1:
        page.heading("Settings that differ")
        if found.differing:
            page.table(("setting", *(run.name for run in found.runs)),
                       [(key, *values) for key, values in found.differing.items()])
        else:
            page.text("None.")
    if not found.evaluations:
        return page
    page.heading("Under rotations")
    page.text("Each run on the test split of its own data: clouds as they are, turned about z, and "
              "turned in any way.")
    page.table(EVALUATION_HEADERS, evaluation_rows(found))
    worst = {name: rows["so3"] for name, rows in found.evaluations.items()}
    page.heading("Classes, turned in any way")
    page.figure(plots.by_class({name: each.per_class for name, each in worst.items()},
                               "accuracy, or mean IoU of parts"))
    for name, each in worst.items():
        if each.confusion is not None:
            page.heading(f"What {name} takes for what, turned in any way")
            classes = load_model(each.weights).meta.labels.class_names
            page.figure(plots.confusion(np.asarray(each.confusion), classes))
    return page


HEADERS = ("run", "backbone", "data set", "epochs", "best epoch", "metric", "best", "last", "loss",
           "minutes")
EVALUATION_HEADERS = ("run", "rotation", "clouds", "metric", "value", "loss")


def table_rows(found: Comparison) -> list[tuple[Any, ...]]:
    """Return a row for each run, in the order of `HEADERS`; None for what is not there."""
    rows: list[tuple[Any, ...]] = []
    for run in found.runs:
        best, last = run.best or {}, run.lines[-1] if run.lines else {}
        key = f"val_{run.score}" if f"val_{run.score}" in best else run.score
        minutes = sum(_number(line, "time_s", 0.0) for line in run.lines) / 60
        rows.append((run.name, run.config.model.backbone, run.config.data.dataset,
                     f"{len(run.lines)} of {run.config.train.epochs}", best.get("epoch"), key,
                     _four(best.get(key)), _four(last.get(key)),
                     _four(best.get("val_loss", best.get("loss"))), f"{minutes:.1f}"))
    return rows


def evaluation_rows(found: Comparison) -> list[tuple[Any, ...]]:
    """Return a row for each run and rotation, in the order of `EVALUATION_HEADERS`."""
    scores = {run.name: run.score for run in found.runs}
    return [(name, rotation, each.num_samples, scores[name], _four(each.metrics[scores[name]]),
             _four(each.metrics["loss"]))
            for name, rows in found.evaluations.items() for rotation, each in rows.items()]


def as_fields(found: Comparison) -> dict[str, Any]:
    """Return the comparison as plain values for programs."""
    return {
        "runs": [{"run": str(run.path), "name": run.name, "backbone": run.config.model.backbone,
                  "task": run.config.model.task, "dataset": run.config.data.dataset,
                  "epochs": len(run.lines), "epochs_planned": run.config.train.epochs,
                  "score": run.score, "best": run.best,
                  "last": run.lines[-1] if run.lines else None, "notes": list(run.notes)}
                 for run in found.runs],
        "differing": found.differing,
        "evaluations": {name: {rotation: asdict(each) for rotation, each in rows.items()}
                        for name, rows in found.evaluations.items()},
    }


def _by_rotation(found: Comparison) -> dict[str, dict[str, float]]:
    scores = {run.name: run.score for run in found.runs}
    return {name: {rotation: each.metrics[scores[name]] for rotation, each in rows.items()}
            for name, rows in found.evaluations.items()}


def _score(found: Comparison) -> str:
    names = {run.score for run in found.runs if run.name in found.evaluations}
    return names.pop() if len(names) == 1 else "score"


def _number(line: Line, key: str, missing: float = float("-inf")) -> float:
    value = line.get(key)
    return float(value) if isinstance(value, int | float) else missing


def _four(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
