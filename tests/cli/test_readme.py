"""Every command that the documents print exists, with every option as printed."""

import re
import shlex
from pathlib import Path

import click
import pytest

from pcinv_cli.main import cli

ROOT = Path(__file__).parents[2]


def printed():
    """(document, command line) for each line that starts with pcinv or make in a code block."""
    found = []
    for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "data/samples/README.md"):
        for block in re.findall(r"```(?:console|sh)?\n(.*?)```", (ROOT / name).read_text(), re.S):
            for line in block.splitlines():
                for command in re.split(r"\s+[;#]\s*", line.strip())[:1]:
                    if command.startswith(("pcinv ", "make ")):
                        found.append((name, command))
    return found


def test_there_are_commands():
    assert len(printed()) > 10


@pytest.mark.parametrize("document, line", printed())
def test_the_command_is_as_printed(document, line):
    words = shlex.split(line)
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
        return
    command, words = cli, words[1:]
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, words = words[0], words[1:]
        command = command.get_command(context, name)
        assert command is not None, name
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known


def test_named_samples_are_there():
    for _, line in printed():
        for word in line.split():
            if word.startswith("data/samples/"):
                assert (ROOT / word).is_file()
