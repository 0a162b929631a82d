"""`pcinv plot RUN…`: what runs learned, side by side."""

from __future__ import annotations

import os
from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.reports import command_line

_DEFAULT = "pcinv-plot.png"


@verb("plot", "Compare what runs learned, in a figure or a page.", (
    ("pcinv plot runs/a runs/b", f"curves of loss and accuracy: {_DEFAULT}"),
    ("pcinv plot RUN -o curves.pdf", "for a paper; .png and .svg as well"),
    ("pcinv plot runs/a runs/b --eval -o compared.html",
     "a page that tells how each takes rotations, with confusion matrices"),
), output={"metavar": "FILE", "default": _DEFAULT,
           "help": "Figure (.png, .svg, .pdf) or page (.html)."},
    device={}, seed={"default": 0, "help": "Seed of the rotations of --eval."}, force={})
@click.argument("runs", metavar="RUN...", type=params.RUN, nargs=-1, required=True)
@click.option("--eval", "measured", is_flag=True,
              help="Measure each run on its data as well: unturned, turned about z, in any way.")
@click.option("--limit", type=click.IntRange(1), metavar="N",
              help="Of --eval: at most so many clouds.  [default: all]")
def command(talk: Talk, runs: tuple[str, ...], output: str, measured: bool, limit: int | None,
            device: str | None, seed: int, force: bool) -> Outcome:
    """Read the runs, draw them, and show the same as tables."""
    from pathlib import Path

    from pcinv.io.writing import check_place
    from pcinv.vis.compare_runs import as_fields, compare_runs, comparison_report, curves
    from pcinv.vis.figures import check_suffix, save_figure

    is_page = check_suffix(output, (".html",)) == ".html"
    check_place(Path(output), force=force)
    if measured:
        talk.say(f"measuring {len(runs)} run{'s' * (len(runs) > 1)} under three rotations")
    found = compare_runs(runs, measured=measured, limit=limit, device=device or "auto", seed=seed)
    for note in found.notes:
        talk.warn("run", note)
    if is_page:
        comparison_report(found, command=command_line()).save(output, force=force)
    else:
        save_figure(curves(found), output, force=force)
    result: dict[str, Any] = {**to_plain(as_fields(found)), "output": os.fspath(output)}
    return Outcome(result, lambda t: _show(t, found, output))


def _show(talk: Talk, found: Any, output: str) -> None:
    from pcinv.vis import compare_runs as shown

    talk.table(shown.HEADERS, shown.table_rows(found))
    if found.differing:
        talk.result()
        talk.table(("setting", *(run.name for run in found.runs)),
                   [(key, *values) for key, values in found.differing.items()])
    if found.evaluations:
        talk.result()
        talk.table(shown.EVALUATION_HEADERS, shown.evaluation_rows(found))
    talk.result()
    talk.result(f"wrote {output}")
