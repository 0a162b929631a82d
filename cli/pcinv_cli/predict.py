"""`pcinv predict RUN FILE…`: what is in your own files."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


@verb("predict", "Name what is in your own files: class, or parts of each point.", (
    ("pcinv predict RUN chair.off scan.ply", "any format that pcinv info reads"),
    ("pcinv predict RUN parts/*.stl --top 3 --json", "the three likeliest, for another program"),
    ("pcinv predict RUN chair.ply -o labelled", "part labels as a file with all attributes"),
), output={"metavar": "DIR", "help": "Folder of files with labels.  [default: beside the input]"},
    device={}, seed={"default": 0}, force={})
@click.argument("target", metavar="RUN", type=params.RUN)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--points", type=click.IntRange(1), metavar="N",
              help="Points taken from each file.  [default: as in training]")
@click.option("--top", type=click.IntRange(1), default=5, metavar="N",
              help="How many of the likeliest classes.")
def command(talk: Talk, target: str, files: tuple[str, ...], points: int | None, top: int,
            output: str | None, device: str | None, seed: int, force: bool) -> Outcome:
    """Predict each file."""
    from pcinv.engine.predict import predict

    told = predict(target, files, points=points, seed=seed, device=device or "auto", top=top)
    rows: list[dict[str, Any]] = [to_plain(item) for item in told]
    return Outcome({"files": rows}, lambda t: None)
