"""`pcinv completion bash|zsh|fish`: the script that completes verbs, options and names."""

from __future__ import annotations

import click

from pcinv.errors import unknown_name
from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk

SHELLS = ("bash", "zsh", "fish")


@verb("completion", "Print the script that completes pcinv in your shell.", (
    ('eval "$(pcinv completion bash)"', "for this bash; put it into ~/.bashrc for every one"),
    ('eval "$(pcinv completion zsh)"', "for zsh, in ~/.zshrc"),
    ("pcinv completion fish > ~/.config/fish/completions/pcinv.fish", "for fish"),
))
@click.argument("shell", type=params.Name("shell", lambda: SHELLS), metavar="bash|zsh|fish")
def command(talk: Talk, shell: str) -> Outcome:
    """Fill click's own template; nothing is run."""
    from click.shell_completion import get_completion_class

    from pcinv_cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise unknown_name("shell", shell, SHELLS)
    script = kind(cli, {}, "pcinv", "_PCINV_COMPLETE")
    text = script.source_template % script.source_vars()
    return Outcome({"shell": shell, "script": text}, lambda t: t.result(text))
