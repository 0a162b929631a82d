"""`pcinv models [NAME|PATTERN]`: the backbones, their symmetry, size and source."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli.fields import show_fields
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


@verb("models", "List the backbones, or describe one.", (
    ("pcinv models", "a table of all"),
    ("pcinv models risurconv", "one, with its presets and sizes"),
    ("pcinv models 'ri*' --json", "those that match, for another program"),
))
@click.argument("pattern", default="*", metavar="[NAME|PATTERN]")
def command(talk: Talk, pattern: str) -> Outcome:
    """Describe every backbone that matches."""
    from pcinv.errors import unknown_name
    from pcinv.models.registry import describe, list_models
    from pcinv.plugins import PluginError

    names = list_models(pattern)
    if not names:
        raise unknown_name("backbone", pattern, list_models(), where="pcinv models")
    rows = []
    for name in names:
        try:
            rows.append(describe(name))
        except PluginError as error:  # one broken package does not hide the others
            if name == pattern:
                raise
            talk.warn(error.code, error.message)
    if pattern in names:
        return Outcome({"models": rows}, lambda t: show_fields(t, to_plain(rows[0])))
    return Outcome({"models": rows}, lambda t: _show(t, rows))


def _show(talk: Talk, rows: list[dict[str, Any]]) -> None:
    talk.table(("name", "symmetry", "tasks", "parameters", "weights", "paper"), [
        (row["name"], row["symmetry"], " ".join(row["tasks"]), _sizes(row["params"]),
         row["weights"] or "-", row["paper"]) for row in rows])


def _sizes(params: dict[str, int] | int) -> str:
    counts = list(params.values()) if isinstance(params, dict) else [params]
    low, high = min(counts) / 1e6, max(counts) / 1e6
    return f"{low:.1f} M" if low == high else f"{low:.1f}-{high:.1f} M"
