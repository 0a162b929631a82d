"""The table of verbs and the entry point `pcinv`. Imports click only, until a verb runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from pcinv import __version__
from pcinv.errors import EXIT_CODES
from pcinv_cli.failures import failure_of
from pcinv_cli.group import VerbGroup
from pcinv_cli.output import Outcome, Talk

VERBS = {
    "train": ("train", "Train a backbone; on generated shapes unless a data set is named."),
    "pretrain": ("pretrain", "Pretrain a LiDAR backbone on scans without labels."),
    "eval": ("evaluate", "Measure a run on a data set, under a rotation of your choice."),
    "plot": ("plot", "Compare what runs learned, in a figure or a page."),
    "predict": ("predict", "Name what is in your own files."),
    "embed": ("embed", "Turn shapes into vectors that are alike where the shapes are."),
    "search": ("search", "Find the shapes of a folder most like one, in any pose."),
    "register": ("register", "Find the motion between two clouds, or many, and judge it."),
    "odometry": ("odometry", "Follow a LiDAR through a folder of scans."),
    "flow": ("flow", "Estimate how each point of a scan moves until another one."),
    "view": ("view", "Look at clouds and meshes: a window, a page, a picture, a film."),
    "check": ("check", "Measure how invariant a backbone or a run really is."),
    "benchmark": ("benchmark", "Run a published protocol on your copy of its data set."),
    "info": ("info", "Say what is in each file."),
    "convert": ("convert", "Write a cloud or mesh in another format."),
    "sample": ("sample", "Sample points from the surface of a mesh."),
    "data": ("data", "List, explain, verify and make data sets."),
    "models": ("models", "List the backbones, or describe one."),
    "config": ("config", "Show, write and describe the configuration."),
    "doctor": ("doctor", "Check this installation and say what is missing."),
    "completion": ("completion", "Print the script that completes pcinv in your shell."),
    "help": ("help", "Explain a verb or a topic."),
}


def exit_code_lines() -> list[str]:
    """Return one line for each exit code, from the one table."""
    return [f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items()]


class Console(VerbGroup):
    """The top of the tree: turns whatever happens into an exit code and one answer."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None,  # type: ignore[override]
             complete_var: str | None = None, standalone_mode: bool = True, **extra: Any) -> int:
        given = list(sys.argv[1:] if args is None else args)
        talk = Talk(as_json="--json" in given[: given.index("--")] if "--" in given
                    else "--json" in given)
        code = self._answer(given, complete_var, talk)
        if standalone_mode:
            sys.exit(code)
        return code

    def _answer(self, args: list[str], complete_var: str | None, talk: Talk) -> int:
        try:
            try:
                with talk.listening():
                    outcome = super().main(args, "pcinv", complete_var, standalone_mode=False,
                                           obj=talk)
                if not isinstance(outcome, Outcome):  # help or version was printed
                    return int(outcome or 0)
                talk.finish(outcome)
                return outcome.exit_code
            except click.exceptions.NoArgsIsHelpError as error:
                if not talk.as_json:
                    click.echo(error.format_message(), err=True)
                    return error.exit_code
                talk.fail(failure_of(error))
                return error.exit_code
            except BrokenPipeError:
                raise
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 every failure has an exit code
                failure = failure_of(error)
                talk.fail(failure, error)
                return failure.exit_code
        except BrokenPipeError:  # the reader has seen enough
            _discard_stdout()
            return 0
        except OSError as error:  # stdout itself cannot be written: a full disk behind a `>`
            _discard_stdout()
            talk.as_json = False
            failure = failure_of(error)
            talk.fail(failure, error)
            return failure.exit_code


def _discard_stdout() -> None:
    """Let what is still buffered go nowhere when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


cli = Console(
    name="pcinv",
    table=VERBS,
    help="3D point clouds in arbitrary poses, with measured invariance.",
    examples=(
        ("pcinv train --backbone risurconv", "train on the generated shapes"),
        ("pcinv info scan.ply", "what is in a file"),
        ("pcinv check risurconv", "measure its invariance"),
    ),
    notes=("Exit codes:", exit_code_lines),
)
click.version_option(__version__, prog_name="pcinv", message="%(prog)s %(version)s")(cli)


def main() -> int:
    """Run the console on the process's own arguments and return the exit code."""
    _keep_stdout_for_results()
    code = cli.main(standalone_mode=False)
    try:
        sys.stdout.flush()
    except OSError:  # told already, when it was first written to
        _discard_stdout()
    return code


def _keep_stdout_for_results() -> None:
    """Point file descriptor 1 at stderr, and Python's stdout at a private copy of the old one.

    Open3D and others print from C++; that text would end up between the braces of our JSON.
    """
    try:
        if sys.stdout.fileno() != 1:
            return
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError, AttributeError):  # no stdout, or no stderr: nothing to part
        return
    sys.stdout = os.fdopen(kept, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors,
                           buffering=1 if os.isatty(kept) else -1)
