"""What the console says: results on stdout, talk on stderr, one JSON object when asked."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pcinv_cli.failures import Failure

SCHEMA = "pcinv/1"
_OWN = ("pcinv", "pcinv_data", "pcinv_cli")


@dataclasses.dataclass
class Outcome:
    """The answer of a verb.

    result : the fields that others rely on; anything that `to_plain` understands.
    show : prints the same for a person; called with the Talk, writes through `talk.result`.
    gate : why the answer is not good enough although the verb ran, or None.
    """

    result: dict[str, Any]
    show: Callable[[Talk], None]
    gate: Failure | None = None

    @property
    def exit_code(self) -> int:
        """Return 0, or the exit code of the gate."""
        return self.gate.exit_code if self.gate else 0


class Talk:
    """Where a verb speaks: `result` to stdout, `say`, `warn` and progress to stderr."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.command: str | None = None
        self.warnings: list[dict[str, str]] = []
        self.quiet = False
        self.verbose = 0
        self.progress = True
        self.debug = False
        self.log = _LogToTalk(self)
        self.speaks = os.environ.get("RANK", "0") == "0"  # one voice under torchrun

    def settle(self, *, quiet: bool, verbose: int, progress: bool, debug: bool) -> None:
        """Take over the options that every verb has."""
        self.quiet, self.verbose, self.debug = quiet, verbose, debug
        self.progress = progress and not quiet and self.speaks
        level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
        self.log.setLevel(level)
        for name in _OWN:
            logging.getLogger(name).setLevel(level)

    def result(self, text: str = "") -> None:
        """Print a line of the result."""
        click.echo(text)

    def say(self, text: str) -> None:
        """Print a line of talk."""
        if not self.quiet and self.speaks:
            click.echo(text, err=True)

    def warn(self, code: str, message: str) -> None:
        """Keep a warning for the JSON object, or show it at once."""
        entry = {"code": code, "message": message}
        if entry in self.warnings:
            return
        self.warnings.append(entry)
        if not self.as_json and not self.quiet and self.speaks:
            click.echo(f"{paint('warning:', 'yellow')} {message}", err=True)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table: drawn on a terminal, aligned columns elsewhere."""
        cells = [["" if value is None else str(value) for value in row] for row in rows]
        if sys.stdout.isatty():
            from rich import box
            from rich.console import Console
            from rich.table import Table

            table = Table(box=box.SIMPLE_HEAD, pad_edge=False,
                          header_style="" if os.environ.get("NO_COLOR") else "bold")
            for header in headers:
                table.add_column(header, overflow="fold")
            for row in cells:
                table.add_row(*[cell.replace("[", r"\[") for cell in row])
            Console(file=sys.stdout).print(table)
            return
        widths = [max(len(row[k]) for row in [list(headers), *cells]) for k in range(len(headers))]
        for row in [list(headers), *cells]:
            self.result("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Collect the warnings and log records of the library while a verb works."""
        loggers = [logging.getLogger(name) for name in _OWN]
        kept = [(logger, logger.level, logger.propagate) for logger in loggers]
        with warnings.catch_warnings():
            warnings.showwarning = self._python_warning
            for logger in loggers:
                logger.addHandler(self.log)
                logger.propagate = False
            try:
                yield
            finally:
                for logger, level, propagate in kept:
                    logger.removeHandler(self.log)
                    logger.setLevel(level)
                    logger.propagate = propagate

    def _python_warning(self, message: Warning | str, category: type[Warning], filename: str,
                        lineno: int, file: Any = None, line: str | None = None) -> None:
        ours = bool({"pcinv", "pcinv_data", "pcinv_cli"} & set(Path(filename).parts[-4:]))
        if ours and not issubclass(category, DeprecationWarning):
            kind = category.__name__.removesuffix("Warning").lower()
            self.warn("warning" if kind in ("user", "runtime", "") else kind, str(message))
        elif self.verbose and not self.as_json:
            self.say(f"{category.__name__} in {filename}:{lineno}: {message}")

    def finish(self, outcome: Outcome) -> None:
        """Print the answer of a verb that ran."""
        if not self.speaks:
            return
        if self.as_json:
            error = outcome.gate.as_dict() if outcome.gate else None
            self._print_object(ok=error is None, result=outcome.result, error=error)
        else:
            outcome.show(self)
        sys.stdout.flush()
        if outcome.gate and not self.as_json:
            self._three_lines(outcome.gate)

    def fail(self, failure: Failure, error: BaseException | None = None) -> None:
        """Print what went wrong: three lines on stderr, or the JSON object."""
        if self.debug and error is not None:
            click.echo("".join(traceback.format_exception(error)), err=True)
        if self.as_json and self.speaks:
            self._print_object(ok=False, result=None, error=failure.as_dict())
            sys.stdout.flush()
            return
        self._three_lines(failure)

    def _three_lines(self, failure: Failure) -> None:
        click.echo(f"{paint('error:', 'red')} {failure.message}", err=True)
        if failure.where:
            click.echo(f"{paint('where:', 'bold')} {failure.where}", err=True)
        if failure.hint:
            click.echo(f"{paint('try:', 'bold')}   {failure.hint}", err=True)

    def _print_object(self, *, ok: bool, result: Any, error: dict[str, Any] | None) -> None:
        whole = {"schema": SCHEMA, "command": self.command, "ok": ok, "result": to_plain(result),
                 "warnings": self.warnings, "error": error}
        click.echo(json.dumps(whole, ensure_ascii=False, allow_nan=False))


class _LogToTalk(logging.Handler):
    """Warnings of the library's loggers become warnings of the verb, the rest becomes talk."""

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self.talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self.talk.warn(str(getattr(record, "code", "warning")), record.getMessage())
        elif self.talk.verbose:  # what is logged as an error is raised as well
            self.talk.say(record.getMessage())


def paint(text: str, style: str) -> str:
    """Colour a word on a terminal, unless NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    return click.style(text, bold=True) if style == "bold" else click.style(text, fg=style)


def to_plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: arrays as lists, NaN and infinity as null."""
    if value is None or (isinstance(value, bool | str | int)
                         and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if hasattr(value, "to_dict"):
        return to_plain(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # numpy arrays and scalars, tensors
        return to_plain(value.tolist())
    if isinstance(value, set | frozenset):
        return [to_plain(item) for item in sorted(value)]
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value)
