"""`pcinv benchmark pretraining`: what a pretrained LiDAR backbone is worth, by share of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.benchmark import VERBS
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.progress import TrialProgress, duration

_SCORES = {"probe": ("miou_present",), "segmentation": ("miou_present",),
           "detection": ("map", "ap_bev", "ap_3d")}


def _names(kind: str) -> params.Name:
    def known() -> Any:
        from pcinv.engine import pretraining_trials

        return pretraining_trials.TASKS if kind == "task" else pretraining_trials.STARTS

    return params.Name(kind, known)


@verb("pretraining", VERBS["pretraining"][1], (
    ("pcinv benchmark pretraining -o OUT", "on generated streets, all of it: a night on two cores"),
    ("pcinv benchmark pretraining -o OUT --task probe", "the linear probe alone: half an hour"),
    ("pcinv benchmark pretraining -o OUT --task detection --fractions 0.05,1 --epochs 4",
     "a part; the same command goes on where it was stopped"),
), device={}, seed={"default": 0}, set={}, dry_run={}, output={
    "metavar": "DIR", "required": True,
    "help": "Folder of the trainings; those that it holds are not repeated."})
@click.option("--task", "tasks", type=_names("task"), multiple=True, metavar="NAME",
              help="probe, segmentation, detection; may be repeated.  [default: all]")
@click.option("--start", "starts", type=_names("start"), multiple=True, metavar="NAME",
              help="scratch, contrast, rotation, flow, contrast-rotation, contrast-flow, all; may "
              "be repeated.  [default: scratch, contrast, all]")
@click.option("--fractions", type=params.Shares(), metavar="X,X,...",
              help="Shares of the labels.  [default: 0.01,0.05,0.2,1]")
@click.option("--dataset", type=params.SCANS, metavar="NAME",
              help="lidar_sim, or a layout of --root.  [default: lidar_sim, generated]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--epochs", type=click.IntRange(1), default=8, metavar="N",
              help="Of a training with labels.")
@click.option("--pretrain-epochs", type=click.IntRange(1), default=8, metavar="N",
              help="Of a pretraining.")
def command(talk: Talk, output: str, dry_run: bool, device: str | None, seed: int,
            settings: tuple[str, ...], tasks: tuple[str, ...], starts: tuple[str, ...],
            fractions: tuple[float, ...] | None, **options: Any) -> Outcome:
    """Train what is not there yet, and show what the folder holds."""
    from pcinv.engine import pretraining_trials as trials

    chosen = trials.plan(tasks, starts, fractions or ())
    flags = {"data.dataset": options.pop("dataset"), "data.root": options.pop("root"),
             "train.device": device, "seed": seed}
    configs = {trial: trials.config_of(trial, output, settings, **options, **flags)
               for trial in chosen}
    if dry_run:
        rows = [{"trial": trial.name,
                 "done": trials.read_row(Path(output) / trial.name) is not None}
                for trial in chosen]
        return Outcome({"trials": rows, "written": False}, lambda t: t.table(
            ("trial", "there"), [(row["trial"], "yes" if row["done"] else "no") for row in rows]))
    with _Progress(talk) as progress:
        trials.run_trials(configs, output, device=device or "auto", callback=progress,
                          watch=progress.watch)
    found = trials.rows_in(output)
    result = {"table": table(found), "trials": to_plain(found), "output": output}
    return Outcome(result, lambda t: _show(t, result))


class _Progress(TrialProgress):
    def tell(self, row: Any) -> str:
        """Return what a trial reached."""
        name, value = next(iter(row.metrics.items()))
        return f"{name} {value:.3f}"


def table(rows: list[Any]) -> list[dict[str, Any]]:
    """Return a line for each task and share of labels: the scores of all starts."""
    lines: dict[tuple[str, float], dict[str, Any]] = {}
    for row in rows:
        if row.trial.task in _SCORES:
            line = lines.setdefault((row.trial.task, row.trial.fraction), {
                "task": row.trial.task, "fraction": row.trial.fraction,
                "num_scans": row.num_scans, "scores": {}})
            line["scores"][row.trial.start] = {
                name: row.metrics[name] for name in _SCORES[row.trial.task]}
    return [lines[key] for key in sorted(lines)]


def _show(talk: Talk, result: dict[str, Any]) -> None:
    starts = list(dict.fromkeys(start for line in result["table"] for start in line["scores"]))
    talk.table(("task", "labels", "scans", "score", *starts), [
        (line["task"], f"{line['fraction']:.0%}", line["num_scans"], name,
         *(f"{line['scores'][start][name]:.3f}" if start in line["scores"] else "-"
           for start in starts))
        for line in result["table"] for name in _SCORES[line["task"]]])
    for row in result["trials"]:
        if row["equivariance"]:
            talk.result()
            talk.table((f"features, {row['trial']['start']}", "likeness", "retrieved"), [
                (name, f"{found['likeness']:.3f}", f"{found['retrieved']:.3f}")
                for name, found in row["equivariance"].items()])
    for row in result["trials"]:
        if row["trial"]["task"] == "pretraining":
            talk.result(f"pretraining {row['trial']['start']}: {row['num_scans']} scans, "
                        f"{duration(row['train_s'])}")
