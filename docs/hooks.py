"""Pages that mkdocs makes when it builds the site: commands, data sets, models, formats, figures.

They come from the program itself, so none of them can be out of date. Nothing of this is committed.
A page of docs/ takes a table by a line such as `<!-- table: models -->`, a file of the repository
by `<!-- file: examples/plugin/pyproject.toml -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
COMMANDS = "reference/commands"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the page of each verb under Commands."""
    from pcinv_cli.main import VERBS

    pages = [{"All": f"{COMMANDS}/index.md"}] + [{v: f"{COMMANDS}/{v}.md"} for v in VERBS]
    for section in config.nav or []:
        for item in section["Reference"] if "Reference" in section else []:
            if "Commands" in item:
                item["Commands"] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "figures.md": copied("benchmarks/README.md"),
        "changes.md": copied("CHANGELOG.md"),
        "datasets.md": datasets_page(),
        **command_pages(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put tables and files in place of the lines that name them."""
    markdown = re.sub(r"^<!-- table: (\w+) -->$", lambda found: TABLES[found[1]](), markdown,
                      flags=re.M)
    return re.sub(r"^<!-- file: (\S+) -->$", lambda found: listing(found[1]), markdown, flags=re.M)


def copied(name: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / name).read_text("utf-8")


def listing(name: str) -> str:
    """Return a file of the repository as a block of code."""
    language = {".py": "python", ".toml": "toml"}[Path(name).suffix]
    return f'```{language} title="{name}"\n{copied(name)}```'


def table(headers: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Return a Markdown table."""
    def one(cell: Any) -> str:
        parts = str(cell).replace("\n", " ").split("`")  # every second one is code, kept as it is
        return "`".join(part if k % 2 else part.replace("|", "\\|") for k, part in enumerate(parts))

    def line(cells: tuple[Any, ...]) -> str:
        return f"| {' | '.join(map(one, cells))} |"

    return "\n".join([line(headers), line(("---",) * len(headers)), *map(line, rows)])


def models() -> str:
    """Return the table of backbones of pcinv itself."""
    from pcinv.models.registry import (
        BACKBONES,
        LIDAR_NETWORKS,
        MATCHERS,
        POSE_NETWORKS,
        weights_file,
    )

    return table(("name", "method", "source", "tasks, symmetry", "weights"), [
        (f"`{row.name}`", row.title, row.paper,
         f"{', '.join(task.replace('_', ' ') for task in row.tasks)}; {row.symmetry}",
         "come with the package" if weights_file(row.name).is_file() else "train your own")
        for row in {**BACKBONES, **MATCHERS, **POSE_NETWORKS, **LIDAR_NETWORKS}.values()])


def formats() -> str:
    """Return the table of file formats of pcinv itself."""
    from pcinv.io import FORMATS

    return table(("format", "suffixes", "read", "written", "holds"), [
        (f"`{row.name}`", " ".join(f"`{suffix}`" for suffix in row.suffixes) or "by name only",
         "yes", "yes" if row.write else "no", row.about) for row in FORMATS.values()])


def exit_codes() -> str:
    """Return the table of exit codes."""
    from pcinv.errors import EXIT_CODES

    return table(("code", "meaning"), list(EXIT_CODES.items()))


def config_keys() -> str:
    """Return the table of configuration keys with their defaults."""
    import json

    from pcinv.engine.config import Config, flatten, to_tree

    return table(("key", "default"), [(f"`{key}`", f"`{json.dumps(value)}`")
                                      for key, value in flatten(to_tree(Config())).items()])


def window_keys() -> str:
    """Return the table of what the mouse and the keys do in the window."""
    from pcinv.vis.window_panel import HELP

    return table(("key", "does"), list(HELP))


TABLES: dict[str, Callable[[], str]] = {
    "window_keys": window_keys,
    "models": models, "formats": formats, "exit_codes": exit_codes, "config_keys": config_keys,
}


def datasets_page() -> str:
    """Return the page of data sets, from their manifests."""
    from pcinv_data import describe_dataset, list_datasets

    rows: dict[str, list[dict[str, Any]]] = {}
    for name in list_datasets():
        row = describe_dataset(name)
        rows.setdefault(row["title"], []).append(row)
    parts = ["# Data sets\n\nNone of the named data sets comes with pcinv. For each: the terms, "
             "where a person gets it, the layout that is expected, and what `pcinv data verify "
             "NAME --root DIR` checks. Generated ones need nothing.\n",
             table(("what", "names", "tasks", "terms"), [
                 (f"[{title}](#{anchor(same[0])})", names(same),
                  ", ".join(task.replace("_", " ") for task in same[0]["tasks"]),
                  same[0]["licence"]) for title, same in rows.items()]),
             "\nYour own files need no package and no table: a folder for each class, "
             "`--dataset folder --root DIR` ([guide](guides/train.md#on-your-own-files)).\n"]
    return "\n".join([*parts, *map(one_dataset, rows.values())])


def anchor(row: dict[str, Any]) -> str:
    """Return the anchor of a data set on its page."""
    return "set-" + row["name"].replace("_", "-")


def names(rows: list[dict[str, Any]]) -> str:
    """Return the names of data sets that share a manifest, as code."""
    return ", ".join(f"`{row['name']}`" for row in rows)


def one_dataset(rows: list[dict[str, Any]]) -> str:
    """Return the section of a data set, or of those that share a manifest."""
    row = rows[0]
    title = row["title"][:1].upper() + row["title"][1:]
    licence = row["licence"][:1].upper() + row["licence"][1:]
    link = f" <{row['url']}>" if row["url"] else ""
    lines = [f"\n## {title} {{ #{anchor(row)} }}\n", f"{names(rows)}: {row['summary']}.\n",
             f"**Terms.** {licence}. {row['terms']}\n",
             f"**Where to get it.** {row['get']}{link}\n"]
    if row["citation"] != "None.":
        lines.append(f"**Cite.** {row['citation']}\n")
    sizes = {edition: ", ".join(f"{n:,} {split}" for split, n in splits.items())
             for one in rows for edition, splits in one["sizes"].items()}
    if sizes:
        lines.append("**Size.** " + "; ".join(
            said if len(sizes) == 1 else f"{edition}: {said}" for edition, said in sizes.items())
            + ".\n")
    lines += [table(("layout", "files", "normals"), [
        (layout["title"], " ".join(f"`{file}`" for file in layout["tree"]),
         "yes" if layout["normals"] else "no") for layout in row["layouts"]]), ""]
    if row["checks"]:
        lines += ["**Checked.** " + "; ".join(row["checks"]) + ".\n"]
    options = [f"`--set data.options.{name}=`" for name in row["options"]]
    return "\n".join([*lines, f"Options: {', '.join(options)}.\n" if options else ""])


def command_pages() -> dict[str, str]:
    """Return a page for each verb, and one that lists them."""
    from pcinv_cli.main import VERBS, cli

    context = click.Context(cli, info_name="pcinv")
    pages = {}
    for name in VERBS:
        verb = cli.get_command(context, name)
        pages[f"{COMMANDS}/{name}.md"] = verb_page(verb, context, 1)
    first = ["# Commands\n",
             "`pcinv VERB [options] INPUT…`; the order of options does not matter.\n",
             table(("verb", "does"), [(f"[`{name}`]({name}.md)", line)
                                      for name, (_, line) in VERBS.items()]),
             "\n## Options of every verb\n", option_table(shared_options(context)),
             "\nResults go to stdout, talk and progress to stderr. `--json` prints one object, "
             "also when the verb fails: see [JSON and exit codes](../json.md)."]
    return {f"{COMMANDS}/index.md": "\n".join(first), **pages}


def verb_page(verb: click.Command, parent: click.Context, level: int) -> str:
    """Return what the help of a verb says, and of the verbs below it."""
    context = click.Context(verb, info_name=verb.name, parent=parent)
    path = context.command_path
    lines = [f"{'#' * level} {path}\n", f"{verb.help}\n"]
    if isinstance(verb, click.Group):
        return "\n".join([*lines, *(
            verb_page(verb.get_command(context, name), context, level + 1)
            for name in verb.list_commands(context))])
    examples = [f"{command}  # {comment}" for command, comment in verb.examples]
    usage = " ".join([path, *verb.collect_usage_pieces(context)])
    lines += ["```console", *examples, "```\n", f"**Usage.** `{usage}`\n"]
    own = [p for p in verb.params if isinstance(p, click.Option) and p.name not in verb.common]
    if own:
        lines += [option_table([p.get_help_record(context) for p in own]), ""]
    lines.append("And the [options of every verb](index.md#options-of-every-verb)."
                 if level == 1 else "")
    return "\n".join(lines)


def shared_options(context: click.Context) -> list[tuple[str, str] | None]:
    """Return the help of the options that every verb has."""
    verb = context.command.get_command(context, "info")
    return [p.get_help_record(context) for p in verb.params if p.name in verb.common]


def option_table(records: list[tuple[str, str] | None]) -> str:
    """Return options with their help; defaults as click says them."""
    return table(("option", "meaning"), [(f"`{flags}`", told)
                                         for flags, told in filter(None, records)])
