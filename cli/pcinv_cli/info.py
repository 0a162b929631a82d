"""`pcinv info FILE…`: what is in each file."""

from __future__ import annotations

from typing import Any

import click

from pcinv.errors import PcinvError
from pcinv_cli.failures import failure_of
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


@verb("info", "Say what is in each file: points, bounds, spacing, attributes.", (
    ("pcinv info scan.ply", "one cloud"),
    ("pcinv info parts/*.off --json", "many meshes, for another program"),
    ("pcinv info 000000.bin -v", "a LiDAR sweep, with what the reader notes"),
))
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
def command(talk: Talk, files: tuple[str, ...]) -> Outcome:
    """Describe each file; a damaged one does not keep the others from being described."""
    from pcinv.io import describe

    found: list[dict[str, Any]] = []
    first = None
    for file in files:
        try:
            found.append({"file": file, **describe(file)})
        except (PcinvError, OSError) as error:
            failure = failure_of(error)
            if first is None:
                first = failure
            elif not talk.as_json:
                talk.warn(failure.code, f"{failure.where}: {failure.message}")
    if first is not None and not found:
        return Outcome({"files": []}, lambda _: None, gate=first)
    return Outcome({"files": found}, lambda t: _show(t, found), gate=first)


def _show(talk: Talk, files: list[dict[str, Any]]) -> None:
    for k, item in enumerate(files):
        if k:
            talk.result()
        talk.result(item["file"])
        for key, value in item.items():
            if key != "file":
                talk.result(f"  {key.replace('_', ' '):<16} {readable(to_plain(value))}")


def readable(value: Any) -> str:
    """Return a short text for a plain value: numbers to six digits, lists without brackets."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {readable(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        nested = any(isinstance(item, list) for item in value)
        return ("  to  " if nested else ", ").join(readable(item) for item in value) or "none"
    return str(value)
