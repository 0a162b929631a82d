"""`pcinv check [NAME|RUN]`: measured invariance, the worst case over a search."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.failures import Failure
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain

DTYPES = ("float32", "float64")


@verb("check", "Measure how invariant a backbone or a run is: the worst case of a search.", (
    ("pcinv check risurconv", "a network with random weights"),
    ("pcinv check runs/last --dtype float64", "a trained one, in double precision"),
    ("pcinv check RUN --rotations 50 --json", "a shorter search, for another program"),
), device={}, seed={"default": 0})
@click.argument("target", metavar="[NAME|RUN]", default="risurconv", type=params.RUN_OR_BACKBONE)
@click.option("--dtype", type=params.Name("dtype", lambda: DTYPES), default="float32",
              metavar="|".join(DTYPES), help="Precision of the arithmetic.")
@click.option("--rotations", type=click.IntRange(1), default=200, metavar="N",
              help="Random rotations, before the climb from the worst ones.")
@click.option("--task", type=params.TASK, default="classification", metavar="NAME",
              help="Task of a backbone by name; a run has its own.")
@click.option("--preset", type=params.PRESET, metavar="light|paper",
              help="Sizes of a backbone by name.  [default: its first]")
def command(talk: Talk, target: str, dtype: str, rotations: int, task: str, preset: str | None,
            device: str | None, seed: int) -> Outcome:
    """Search for the worst case; exit code 1 when it is above the tolerance that is promised."""
    import pcinv
    from pcinv.models.registry import get_spec

    talk.say(f"searching for the worst of {rotations} rotations, of shifts, orders and batch mates")
    report: dict[str, Any] = to_plain(pcinv.check(
        target, task=task, preset=preset, dtype=dtype, rotations=rotations, seed=seed,
        device=device or "auto"))
    report["symmetry"] = get_spec(report["backbone"]).symmetry
    gate = None
    if not report["passed"] and report["symmetry"] != "none":
        worst = _size(report["max_error"])
        gate = Failure(1, "not-invariant", f"the worst error, {worst}, is above the tolerance, "
                       f"{report['tolerance']:.0e}", target,
                       "pcinv models names the symmetry that the backbone promises")
    return Outcome(report, lambda t: _show(t, report), gate)


def _show(talk: Talk, report: dict[str, Any]) -> None:
    talk.table(("change of the cloud", "worst relative error"),
               [(name, _size(error)) for name, error in report["errors"].items()])
    verdict = "passed" if report["passed"] else "not passed"
    if report["symmetry"] == "none":
        verdict = "promises no invariance"
    talk.result(f"{report['backbone']}, {report['dtype']}: {verdict}, worst "
                f"{_size(report['max_error'])}, tolerance {report['tolerance']:.0e}")


def _size(error: float | None) -> str:
    """Return an error as text; JSON knows no infinity, so it has become None."""
    return "not finite" if error is None else f"{error:.2e}"
