"""`pcinv eval RUN`: the metrics of a run or weights file, under a rotation of your choice."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


@verb("eval", "Measure a run on a data set, under a rotation of your choice.", (
    ("pcinv eval runs/last --rotation so3", "on the data it was trained for"),
    ("pcinv eval RUN --dataset modelnet10 --root DIR", "on your copy of a data set"),
    ("pcinv eval RUN --rotation none --limit 100 --json", "a quick look, for another program"),
), device={}, seed={"default": 0})
@click.argument("target", metavar="RUN", type=params.RUN)
@click.option("--dataset", type=params.DATASET, metavar="NAME",
              help="Data set.  [default: the one of the training]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--rotation", "--rotate", type=params.ROTATION, metavar="none|z|so3",
              help="How each cloud is turned.  [default: as the training's protocol tests]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many clouds.")
def command(talk: Talk, target: str, dataset: str | None, root: str | None, rotation: str | None,
            limit: int | None, device: str | None, seed: int) -> Outcome:
    """Evaluate and show the metrics."""
    from pcinv.engine.evaluator import evaluate

    result: dict[str, Any] = to_plain(evaluate(
        target, dataset=dataset, root=root, rotation=rotation, seed=seed, limit=limit,
        device=device or "auto"))
    return Outcome(result, lambda t: show_evaluation(t, result))


def show_evaluation(talk: Talk, fields: dict[str, Any]) -> None:
    """Print the figures, with what they were measured on."""
    talk.result(f"{fields['dataset']}, {fields['num_samples']:,} clouds, rotation "
                f"{fields['rotation']}: {figures(fields['metrics'])}")


def figures(metrics: dict[str, Any]) -> str:
    """Return the scalar metrics in one line."""
    shown = [f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
             for name, value in metrics.items() if isinstance(value, int | float)]
    return ", ".join(shown)
