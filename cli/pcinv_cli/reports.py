"""What verbs that write a page have in common: the option, its check, the line that was typed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pcinv.errors import UsageError
from pcinv_cli.options import FLAGS


def report_option(words: str) -> Any:
    """Return the decorator that adds `--report FILE.html`; words : what is on the page."""
    return click.option("--report", type=click.Path(), metavar="FILE.html",
                        help=f"Write a page: {words}")


def check_report(path: str | None, force: bool) -> None:
    """Raise before anything is computed if the page could not be written."""
    from pcinv.io.writing import check_place

    if path is None:
        return
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"'{Path(path).suffix}' is no suffix of a page", where=path,
                         hint="--report report.html")
    check_place(Path(path), force=force)


def command_line() -> str:
    """Return the command that runs now as a shell takes it: inputs, then what else was given.

    What only changes how a verb talks is left out.
    """
    ctx = click.get_current_context()
    words: list[str] = []
    inputs: list[str] = []
    for param in ctx.command.params:
        name = param.name or ""
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE \
                or FLAGS & set(param.opts):
            continue
        value = ctx.params[name]
        flag = next((flag for flag in param.opts if flag.startswith("--")), param.opts[0])
        many = isinstance(value, tuple) and (param.nargs != 1 or getattr(param, "multiple", False))
        for each in value if many else (value,):
            text = ",".join(map(str, each)) if isinstance(each, tuple) else str(each)
            if isinstance(param, click.Argument):
                inputs.append(text)
            else:
                words += [flag] if getattr(param, "is_flag", False) else [flag, text]
    return shlex.join([*ctx.command_path.split(), *inputs, *words])
