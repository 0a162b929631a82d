"""`pcinv benchmark robustness RUN…`: scores against how badly the clouds are damaged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.benchmark import VERBS
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.progress import Progress


def _kinds() -> Iterable[str]:
    from pcinv.geometry.corruptions import CORRUPTIONS

    return CORRUPTIONS


@verb("robustness", VERBS["robustness"][1], (
    ("pcinv benchmark robustness runs/a runs/b -o damage.png",
     "a panel for each corruption, a line for each run"),
    ("pcinv benchmark robustness RUN --kind noise --kind partial --limit 200", "a quick look"),
    ("pcinv benchmark robustness RUN --dataset modelnet10 --root DIR -o damage.pdf",
     "on your copy of a data set"),
), output={"metavar": "FILE", "help": "Figure: .png, .svg or .pdf."},
    device={}, seed={"default": 0, "help": "Seed of the damage and of the rotations."}, force={})
@click.argument("runs", metavar="RUN...", type=params.RUN, nargs=-1, required=True)
@click.option("--kind", "kinds", type=params.Name("corruption", _kinds), multiple=True,
              metavar="noise|dropout|partial|density|outliers",
              help="May be repeated.  [default: all]")
@click.option("--dataset", type=params.DATASET, metavar="NAME",
              help="Data set.  [default: the one of the training]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--rotation", "--rotate", type=params.ROTATION, default="so3", metavar="none|z|so3",
              help="How each damaged cloud is turned.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many clouds.")
def command(talk: Talk, runs: tuple[str, ...], output: str | None, device: str | None, force: bool,
            **options: Any) -> Outcome:
    """Measure, draw and show; `options` are those of `evaluate_robustness`."""
    from pathlib import Path

    from pcinv.engine.robustness import evaluate_robustness
    from pcinv.io.writing import check_place
    from pcinv.vis.compare_runs import unique_names
    from pcinv.vis.figures import check_suffix

    if output is not None:
        check_suffix(output)
        check_place(Path(output), force=force)
    with _Progress(talk) as progress:
        found = evaluate_robustness(runs, device=device or "auto", callback=progress, **options)
    names = unique_names(runs)
    if output is not None:
        _draw(found, names, output, force)
    result: dict[str, Any] = {**to_plain(found), "output": output}
    return Outcome(result, lambda t: _show(t, result, names))


class _Progress(Progress):
    """Its call takes what the measurement tells: which one of how many comes next."""

    start = 0.0

    def __call__(self, done: int, total: int, run: str, kind: str) -> None:
        if not self.talk.progress:
            return
        if done == 0:
            self.start = time.monotonic()
            return
        left = (time.monotonic() - self.start) / done * (total - done)
        self.show(f"{run}, {kind or 'no damage'}", "measurement", done, total, left)


def _draw(found: Any, names: Sequence[str], output: str, force: bool) -> None:
    from pcinv.geometry.corruptions import CORRUPTIONS
    from pcinv.vis.figures import save_figure
    from pcinv.vis.plots import TITLES
    from pcinv.vis.robustness import severity_curves

    figure = severity_curves(
        {name: run.scores for name, run in zip(names, found.runs, strict=True)},
        found.severities, {kind: CORRUPTIONS[kind].unit for kind in found.severities},
        TITLES.get(found.score, found.score))
    save_figure(figure, output, force=force)


def _show(talk: Talk, result: dict[str, Any], names: Sequence[str]) -> None:
    for kind, row in result["severities"].items():
        talk.table((kind, *(f"{value:g}" for value in row)), [
            (name, *(f"{score:.4f}" for score in run["scores"][kind]))
            for name, run in zip(names, result["runs"], strict=True)])
        talk.result()
    for dataset, count in dict.fromkeys(
            (run["dataset"], run["num_samples"]) for run in result["runs"]):
        talk.result(f"{result['score']} on {dataset}, {count:,} clouds, rotation "
                    f"{result['rotation']}")
    if result["output"]:
        talk.result(f"wrote {result['output']}")
