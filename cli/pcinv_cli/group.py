"""A click group that imports a verb when it runs, in whatever order its options stand."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import click

from pcinv.errors import UnknownNameError, nearest
from pcinv_cli.options import FLAGS, VALUE_OPTIONS

Examples = Sequence[tuple[str, str]]


class VerbGroup(click.Group):
    """Verbs by name, from a table `name -> (module of pcinv_cli, one line of help)`."""

    def __init__(self, name: str, table: dict[str, tuple[str, str]], help: str,
                 examples: Examples = (), notes: tuple[str, Callable[[], list[str]]] | None = None,
                 **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"],
                                               "max_content_width": 100})
        super().__init__(name, help=help, subcommand_metavar="VERB [OPTIONS] [INPUT]...", **kwargs)
        self.table = table
        self.examples = examples
        self.notes = notes

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"pcinv_cli.{module}"),
                                         attribute or "command")
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ordered = verb_first(args, self.table)
        if ordered and all(word in FLAGS or word in VALUE_OPTIONS for word in ordered):
            raise click.UsageError("Missing verb.", ctx)
        return super().parse_args(ctx, ordered)

    def resolve_command(self, ctx: click.Context, args: list[str]
                        ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.obj is not None:
            ctx.obj.command = f"{ctx.command_path} {name}".removeprefix("pcinv ")
        if not ctx.resilient_parsing and name not in self.table and not name.startswith("-"):
            near = nearest(name, self.table)
            hint = (f"did you mean {' or '.join(near)}?" if near
                    else f"{ctx.command_path} --help lists them")
            raise UnknownNameError(f"No such command '{name}'.", where=ctx.command_path, hint=hint)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        write_purpose(formatter, self.help or "", self.examples)
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])
        self.format_options(ctx, formatter)
        if self.notes:
            title, lines = self.notes
            write_lines(formatter, title, lines())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [record for p in self.get_params(ctx) if (record := p.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(records)


class Verb(click.Command):
    """A command whose help is one line, worked examples, its own options, the common ones."""

    def __init__(self, name: str, *, examples: Examples, common: frozenset[str], **kwargs: Any
                 ) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"],
                                               "max_content_width": 100, "show_default": True})
        super().__init__(name, **kwargs)
        self.examples = examples
        self.common = common

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        write_purpose(formatter, self.help or "", self.examples)
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                is_shared = param.name in self.common or param.name == "help"
                (shared if is_shared else own).append(record)
        for title, records in (("Options", own), ("Options of every verb", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def write_purpose(formatter: click.HelpFormatter, purpose: str, examples: Examples) -> None:
    """Write the one line and the worked examples."""
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(purpose)
    if examples:
        lines = []
        for command, comment in examples:
            lines += [f"# {comment}", command]
        write_lines(formatter, "Examples:", lines)


def write_lines(formatter: click.HelpFormatter, title: str, lines: list[str]) -> None:
    """Write lines as they are, without filling them into a paragraph."""
    formatter.write_paragraph()
    formatter.write(f"{title}\n" + "".join(f"  {line}\n" for line in lines))


def verb_first(args: list[str], verbs: Sequence[str] | dict[str, Any]) -> list[str]:
    """Move options that stand before the verb behind it: their order never matters.

    An option whose arity is not known here may be followed by its value; then the first word
    that is a verb is taken for the verb.
    """
    k, may_be_value = 0, False
    while k < len(args) and args[k] != "--":
        word = args[k]
        if word.startswith("-") and word != "-":
            takes_value = word in VALUE_OPTIONS
            k += 2 if takes_value else 1
            may_be_value = not takes_value and word not in FLAGS and "=" not in word
        elif word in verbs or not may_be_value:
            return [word, *args[:k], *args[k + 1:]]
        else:
            k, may_be_value = k + 1, False
    return args
