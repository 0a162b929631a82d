"""`pcinv benchmark speed`: what a cloud costs each backbone."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.benchmark import VERBS
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


@verb("speed", VERBS["speed"][1], (
    ("pcinv benchmark speed", "all classifiers, clouds of 1,024 points"),
    ("pcinv benchmark speed --backbone parot --preset paper --threads 2", "one, on two cores"),
    ("pcinv benchmark speed --task part_segmentation --batch-size 8 --json", "of segmenters"),
), device={}, seed={"default": 0})
@click.option("--backbone", "backbones", type=params.BACKBONE, multiple=True, metavar="NAME",
              help="May be repeated.  [default: all that do the task]")
@click.option("--task", type=params.TASK, default="classification", metavar="NAME",
              help="classification, part_segmentation or normals.")
@click.option("--preset", type=params.PRESET, metavar="light|paper",
              help="Sizes of the networks.  [default: the first of each]")
@click.option("--batch-size", type=click.IntRange(2), default=32, metavar="N",
              help="Clouds in a batch.")
@click.option("--points", "num_points", type=click.IntRange(64), default=1024, metavar="N",
              help="Points of a cloud.")
@click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Of the processor.")
@click.option("--repeats", type=click.IntRange(1), default=5, metavar="N",
              help="Of each measurement, after one to warm up; the median counts.")
def command(talk: Talk, device: str | None, **options: Any) -> Outcome:
    """Measure one after the other, each in a process of its own."""
    from pcinv.engine.speed import measure_speed

    rows = []
    for cost in measure_speed(device=device or "auto", **options):
        rows.append(to_plain(cost))
        talk.say(f"measured {cost.backbone}")
    return Outcome({"backbones": rows}, lambda t: _show(t, rows))


def _show(talk: Talk, rows: list[dict[str, Any]]) -> None:
    talk.table(("backbone", "parameters", "inference", "training", "memory", "in training"), [
        (f"{row['backbone']} {row['preset']}", f"{row['num_parameters'] / 1e6:.2f} M",
         f"{row['inference_ms']:.1f} ms", f"{row['training_ms']:.1f} ms",
         f"{row['inference_mib']:.0f} MiB", f"{row['training_mib']:.0f} MiB") for row in rows])
    first = rows[0]
    talk.result(f"a cloud of {first['num_points']:,} points, {first['batch_size']} in a batch, on "
                f"{first['device']} with {first['threads']} threads; memory of a batch")
