"""`pcinv help [TOPIC]`: the help of a verb, or a topic such as the exit codes."""

from __future__ import annotations

import click

from pcinv.errors import EXIT_CODES, unknown_name
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk

TOPICS = ("exit-codes",)


@verb("help", "Explain a verb or a topic.", (
    ("pcinv help", "the list of verbs"),
    ("pcinv help train", "one verb"),
    ("pcinv help exit-codes", "what the exit codes mean"),
))
@click.argument("topic", nargs=-1)
def command(talk: Talk, topic: tuple[str, ...]) -> Outcome:
    """Show the help of the named verb, or the topic."""
    from pcinv_cli.main import cli, exit_code_lines

    if topic == ("exit-codes",):
        lines = exit_code_lines()
        result = {"exit_codes": {str(code): text for code, text in EXIT_CODES.items()}}
        return Outcome(result, lambda t: t.result("\n".join(lines)))
    ctx = click.Context(cli, info_name="pcinv")
    target: click.Command = cli
    for name in topic:
        known = list(target.table) if hasattr(target, "table") else []
        found = target.get_command(ctx, name) if isinstance(target, click.Group) else None
        if found is None:
            raise unknown_name("topic", name, [*known, *TOPICS], where="pcinv help")
        target, ctx = found, click.Context(found, info_name=name, parent=ctx)
    text = target.get_help(ctx)
    return Outcome({"topic": " ".join(topic), "text": text}, lambda t: t.result(text))
