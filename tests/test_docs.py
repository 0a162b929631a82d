"""The site is built strictly, needs nothing from outside, and its commands and fields are real.

A block ```console title="runs" is run, line by line, in one folder a page with the samples in it.
A line must end with exit code 0 unless its comment says `exit code N`. The lines of the other
blocks are run as well, on stand-ins for the reader's own files and made shorter by the words of
`SHORTER`; those of `NOT_RUN` are only parsed, and it says why.
"""

import glob
import html.parser
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pcinv.errors import PcinvError
from pcinv_cli import params
from pcinv_cli.main import VERBS, cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "benchmarks/README.md", ROOT / "examples/plugin/README.md",
         ROOT / "CONTRIBUTING.md", ROOT / "data/samples/README.md", *sorted(DOCS.rglob("*.md"))]
ALLOWED = {"mkdir", "cp"}
"""What a block may run besides pcinv."""
ADDED = {"distance_net", "tins"}
"""Names that the example package adds; tests/e2e/test_plugin.py installs it and uses them."""
TINY = "--epochs 1 --set data.limit=28 --set train.batch_size=4"
SHORTER = {
    "pcinv train (?!.*cylinder_patch)": TINY,
    "pcinv train .*cylinder_patch": "--epochs 1 --set data.limit=2",
    "pcinv check": "--rotations 2",
    "pcinv eval": "--limit 28",
    "pcinv plot .*--eval": "--limit 14",
    "pcinv benchmark robustness": "--limit 14 --kind noise",
    "pcinv view (?!.*--screenshot)": "--screenshot picture.png --size 160x120",
}
"""Start of a line -> words that are added: a tiny training, fewer clouds, no window."""
NOT_RUN = {
    r"\bDIR\b|modelnet10": "needs a person's copy of a data set, or a cluster",
    r"tcp://HOST": "needs a cluster; tests/registration/test_cluster.py starts one",
    "distance_net|points.tally": "needs the example; tests/e2e/test_plugin.py installs it",
    "benchmark registration": "takes hours; tests/cli/test_benchmark_verb.py runs it on few pairs",
    "--weights RUN|embed|retrieval|--head": "tests/cli/test_search_verbs.py",
    "check --all|part-segmentation": "takes half an hour; tests/cli/test_trials_verb.py",
    "pretrain|pillar_": "takes minutes; tests/cli/test_pretrain_verb.py, test_sequence_verbs.py",
    "pcinv odometry|pcinv flow": "take scans of a LiDAR; tests/engine, tests/cli",
    "check roitr": "takes a minute; tests/engine/test_check_matching.py checks descriptors",
    "--method patch": "takes a descriptor; tests/registration/test_patches.py",
}
"""What is in a line -> why it is only parsed."""


def blocks(page):
    """(title, lines) of each block of commands of a page."""
    found = re.findall(r"^```(?:console|bash|sh)(?: title=\"(\w+)\")?\n(.*?)^```", page.read_text(),
                       re.S | re.M)
    return [(title, body.splitlines()) for title, body in found]


def words_of(line):
    """Words of a command line, without its comment."""
    return shlex.split(line, comments=True)


COMMANDS = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for _, lines in blocks(page)
            for line in lines if line.startswith("pcinv ")]


def parse(words):
    """Parse words as the console would, and run nothing; raise where it would refuse them.

    A value in capitals stands for one of the reader's own, so only others are looked up.
    """
    command, context, path = cli, click.Context(cli, info_name="pcinv"), ["pcinv"]
    words = words[1:]
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(context, name)
        if command is None:
            raise click.UsageError(f"{' '.join(path)} has no verb {name}")
        path.append(name)
        context = click.Context(command, info_name=name, parent=context)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    if rest:
        raise click.UsageError(f"{' '.join(path)} takes no {rest}")
    for param in command.params:
        for value in texts(values.get(param.name)):
            if isinstance(param.type, params.Name) and not (value.isupper() or value in ADDED):
                param.type.convert(value, param, context)
            elif isinstance(param.type, params.KeyValue):
                check_setting(value)
        if param.required and not texts(values.get(param.name)):
            raise click.UsageError(f"{' '.join(path)} needs {param.name}")


