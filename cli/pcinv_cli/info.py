"""`pcinv info FILE…`: what is in each file, or in the LiDAR sequence of a folder."""

from __future__ import annotations

import os
from typing import Any

import click

from pcinv.errors import PcinvError
from pcinv_cli import params
from pcinv_cli.failures import Failure, failure_of
from pcinv_cli.fields import show_fields
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


@verb("info", "Say what is in each file: points, bounds, spacing, attributes.", (
    ("pcinv info scan.ply", "one cloud"),
    ("pcinv info parts/*.off --json", "many meshes, for another program"),
    ("pcinv info scans/", "a folder of LiDAR scans: how many, poses, path, what is missing"),
))
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--from", "from_format", type=params.FORMAT, metavar="FORMAT",
              help="Format of the files.  [default: what they contain]")
def command(talk: Talk, files: tuple[str, ...], from_format: str | None) -> Outcome:
    """Describe each file; a damaged one does not keep the others from being described."""
    found: list[dict[str, Any]] = []
    first: Failure | None = None
    for file in files:
        try:
            found.append({**to_plain(_describe(file, from_format)), "file": file})
        except (PcinvError, OSError) as error:
            if len(files) == 1:
                raise
            failure = failure_of(error)
            if first is None:
                first = failure
            elif not talk.as_json:
                talk.warn(failure.code, f"{failure.where}: {failure.message}")
    return Outcome({"files": found}, lambda t: _show(t, found), gate=first)


def _describe(file: str, from_format: str | None) -> dict[str, Any]:
    """Return what is in a file, or in the sequence of a folder."""
    from pcinv.io import describe

    if from_format is None and not os.path.isfile(file):
        from pcinv_data.lidar import is_sequence, open_sequence

        if is_sequence(file):
            told = open_sequence(file, on_error="skip").describe()
            return {"file": file, "kind": "sequence",
                    **{key: value for key, value in told.items() if key != "path"}}
    return describe(file, format=from_format)


def _show(talk: Talk, files: list[dict[str, Any]]) -> None:
    for k, item in enumerate(files):
        if k:
            talk.result()
        talk.result(item["file"])
        show_fields(talk, {key: item[key] for key in item if key != "file"}, "  ")
