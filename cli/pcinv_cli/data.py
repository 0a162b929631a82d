"""`pcinv data list|info|verify|make`: what the data sets need, whether a copy is whole."""

from __future__ import annotations

from typing import Any

import click

from pcinv.errors import UsageError
from pcinv_cli import params
from pcinv_cli.failures import Failure
from pcinv_cli.fields import show_fields
from pcinv_cli.group import VerbGroup
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain

VERBS = {
    "list": ("data:list_", "List the data sets."),
    "info": ("data:info", "Say what a data set holds, where to get it and under which terms."),
    "verify": ("data:verify", "Check your copy of a data set and say what is missing."),
    "make": ("data:make", "Write a generated data set to a folder."),
}

command = VerbGroup("data", VERBS, "List, explain, verify and make data sets.", (
    ("pcinv data list", "all of them"),
    ("pcinv data info modelnet40", "where a person gets it and under which terms"),
    ("pcinv data verify modelnet10 --root DIR", "is this copy whole?"),
))


@verb("list", VERBS["list"][1], (
    ("pcinv data list", "a table"),
    ("pcinv data list --json", "for another program"),
    ("pcinv data info shapes", "more about one of them"),
))
def list_(talk: Talk) -> Outcome:
    """List every data set."""
    from pcinv_data import describe_dataset, list_datasets

    rows = [to_plain(describe_dataset(name)) for name in list_datasets()]
    return Outcome({"datasets": rows}, lambda t: _show_list(t, rows))


def _show_list(talk: Talk, rows: list[dict[str, Any]]) -> None:
    talk.table(("name", "title", "classes", "tasks", "terms"), [
        (row["name"], row["title"],
         row["num_classes"] or ("yours" if row["name"] == "folder" else "-"),
         " ".join(row["tasks"]), row["licence"]) for row in rows])


@verb("info", VERBS["info"][1], (
    ("pcinv data info modelnet40", "terms, source, layout, classes"),
    ("pcinv data info shapes", "what the generated shapes are"),
    ("pcinv data info scanobjectnn --json", "for another program"),
))
@click.argument("dataset", metavar="NAME", type=params.ANY_DATASET)
def info(talk: Talk, dataset: str) -> Outcome:
    """Describe one data set."""
    from pcinv_data import describe_dataset

    told = to_plain(describe_dataset(dataset))
    return Outcome(told, lambda t: show_fields(t, told))


@verb("verify", VERBS["verify"][1], (
    ("pcinv data verify modelnet10 --root data/modelnet10", "is this copy whole?"),
    ("pcinv data verify scanobjectnn --root h5_files --json", "for another program"),
    ("pcinv data info modelnet10", "the layout that is expected"),
))
@click.argument("dataset", metavar="NAME", type=params.ANY_DATASET)
@click.option("--root", type=click.Path(), metavar="DIR",
              help="Folder of your copy.")
def verify(talk: Talk, dataset: str, root: str | None) -> Outcome:
    """Check a copy; what is missing makes exit code 3."""
    from pcinv_data import verify_dataset

    report = to_plain(verify_dataset(dataset, root))
    gate = None
    if not report.get("ok", False):
        gate = Failure(3, "dataset", f"this is not a whole copy of {dataset}", root,
                       f"pcinv data info {dataset} tells the layout and where to get it")
    return Outcome(report, lambda t: show_fields(t, report), gate)


@verb("make", VERBS["make"][1], (
    ("pcinv data make shapes -o shapes", "the generated shapes, as files"),
    ("pcinv data make shapes -o small --per-class 5 --seed 1 --force", "a few of each class anew"),
    ("pcinv data make lidar_sim -o streets --scans 300", "scans of a generated street"),
), output={"required": True, "metavar": "DIR", "help": "Folder that is made."},
    seed={"default": 0}, force={})
@click.argument("dataset", metavar="NAME", type=params.MADE_DATASET)
@click.option("--per-class", type=click.IntRange(1), metavar="N",
              help="Training shapes of each class; half as many for testing.  [default: 40]")
@click.option("--points", "num_points", type=click.IntRange(1), metavar="N",
              help="Points of each shape.  [default: 1024]")
@click.option("--scans", type=click.IntRange(1), metavar="N",
              help="Of a street, ten a second; more of them make one longer.  [default: 100]")
@click.option("--beams", type=click.IntRange(1), metavar="16|32|64|128",
              help="Of the scanner in a street.  [default: 64]")
def make(talk: Talk, dataset: str, output: str, seed: int, force: bool, **sizes: int | None
         ) -> Outcome:
    """Generate the set and write it."""
    from pcinv_data import make_dataset

    given = {name: value for name, value in sizes.items() if value is not None}
    fit = ("scans", "beams") if dataset == "lidar_sim" else ("per_class", "num_points")
    for name in given:
        if name not in fit:
            option = {"per_class": "--per-class", "num_points": "--points"}.get(name, f"--{name}")
            raise UsageError(f"{option} does not go with {dataset}", where=option,
                             hint="leave it out")
    made = make_dataset(dataset, output, seed=seed, force=force, **given)
    result: dict[str, Any] = {"dataset": dataset, "seed": seed, **to_plain(made)}
    return Outcome(result, lambda t: show_fields(t, result))
