"""`pcinv eval RUN`: the metrics of a run or weights file, under a rotation of your choice."""

from __future__ import annotations

import time
from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.progress import Progress
from pcinv_cli.reports import check_report, command_line, report_option


@verb("eval", "Measure a run on a data set, under a rotation of your choice.", (
    ("pcinv eval runs/last --rotation so3", "on the data it was trained for"),
    ("pcinv eval RUN --dataset modelnet10 --root DIR --report report.html",
     "on your copy of a data set, with a page that shows what went wrong"),
    ("pcinv eval RUN --rotation none --limit 100 --json", "a quick look, for another program"),
), device={}, seed={"default": 0}, force={"help": "Overwrite a report that is there."})
@click.argument("target", metavar="RUN", type=params.RUN)
@click.option("--dataset", type=params.DATASET, metavar="NAME",
              help="Data set.  [default: the one of the training]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--rotation", "--rotate", type=params.ROTATION, metavar="none|z|so3",
              help="How each cloud is turned.  [default: as the training's protocol tests]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many clouds.")
@report_option("figures, classes, what is taken for what, the worst examples, invariance. Takes as "
               "long as some 170 more clouds, three minutes at most.")
def command(talk: Talk, target: str, report: str | None, force: bool, device: str | None,
            **options: Any) -> Outcome:
    """Evaluate and show the metrics; `options` are those of `pcinv.evaluate`."""
    from pcinv.engine.evaluator import evaluate_prepared, prepare

    check_report(report, force)
    options["device"] = device or "auto"
    if _is_lidar(target):
        return _scans(talk, target, report, options)
    from pcinv.vis.run_report import counting, run_report

    prepared = prepare(target, **options)
    with EvaluationProgress(talk) as told:
        if report is None:
            watch = counting(len(prepared.clouds), told)
            result: dict[str, Any] = to_plain(evaluate_prepared(prepared, watch=watch))
        else:
            found, page = run_report(prepared, command=command_line(), told=told)
            page.save(report, force=force)
            result = {**to_plain(found), "report": report}
    return Outcome(result, lambda t: show_evaluation(t, result))


def _is_lidar(target: str) -> bool:
    from pcinv.engine.checkpoint import load_weights
    from pcinv.tasks import LIDAR_TASKS

    return load_weights(target).meta.config.model.task in LIDAR_TASKS


def _scans(talk: Talk, target: str, report: str | None, options: dict[str, Any]) -> Outcome:
    """Measure a network of LiDAR scans."""
    from pcinv.engine.lidar_eval import evaluate_lidar
    from pcinv.errors import UsageError

    if report is not None:
        raise UsageError("there is no page for networks of LiDAR scans", where="--report",
                         hint="--json has all figures")
    with EvaluationProgress(talk) as told:
        found = evaluate_lidar(target, **options,
                               watch=lambda done, total: told("measuring", "scan", done, total))
    result: dict[str, Any] = to_plain(found)
    return Outcome(result, lambda t: show_evaluation(t, result))


class EvaluationProgress(Progress):
    """Its call takes what is done now, counted in what, how many are done, of how many."""

    text = ""
    start = 0.0

    def __call__(self, text: str, unit: str, done: int, total: int) -> None:
        """Show where the evaluation stands; the time that is left is that of the part it is in."""
        if not self.talk.progress:
            return
        now = time.monotonic()
        if text != self.text:
            self.text, self.start = text, now
        if done:
            self.show(text, unit, done, total, (now - self.start) / done * (total - done))
        elif self.bar is not None:
            self.bar.update(self.task, description=text, completed=0, total=total, left="")


def show_evaluation(talk: Talk, fields: dict[str, Any]) -> None:
    """Print the figures, with what they were measured on."""
    kind = "scans" if fields["dataset"] in ("lidar_sim", "kitti", "semantickitti", "nuscenes",
                                            "argoverse2") else "clouds"
    talk.result(f"{fields['dataset']}, {fields['num_samples']:,} {kind}, rotation "
                f"{fields['rotation']}: {figures(fields['metrics'])}")
    if fields.get("report"):
        talk.result(f"wrote {fields['report']}")


def figures(metrics: dict[str, Any]) -> str:
    """Return the scalar metrics in one line."""
    shown = [f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
             for name, value in metrics.items() if isinstance(value, int | float)]
    return ", ".join(shown)
