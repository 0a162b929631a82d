"""`pcinv benchmark classification` and its like: backbones side by side, trained alike."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.benchmark import VERBS
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.progress import TrialProgress, duration

_DATA = {"classification": "modelnet10", "part_segmentation": "shapes", "normals": "shapes"}
_COLUMNS = ("none", "z", "so3")


def _verb(name: str, task: str) -> click.Command:
    examples = (
        (f"pcinv benchmark {name} --dataset {_DATA[task]} --root DIR -o OUT", "all: a night"),
        (f"pcinv benchmark {name} --backbone parot --seeds 0,1 --epochs 5 --limit 500 -o OUT",
         "one, on the generated shapes; the same command goes on where it was stopped"),
        (f"pcinv benchmark {name} -o OUT --dry-run", "what would be trained, and what is there"),
    )
    decorators: list[Callable[..., Any]] = [
        click.option("--backbone", "backbones", type=params.BACKBONE, multiple=True, metavar="NAME",
                     help="May be repeated.  [default: all that do the task]"),
        click.option("--preset", type=params.PRESET, metavar="light|paper",
                     help="Sizes of the networks.  [default: the first of each]"),
        click.option("--trained", type=params.ROTATION, multiple=True, metavar="none|z|so3",
                     help="How training clouds are turned; may be repeated.  [default: z; so3 as "
                          "well for those that promise nothing, and one that does]"),
        click.option("--seeds", type=params.SEEDS, metavar="N,N,...",
                     help="[default: 0; for the main backbones 0,1,2 where none is named]"),
        click.option("--dataset", type=params.DATASET, metavar="NAME",
                     help="Data set, see pcinv data list.  [default: shapes]"),
        click.option("--root", type=click.Path(), metavar="DIR",
                     help="Folder of your copy of it."),
        click.option("--epochs", type=click.IntRange(1), metavar="N",
                     help="Passes over the data.  [default: 30]"),
        click.option("--limit", type=click.IntRange(2), metavar="N",
                     help="At most so many training clouds, balanced.  [default: all]"),
        click.option("--jobs", type=click.IntRange(1), default=1, metavar="N",
                     help="Trainings at a time, one thread each where it is more than one."),
    ]

    def run(talk: Talk, output: str, dry_run: bool, device: str | None,
            settings: tuple[str, ...], jobs: int, **options: Any) -> Outcome:
        return _run(talk, task, output, dry_run, device, settings, jobs, options)

    function: Callable[..., Any] = run
    function.__doc__ = "Train what is not there yet, and show what the folder holds."
    for decorate in reversed(decorators):
        function = decorate(function)
    return verb(name, VERBS[name][1], examples, device={}, set={}, dry_run={}, output={
        "metavar": "DIR", "required": True,
        "help": "Folder of the trainings; those that it holds are not repeated."})(function)


def _run(talk: Talk, task: str, output: str, dry_run: bool, device: str | None,
         settings: tuple[str, ...], jobs: int, options: dict[str, Any]) -> Outcome:
    from pcinv.engine import trials

    chosen = trials.plan(task, options["backbones"], options["trained"], options["seeds"] or (),
                         options["preset"])
    configs = {trial: trials.config_of(trial, task, settings, **{
        "data.dataset": options["dataset"], "data.root": options["root"],
        "data.limit": options["limit"], "train.epochs": options["epochs"],
        "train.device": device}) for trial in chosen}
    if dry_run:
        return _plan(output, list(configs))
    with TrialProgress(talk) as progress:
        trials.run_trials(configs, output, jobs=jobs, device=device or "auto",
                          callback=progress, watch=progress.watch)
    rows = [row for row in trials.rows_in(output) if row.settings["model.task"] == task]
    result = {"task": task, "table": table(rows, task), "trials": to_plain(rows), "output": output}
    return Outcome(result, lambda t: _show(t, result))


def _plan(output: str, chosen: Sequence[Any]) -> Outcome:
    from pathlib import Path

    from pcinv.engine.trials import read_row

    rows = [{"trial": trial.name, "done": read_row(Path(output) / trial.name) is not None}
            for trial in chosen]
    return Outcome({"trials": rows, "written": False}, lambda t: t.table(
        ("trial", "there"), [(row["trial"], "yes" if row["done"] else "no") for row in rows]))


def table(rows: Iterable[Any], task: str) -> list[dict[str, Any]]:
    """Return a line for each network, way of training and setting: means over its seeds."""
    from pcinv.tasks import get_task

    score = "mean_deg" if task == "normals" else get_task(task).score
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in rows:
        keys = ("data.dataset", "data.limit", "train.epochs", "model.preset")
        groups[row.trial.backbone, row.trial.trained,
               *(row.settings[key] for key in keys)].append(row)
    lines = []
    for (backbone, trained, dataset, limit, epochs, preset), found in groups.items():
        scores = {turned: [row.metrics[turned][score] for row in found] for turned in _COLUMNS}
        lines.append({
            "backbone": backbone, "preset": preset, "symmetry": found[0].symmetry,
            "trained": trained, "dataset": dataset, "limit": limit, "epochs": epochs,
            "seeds": sorted(row.trial.seed for row in found), "score": score,
            "mean": {turned: statistics.fmean(values) for turned, values in scores.items()},
            "each": scores, "num_parameters": found[0].num_parameters,
            "num_samples": found[0].num_samples,
            "train_s": statistics.fmean(row.train_s for row in found)})
    return lines


def _show(talk: Talk, result: dict[str, Any]) -> None:
    rows = result["table"]
    talk.table(("backbone", "symmetry", "trained", "seeds", "tested none", "z", "so3", "seeds, so3",
                "parameters", "training"), [
        (_name(row), row["symmetry"], row["trained"], len(row["seeds"]),
         *(_number(row["mean"][turned], row["score"]) for turned in _COLUMNS),
         " ".join(_number(value, row["score"]) for value in row["each"]["so3"]),
         f"{row['num_parameters'] / 1e6:.2f} M", duration(row["train_s"])) for row in rows])
    for dataset, limit, epochs in dict.fromkeys(
            (row["dataset"], row["limit"], row["epochs"]) for row in rows):
        clouds = "all training clouds" if limit is None else f"at most {limit:,} training clouds"
        talk.result(f"{rows[0]['score']} on {dataset}, {clouds}, {epochs} epochs, "
                    f"{rows[0]['num_samples']:,} test clouds")


def _name(row: dict[str, Any]) -> str:
    return row["backbone"] + (f" {row['preset']}" if row["preset"] else "")


def _number(value: float, score: str) -> str:
    return f"{value:.1f}" if score == "mean_deg" else f"{value:.3f}"


classification = _verb("classification", "classification")
part_segmentation = _verb("part-segmentation", "part_segmentation")
normals = _verb("normals", "normals")
