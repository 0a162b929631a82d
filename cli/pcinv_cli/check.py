"""`pcinv check [NAME|RUN]`: measured invariance, the worst case over a search."""

from __future__ import annotations

from typing import Any

import click

from pcinv.errors import UsageError
from pcinv_cli import params
from pcinv_cli.failures import Failure
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain

DTYPES = ("float32", "float64")


@verb("check", "Measure how invariant a backbone or a run is: the worst case of a search.", (
    ("pcinv check risurconv", "a network with random weights"),
    ("pcinv check runs/last --dtype float64", "a trained one, in double precision"),
    ("pcinv check --all", "a table of all backbones, in both precisions: half an hour"),
), device={}, seed={"default": 0})
@click.argument("target", metavar="[NAME|RUN]", required=False, type=params.RUN_OR_BACKBONE)
@click.option("--all", "every", is_flag=True,
              help="Every backbone, with random weights, in float32 and float64.")
@click.option("--dtype", type=params.Name("dtype", lambda: DTYPES), metavar="|".join(DTYPES),
              help="Precision of the arithmetic.  [default: float32]")
@click.option("--rotations", type=click.IntRange(1), metavar="N",
              help="Random rotations, before the climb from the worst ones.  [default: 200; with "
                   "--all 40]")
@click.option("--task", type=params.TASK, metavar="NAME",
              help="Task of a backbone by name; a run has its own.  [default: classification]")
@click.option("--preset", type=params.PRESET, metavar="light|paper",
              help="Sizes of a backbone by name.  [default: its first]")
def command(talk: Talk, target: str | None, every: bool, dtype: str | None,
            rotations: int | None, task: str | None, preset: str | None, device: str | None,
            seed: int) -> Outcome:
    """Search for the worst case; exit code 1 when it is above the tolerance that is promised."""
    import pcinv
    from pcinv.models.registry import get_spec

    if every:
        given = {"NAME": target, "--dtype": dtype, "--task": task}
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"--all does not go with {name}", where="--all",
                                 hint="it checks all backbones, in both precisions")
        return _check_all(talk, rotations=rotations or 40, preset=preset,
                          device=device or "auto", seed=seed)
    target, dtype, task = target or "risurconv", dtype or DTYPES[0], task or "classification"
    rotations = rotations or 200
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


def _check_all(talk: Talk, **options: Any) -> Outcome:
    """Measure every backbone that has the preset, a line each as it is done."""
    import pcinv
    from pcinv.models.registry import get_spec, list_models

    rows = []
    for name in list_models():
        spec = get_spec(name)
        if options["preset"] not in (None, *spec.presets):
            continue
        talk.say(f"searching: {name}")
        found = {dtype: to_plain(pcinv.check(name, dtype=dtype, task=spec.tasks[0], **options))
                 for dtype in DTYPES}
        rows.append({
            "backbone": name, "symmetry": spec.symmetry, "limits": spec.limits,
            "errors": {dtype: report["max_error"] for dtype, report in found.items()},
            "tied_error": found["float32"]["tied_error"],
            "passed": all(report["passed"] for report in found.values())})
    broken = [row["backbone"] for row in rows if not row["passed"] and row["symmetry"] != "none"]
    gate = None if not broken else Failure(
        1, "not-invariant", "the worst error is above the tolerance", ", ".join(broken),
        f"pcinv check {broken[0]} tells of which change")
    return Outcome({"backbones": rows, "passed": not broken}, lambda t: _show_all(t, rows), gate)


def _show_all(talk: Talk, rows: list[dict[str, Any]]) -> None:
    talk.table(("backbone", "symmetry", "worst, float32", "float64", "passed", "at ties",
                "outside the promise"), [
        (row["backbone"], row["symmetry"], *map(_size, row["errors"].values()),
         "promises none" if row["symmetry"] == "none" else "yes" if row["passed"] else "no",
         _size(row["tied_error"]) if row["tied_error"] else "-", row["limits"]) for row in rows])


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