def texts(value):
    """Texts of an option: none, one, or those of one that is repeated."""
    return [v for v in (value if isinstance(value, list | tuple) else [value])
            if isinstance(v, str)]


def check_setting(text):
    """Raise unless `key=value` is a setting; a value in capitals is the reader's own."""
    from pcinv.engine.config import load_config

    load_config(overrides=[] if text.partition("=")[2].isupper() else [text])


def test_there_are_many_commands():
    assert len(COMMANDS) > 60 and len({page for page, _ in COMMANDS}) > 10


@pytest.mark.parametrize("page, line", COMMANDS)
def test_the_console_understands_the_command(page, line):
    parse(words_of(line))


@pytest.mark.parametrize("line", [
    "pcinv register a.ply b.ply --frobnicate", "pcinv regster a.ply b.ply", "pcinv info",
    "pcinv train --backbone risurconw", "pcinv register a.ply b.ply c.ply",
    "pcinv train --set optim.rl=3", "pcinv data lists", "pcinv register a.ply b.ply -o",
    "pcinv benchmark registration --root DIR"])
def test_a_command_that_does_not_exist_is_caught(line):
    with pytest.raises((click.UsageError, PcinvError)):
        parse(words_of(line))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the samples, as the reader's copy of the repository has them."""
    shutil.copytree(ROOT / "data/samples", tmp_path / "data/samples",
                    ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in [name for name in os.environ if name.startswith("PCINV_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = [page for page in sorted(DOCS.rglob("*.md")) if any(t == "runs" for t, _ in blocks(page))]


class TestBlocksThatRun:
    def call(self, line):
        """Run a line; return its exit code and what it said."""
        words = words_of(line)
        if words[0] in ALLOWED:
            done = subprocess.run(words, capture_output=True, text=True)
            return done.returncode, done.stderr
        assert words[0] == "pcinv", f"{words[0]} is not run here"
        done = CliRunner().invoke(cli, [*words[1:], "--no-progress"])
        return done.exit_code, done.output

    @pytest.mark.parametrize("page", RUN, ids=[p.stem for p in RUN])
    def test_its_lines_do_what_they_say(self, page, folder):
        for line in (line for title, lines in blocks(page) if title == "runs" for line in lines):
            expected = {int(code) for code in re.findall(r"\d+", line.partition("exit code")[2])}
            code, said = self.call(line)
            assert code in (expected or {0}), f"{line}\n{said}"

    def test_a_line_that_fails_is_seen(self, folder):
        code, said = self.call("pcinv info data/samples/no_such_file.ply")
        assert code == 3 and "no such file" in said


def shorter(line):
    """The words of a line with those that make it shorter."""
    added = [words for start, words in SHORTER.items() if re.match(start, line)]
    return [*words_of(line), *shlex.split(" ".join(added))]


def reasons(line):
    return [why for part, why in NOT_RUN.items() if re.search(part, line)]


def tried():
    """Page -> commands of its blocks that are not run as they are, each on its first page only."""
    found, seen = {}, set()
    for page in PAGES:
        lines = [shlex.join(words_of(line)) for title, lines in blocks(page) if title != "runs"
                 for line in lines if line.startswith("pcinv ") and not reasons(line)]
        new = [line for line in dict.fromkeys(lines) if line not in seen]
        seen |= set(new)
        if new and page.parent.name != "benchmarks":  # how its figures were made, in hours
            found[page] = new
    return found


TRIED = tried()


class TestOtherBlocks:
    """Blocks that speak of the reader's own files: the samples stand in for these."""

    @pytest.fixture
    def own(self, folder, trained):
        """The files that the pages name, and a run of one epoch where they say RUN."""
        samples = folder / "data/samples"
        for name in ("parts", "mine/bolt", "mine/chair", "runs", "SCANS"):
            (folder / name).mkdir(parents=True)
        for name in ("RUN", "runs/a", "runs/b"):
            (folder / name).symlink_to(trained[0])
        for source, name in (("room_a.ply", "a.ply"), ("room_b.ply", "b.ply"),
                             ("chair.ply", "scan.ply"), ("bolt.off", "chair.off"),
                             ("room_a.ply", "SCANS/a.ply"), ("room_b.ply", "SCANS/b.ply"),
                             *((f"{kind}", f"mine/{kind.partition('.')[0]}/{k}{kind[-4:]}")
                               for kind in ("bolt.off", "chair.ply") for k in range(5))):
            shutil.copy(samples / source, folder / name)
        CliRunner().invoke(cli, ["convert", "chair.off", "parts/bolt.stl"])
        (folder / "LIST.csv").write_text("source,target,init\na.ply,b.ply,\n")
        return folder

    @pytest.mark.parametrize("page", TRIED, ids=[p.stem for p in TRIED])
    def test_its_lines_run_when_made_shorter(self, page, own):
        for line in TRIED[page]:
            words = [name for word in shorter(line) for name in (
                sorted(glob.glob(word)) if "*" in word else [word])]
            done = CliRunner().invoke(cli, [*words[1:], "--no-progress"])
            assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"

    def test_what_is_not_run_says_why(self):
        lines = [line for _, line in COMMANDS]
        for part, why in NOT_RUN.items():
            assert any(re.search(part, line) for line in lines), f"{part} is nowhere: {why}"
            assert all((ROOT / name).is_file() for name in re.findall(r"tests/\S+\.py", why)), why
        assert all(any(re.match(start, line) for line in lines) for start in SHORTER)

    def test_most_are_run(self):
        first_steps = TRIED[ROOT / "README.md"]
        assert len(first_steps) > 10 and sum(map(len, TRIED.values())) > 25
        assert not [line for line in first_steps if "modelnet10" in line]


class TestNames:
    def test_make_has_the_targets(self):
        lines = [line for page in PAGES for _, block in blocks(page) for line in block]
        targets = {words_of(line)[1] for line in lines if line.startswith("make ")}
        known = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
        assert len(targets) > 1 and targets <= set(known) and "tset" not in known

    def test_samples_are_there(self):
        named = {word for _, line in COMMANDS for word in words_of(line)
                 if word.startswith("data/samples/")}
        assert len(named) > 4 and all((ROOT / name).is_file() for name in named)


class Assets(html.parser.HTMLParser):
    """What a page loads by itself: links that a person may follow do not count."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        loaded = [attrs.get(name) for name in ("src", "srcset", "poster", "data")]
        loaded += [attrs.get("href")] if tag in ("link", "image", "use") else []
        self.found += [url for url in loaded if url and tag != "meta"]


def outside(page):
    return [url for url in Assets(page).found if re.match(r"(\w+:)?//", url)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")):
        pytest.skip("mkdocs is not installed: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    return folder


class TestTheSite:
    def test_every_page_and_verb_is_there(self, site):
        built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
        written = {path.relative_to(DOCS).with_suffix(".html").as_posix()
                   for path in DOCS.rglob("*.md")}
        verbs = {f"reference/commands/{verb}.html" for verb in VERBS}
        assert written | verbs | {"figures.html", "datasets.html", "changes.html"} <= built
        assert not list(site.rglob("*.py"))

    def test_it_loads_nothing_from_outside(self, site):
        for page in site.rglob("*.html"):
            assert outside(page.read_text()) == [], page
        for sheet in site.rglob("*.css"):
            assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text()), sheet

    @pytest.mark.parametrize("tag", [
        '<script src="https://example.org/a.js"></script>', '<img src="//example.org/a.png">',
        '<link rel="stylesheet" href="https://example.org/a.css">'])
    def test_an_asset_from_outside_would_be_seen(self, tag):
        assert len(outside(tag)) == 1
        assert outside('<a href="https://example.org">x</a><img src="a.png">') == []

    def test_what_is_generated_is_told(self, site):
        options = (site / "reference/commands/register.html").read_text()
        assert "--view-point" in options and "Working size" in options and "\\|" not in options
        sets = (site / "datasets.html").read_text()
        assert 'id="set-modelnet10"' in sets and "must not be passed on" in sets
        assert "<!-- table" not in (site / "methods/index.html").read_text()
        assert "class=\"doc doc-heading\"" in (site / "reference/python.html").read_text()
        listing = re.sub("<[^>]+>", "", (site / "guides/extend.html").read_text())
        assert "class DistanceNet" in listing

    def test_a_broken_link_fails_the_build(self, site, tmp_path):
        for name in ("docs", "benchmarks/README.md", "CHANGELOG.md", "mkdocs.yml", "examples"):
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(ROOT / name, target) if (ROOT / name).is_dir() else shutil.copy(
                ROOT / name, target)
        with (tmp_path / "docs/index.md").open("a") as page:
            page.write("\n[nowhere](guides/no-such-page.md)\n")
        for name in ("pcinv", "data", "cli"):
            (tmp_path / name).symlink_to(ROOT / name)
        done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-d", "site"],
                              cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode != 0 and "no-such-page.md" in done.stderr


def documented(command):
    """Names of the fields that the reference lists for a command."""
    text = (DOCS / "reference/json.md").read_text()
    section = re.split(r"^### ", text, flags=re.M)
    body, = (part for part in section if part.splitlines()[0] == command)
    rows = re.findall(r"^\| (`.*?) \|", body, re.M)
    if not rows:  # a sentence: `models` holds an item for each: ...
        rows = [body.partition("each:")[2]]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


FIELDS = {
    "register": (["register", "data/samples/part_a.ply", "data/samples/part_b.ply"], None),
    "register --folder": (["register", "--folder", "scans", "-o", "model"], None),
    "check": (["check", "riconvpp", "--rotations", "2"], None),
    "predict": (["predict", "run", "data/samples/chair.ply"], "files"),
    "eval": (["eval", "run", "--limit", "28"], None),
    "embed": (["embed", "run", "data/samples/chair.ply", "-o", "e.npy"], None),
    "search": (["search", "data/samples/chair.ply", "scans", "--weights", "run"], None),
    "benchmark classification": ([
        "benchmark", "classification", "--backbone", "pointnet", "--trained", "z", "--epochs", "1",
        "--set", "data.num_points=64", "--set", "data.options.per_class=2", "-o", "trials"], None),
    "benchmark speed": (["benchmark", "speed", "--backbone", "pointnet", "--points", "64",
                         "--batch-size", "2", "--repeats", "1"], "backbones"),
    "benchmark retrieval": (["benchmark", "retrieval", "run", "--limit", "56"], None),
    "benchmark robustness": (["benchmark", "robustness", "run", "--limit", "28", "--kind", "noise"],
                             None),
    "info": (["info", "data/samples/chair.ply"], "files"),
    "info FOLDER": (["info", "scans"], "files"),
    "models": (["models", "riconvpp"], "models"),
    "view": (["view", "data/samples/chair.ply", "--screenshot", "a.png", "--size", "64x64"], None),
}


def ask(*words):
    done = CliRunner().invoke(cli, [*words, "--json"])
    return json.loads(done.stdout)["result"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch and the answer of the command that made it."""
    run = tmp_path_factory.mktemp("trained") / "run"
    return run, ask("train", "--backbone", "riconvpp", "--epochs", "1", "--set", "data.limit=56",
                    "-o", str(run))


class TestFieldsOfTheAnswers:
    @pytest.mark.parametrize("command", FIELDS)
    def test_the_reference_lists_what_is_there(self, command, trained, folder):
        words, items = FIELDS[command]
        (folder / "scans").mkdir()
        for name in ("room_a.ply", "room_b.ply"):
            shutil.copy(ROOT / "data/samples" / name, folder / "scans")
        (folder / "run").symlink_to(trained[0])
        result = ask(*words)
        assert documented(command) - {"models", "files"} == set(
            result[items][0] if items else result) - {"models", "files"}

    def test_those_of_training_too(self, trained):
        assert documented("train") == set(trained[1])

    def test_a_field_that_is_not_there_would_be_seen(self):
        assert "verdict" in documented("register") and "verdic" not in documented("register")
        assert len(documented("models")) > 8
