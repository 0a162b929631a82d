"""`pcinv info FILE…`: what is in each file."""

from __future__ import annotations

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
    ("pcinv info sweep.bin --from bin5", "a format that the content does not tell"),
))
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--from", "from_format", type=params.FORMAT, metavar="FORMAT",
              help="Format of the files.  [default: what they contain]")
def command(talk: Talk, files: tuple[str, ...], from_format: str | None) -> Outcome:
    """Describe each file; a damaged one does not keep the others from being described."""
    from pcinv.io import describe

    found: list[dict[str, Any]] = []
    first: Failure | None = None
    for file in files:
        try:
            told: dict[str, Any] = to_plain(describe(file, format=from_format))
            found.append({**told, "file": file})
        except (PcinvError, OSError) as error:
            if len(files) == 1:
                raise
            failure = failure_of(error)
            if first is None:
                first = failure
            elif not talk.as_json:
                talk.warn(failure.code, f"{failure.where}: {failure.message}")
    return Outcome({"files": found}, lambda t: _show(t, found), gate=first)


def _show(talk: Talk, files: list[dict[str, Any]]) -> None:
    for k, item in enumerate(files):
        if k:
            talk.result()
        talk.result(item["file"])
        show_fields(talk, {key: item[key] for key in item if key != "file"}, "  ")
