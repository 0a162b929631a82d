"""`pcinv config show|init|schema`: what decides a training run, and where each value comes from."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from pcinv.errors import UsageError
from pcinv_cli import params
from pcinv_cli.group import VerbGroup
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain

VERBS = {
    "show": ("config:show", "Print the resolved configuration with the source of each value."),
    "init": ("config:init", "Write a configuration file to start from."),
    "schema": ("config:schema", "Print the JSON schema: every key, its type and default."),
}

command = VerbGroup("config", VERBS, "Show, write and describe the configuration.", (
    ("pcinv config show --set optim.lr=0.001", "every value and where it comes from"),
    ("pcinv config init -o pcinv.toml", "a file to edit, for pcinv train --config pcinv.toml"),
    ("pcinv config schema", "every key, its type and default"),
), notes=("Precedence:", lambda: [
    "defaults < --config FILE < environment (PCINV_OPTIM__LR=0.001 sets optim.lr) < --set < flag"]))


def resolve(config_file: str | None, settings: tuple[str, ...], flags: dict[str, Any] | None = None
            ) -> tuple[Any, dict[str, str]]:
    """Return the configuration of file, environment, `--set` and flags, with the sources."""
    from pcinv.engine.config import load_config

    env = {key: value for key, value in os.environ.items() if key.startswith("PCINV_")}
    return load_config(config_file, settings, env, flags)


def tree_of(config: Any) -> dict[str, Any]:
    """Return the configuration as nested plain values."""
    from pcinv.engine.config import to_tree

    return to_tree(config)


def show_values(talk: Talk, config: Any, sources: dict[str, str]) -> None:
    """Print `key = value` and the source, one line a key."""
    from pcinv.engine.config import flatten

    rows = [(key, json.dumps(to_plain(value)), sources.get(key, "default"))
            for key, value in flatten(tree_of(config)).items()]
    talk.table(("key", "value", "source"), rows)


@verb("show", VERBS["show"][1], (
    ("pcinv config show", "the defaults, and what the environment changes"),
    ("pcinv config show --backbone risurconv --preset paper", "what a training would take"),
    ("pcinv config show --config pcinv.toml --set train.epochs=5", "a file with one change"),
), config={}, set={})
@click.option("--backbone", type=params.BACKBONE, metavar="NAME",
              help="Backbone; its recipe counts.")
@click.option("--preset", type=params.PRESET, metavar="NAME", help="Named set of sizes.")
def show(talk: Talk, backbone: str | None, preset: str | None, config_file: str | None,
         settings: tuple[str, ...]) -> Outcome:
    """Resolve the configuration and show it."""
    config, sources = resolve(config_file, settings,
                              {"model.backbone": backbone, "model.preset": preset})
    return Outcome({"config": tree_of(config), "sources": sources},
                   lambda t: show_values(t, config, sources))


@verb("init", VERBS["init"][1], (
    ("pcinv config init", "writes pcinv.toml"),
    ("pcinv config init -o paper.toml --set model.preset=paper", "with a change"),
    ("pcinv config init --force", "overwrite what is there"),
), output={"default": "pcinv.toml"}, config={}, set={}, force={}, dry_run={})
def init(talk: Talk, output: str, config_file: str | None, settings: tuple[str, ...], force: bool,
         dry_run: bool) -> Outcome:
    """Write the resolved configuration as TOML."""
    from pcinv.engine.config import dump_config

    config, _ = resolve(config_file, settings)
    text = dump_config(config)
    if not dry_run:
        try:
            with open(output, "w" if force else "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            raise UsageError(f"{output} exists", where="--output",
                             hint="--force overwrites it, -o names another file") from error
    result = {"output": output, "config": tree_of(config), "written": not dry_run}
    return Outcome(result, lambda t: t.result(
        text.rstrip() if dry_run else f"wrote {output}; use it with pcinv train --config {output}"))


@verb("schema", VERBS["schema"][1], (
    ("pcinv config schema", "for a person or an editor"),
    ("pcinv config schema > pcinv.schema.json", "a file for an editor that checks TOML"),
    ("pcinv config schema --json", "inside the one JSON object"),
))
def schema(talk: Talk) -> Outcome:
    """Print the schema of the configuration."""
    from pcinv.engine.config import schema as config_schema

    whole = config_schema()
    return Outcome({"schema": whole}, lambda t: t.result(json.dumps(whole, indent=2)))
