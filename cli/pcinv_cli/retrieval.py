"""`pcinv benchmark retrieval RUN`: how well shapes find others of their class, in any pose."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.benchmark import VERBS
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


@verb("retrieval", VERBS["retrieval"][1], (
    ("pcinv benchmark retrieval RUN --rotation so3", "on the test split of its training"),
    ("pcinv benchmark retrieval RUN --dataset modelnet10 --root DIR", "on your copy of a data set"),
    ("pcinv benchmark retrieval RUN --rotation none --limit 200 --json", "a quick look"),
), device={}, seed={"default": 0})
@click.argument("target", metavar="RUN", type=params.RUN)
@click.option("--dataset", type=params.DATASET, metavar="NAME",
              help="Data set.  [default: the one of the training]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--rotation", "--rotate", type=params.ROTATION, metavar="none|z|so3",
              help="How each cloud is turned.  [default: as the training's protocol tests]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many clouds.")
def command(talk: Talk, target: str, device: str | None, **options: Any) -> Outcome:
    """Measure and show the figures; `options` are those of `evaluate_retrieval`."""
    from pcinv.engine.retrieval import evaluate_retrieval

    found = evaluate_retrieval(target, device=device or "auto", **options)
    result: dict[str, Any] = to_plain(found)
    return Outcome(result, lambda t: _show(t, result))


def _show(talk: Talk, result: dict[str, Any]) -> None:
    names = list(next(iter(result["metrics"].values())))
    talk.table(("numbers", *(name.replace("_", " ") for name in names)), [
        (dim, *(f"{row[name]:.4f}" for name in names)) for dim, row in result["metrics"].items()])
    talk.result(f"{result['dataset']}, {result['num_samples']:,} clouds, rotation "
                f"{result['rotation']}")
