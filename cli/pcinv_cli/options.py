"""The common options, named once, and the decorator that makes a function a verb."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from pcinv_cli import params

_OPTIONAL: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "output": (("-o", "--output"), {"type": click.Path(), "metavar": "PATH",
                                    "help": "Where the result is written."}),
    "device": (("--device",), {"type": params.DEVICE, "metavar": "auto|cpu|cuda|cuda:N",
                               "help": "Where to compute.  [default: auto]"}),
    "seed": (("--seed",), {"type": click.IntRange(0), "metavar": "N",
                           "help": "Seed of all random numbers."}),
    "config": (("--config", "config_file"), {"type": click.Path(), "metavar": "FILE",
                                             "help": "TOML file with configuration values."}),
    "set": (("--set", "settings"), {"type": params.KEY_VALUE, "metavar": "KEY=VALUE",
                                    "multiple": True,
                                    "help": "Set one configuration value; may be repeated."}),
    "dry_run": (("--dry-run",), {"is_flag": True,
                                 "help": "Say what would be done and write nothing."}),
    "force": (("--force",), {"is_flag": True, "help": "Overwrite what is there."}),
}
_ALWAYS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "json": (("--json", "as_json"), {"is_flag": True, "help": "Print one JSON object."}),
    "quiet": (("-q", "--quiet"), {"is_flag": True, "help": "No talk: results and errors only."}),
    "verbose": (("-v", "--verbose"), {"count": True, "show_default": False,
                                            "help": "Say more; -vv says all."}),
    "no_progress": (("--no-progress",), {"is_flag": True, "help": "Show no progress."}),
    "debug": (("--debug",), {"is_flag": True, "help": "Show the traceback of an error."}),
}
FLAGS = frozenset(flag for flags, _ in _ALWAYS.values() for flag in flags if flag.startswith("-"))
VALUE_OPTIONS = frozenset(flag for flags, settings in _OPTIONAL.values() for flag in flags
                          if flag.startswith("-") and not settings.get("is_flag"))
"""Options that may stand before the verb together with their value."""


def verb(name: str, purpose: str, examples: tuple[tuple[str, str], ...],
         **common: dict[str, Any]) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a click command of a function `(talk, **options) -> Outcome`.

    `common` names the common options that the verb takes, each with what differs from the table
    (a help text, a default); `--json -q -v --no-progress --debug` are on every verb.
    """
    from pcinv_cli.group import Verb

    def wrap(function: Callable[..., Any]) -> click.Command:
        options = list(reversed(getattr(function, "__click_params__", [])))
        for key, changes in common.items():
            flags, settings = _OPTIONAL[key]
            options.append(click.Option(flags, **{**settings, **changes}))
        options += [click.Option(flags, **settings) for flags, settings in _ALWAYS.values()]

        @functools.wraps(function)
        @click.pass_context
        def callback(ctx: click.Context, /, **values: Any) -> Any:
            talk = ctx.obj
            talk.settle(quiet=values.pop("quiet"), verbose=values.pop("verbose"),
                        progress=not values.pop("no_progress"), debug=values.pop("debug"))
            values.pop("as_json")  # main() has seen it, so that usage errors are JSON too
            with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result alone
                return function(talk, **values)

        shared = frozenset({"as_json", *(key for key in _ALWAYS if key != "json")})
        return Verb(name, examples=examples, common=shared, help=purpose, params=options,
                    callback=callback)

    return wrap
