"""The console as a whole: help, order of options, streams, the one JSON object, exit codes."""

import errno
import json
import os
import sys

import click
import pytest

import pcinv
from pcinv import errors
from pcinv.errors import EXIT_CODES, FileFormatError, PcinvError
from pcinv_cli.failures import failure_of
from pcinv_cli.group import verb_first
from pcinv_cli.main import VERBS, cli
from pcinv_cli.output import to_plain


def all_verbs():
    """Return the path of words to each verb, with the verb."""
    for name in cli.table:
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            for inner in command.table:
                yield (name, inner), command.get_command(click.Context(command), inner)
        else:
            yield (name,), command


def test_help_names_every_verb_and_exit_code(run):
    done = run("--help")
    assert done.code == 0 and done.err == ""
    for word in (*VERBS, *EXIT_CODES.values()):
        assert word in done.out


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["train", "--help"],
                                  ["info", "--help"], ["trian"]])
def test_help_imports_neither_torch_nor_numpy(process, args):
    code = ("import sys\nfrom pcinv_cli.main import cli\n"
            f"code = cli.main({args!r}, standalone_mode=False)\n"
            "heavy = {'torch', 'numpy', 'rich', 'pydantic', 'scipy'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else 0)")
    done = process("-c", code)
    assert done.returncode == 0, done.stderr


def test_version(run):
    assert run("--version").out == f"pcinv {pcinv.__version__}\n"


def test_no_arguments_show_the_help_as_a_usage_error(run):
    done = run()
    assert done.code == 2 and "Verbs:" in done.err and done.out == ""


@pytest.mark.parametrize(("path", "command"), [pytest.param(p, c, id=" ".join(p))
                                               for p, c in all_verbs()])
def test_help_of_every_verb(run, path, command):
    done = run(*path, "--help")
    assert done.code == 0
    assert len(command.examples) == 3
    for example, _ in command.examples:
        assert example in done.out
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help and param.opts[-1] in done.out
    assert "--json" in done.out and "--debug" in done.out


@pytest.mark.parametrize(("path", "command"), [pytest.param(p, c, id=" ".join(p))
                                               for p, c in all_verbs()])
def test_examples_parse(path, command, tmp_path):
    """Each worked example is a command line that click accepts."""
    (tmp_path / "RUN").mkdir()
    for example, _ in command.examples:
        for part in example.replace('eval "$(', "").replace(')"', "").split(" && "):
            words = part.split(" > ")[0].replace("'", "").split()
            assert words[0] == "pcinv"
            group, words = cli, verb_first(words[1:], cli.table)
            while isinstance(group, click.Group):
                group, words = group.get_command(click.Context(group), words[0]), words[1:]
            group.make_context(group.name, list(words), obj=None).close()


def test_the_table_tells_what_the_verbs_tell():
    for name, (module, line) in VERBS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command.name == name and module
        first = (command.help or "").split(";")[0].split(",")[0].split(":")[0].rstrip(".")
        assert line.startswith(first[:20])


def test_an_unknown_verb_is_answered_with_the_nearest(run):
    done = run("trian")
    assert done.code == 2
    assert done.err.splitlines() == ["error: No such command 'trian'.", "where: pcinv",
                                     "try:   did you mean train or pretrain?"]


@pytest.mark.parametrize("verb", ["export", "segment"])
def test_verbs_that_are_not_there_do_not_exist(run, verb):
    done = run(verb)
    assert done.code == 2 and f"No such command '{verb}'" in done.err


def test_an_unknown_option_is_answered_with_the_nearest(run):
    done = run("info", "--jsno", "x")
    assert done.code == 2 and "--json" in done.err


@pytest.mark.parametrize(("args", "code"), [
    (["trian"], 2), ([], 2), (["info"], 2), (["config"], 2), (["config", "shw"], 2),
    (["info", "--nope", "f"], 2), (["train", "--backbone", "risurcon"], 2),
    (["train", "--set", "optim.lrr=1"], 2), (["train", "--device", "gpu"], 2),
    (["info", "missing.ply"], 3),
])
def test_json_is_one_object_on_failure_and_usage_errors(ask, args, code):
    whole = ask(*args, code=code)
    assert set(whole["error"]) == {"code", "message", "where", "hint"}
    assert whole["error"]["message"] and whole["error"]["hint"]


def test_json_is_one_object_on_success(ask, cloud_file):
    whole = ask("info", cloud_file)
    assert whole["command"] == "info" and whole["result"]["files"][0]["num_points"] == 20


def test_the_order_of_options_never_matters(run, cloud_file):
    orders = [["info", cloud_file, "--json"], ["--json", "info", cloud_file],
              ["info", "--json", cloud_file]]
    assert len({run(*order).out for order in orders}) == 1
    values = ["--set", "optim.lr=0.5", "--json"]
    orders = [[*values, "config", "show"], ["config", *values, "show"], ["config", "show", *values],
              ["--json", "config", "--set", "optim.lr=0.5", "show"]]
    assert len({run(*order).out for order in orders}) == 1


@pytest.mark.parametrize(("given", "expected"), [
    ("-q train", "train -q"), ("-o train check", "check -o train"),
    ("--backbone risurconv train", "train --backbone risurconv"),
    ("--backbone=check train", "train --backbone=check"), ("-q trian", "trian -q"),
    ("-- train", "-- train"), ("--json", "--json"), ("--seed", "--seed"),
])
def test_verb_first(given, expected):
    assert verb_first(given.split(), VERBS) == expected.split()


RAISED = [
    *[(kind("what", where="there", hint="do this"), kind.exit_code)
      for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PcinvError)],
    (KeyboardInterrupt(), 130), (click.Abort(), 130), (MemoryError(), 7),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), 7),
    (OSError(errno.ENOSPC, "No space left on device", "file"), 7),
    (FileNotFoundError(errno.ENOENT, "No such file", "file"), 3),
    (PermissionError(errno.EACCES, "Permission denied", "file"), 3),
    (ModuleNotFoundError("No module named 'laspy'", name="laspy"), 4),
    (click.UsageError("no"), 2), (ValueError("a defect"), 70),
    (ModuleNotFoundError("No module named 'pcinv.x'", name="pcinv.x"), 70),
]


@pytest.mark.parametrize(("error", "code"), RAISED, ids=lambda v: type(v).__name__)
def test_every_exception_has_an_exit_code_of_the_table(run, monkeypatch, tmp_path, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("pcinv.io.describe", fail)
    done = run("info", "file")
    assert done.code == code in EXIT_CODES
    assert done.err.strip().startswith("error:") and "Traceback" not in done.err
    told = json.loads(run("info", "file", "--json").out)
    assert told["ok"] is False and told["error"]["code"]


def test_an_internal_error_leaves_a_report(run, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise ValueError("a defect")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("pcinv.io.describe", fail)
    done = run("info", "file")
    report, = tmp_path.glob("pcinv-report-*.txt")
    assert str(report) in done.err
    assert "ValueError: a defect" in report.read_text() and "Traceback" in report.read_text()
    assert "Traceback" in run("info", "file", "--debug").err


def test_exit_code_topics(run, ask):
    lines = [line.split(maxsplit=1) for line in run("help", "exit-codes").out.splitlines()]
    assert lines == [[str(code), meaning] for code, meaning in EXIT_CODES.items()]
    told = ask("help", "exit-codes")["result"]["exit_codes"]
    assert told == {str(code): text for code, text in EXIT_CODES.items()}
    assert "pcinv config show" in run("help", "config", "show").out
    assert run("help", "confg").code == 2


def test_warnings_are_collected(run, ask, monkeypatch):
    import logging
    import warnings

    def warn(*_, **__):
        for _ in range(2):
            warnings.warn_explicit("points lost", UserWarning, "pcinv/io/ply.py", 3, registry={})
        logging.getLogger("pcinv.io").warning("odd suffix")
        warnings.warn_explicit("not ours", UserWarning, "numpy/core.py", 3, registry={})
        print("a library prints")
        return {"num_points": 1}

    monkeypatch.setattr("pcinv.io.describe", warn)
    expected = [{"code": "warning", "message": m} for m in ("points lost", "odd suffix")]
    assert ask("info", "file")["warnings"] == expected
    done = run("info", "file")
    assert [line for line in done.err.splitlines() if line.startswith("warning:")] == [
        "warning: points lost", "warning: odd suffix"]
    assert "a library prints" not in done.out and "a library prints" in done.err
    assert "warning" not in run("info", "file", "-q").err


def test_results_alone_are_on_stdout_even_when_libraries_print_from_c(process):
    code = ("import os, sys\nimport pcinv.io\n"
            "def describe(file, **_):\n    os.write(1, b'printed from C\\n')\n"
            "    print('printed from Python')\n    return {'num_points': 1}\n"
            "pcinv.io.describe = describe\nsys.argv = ['pcinv', 'info', 'x', '--json']\n"
            "from pcinv_cli.main import main\nsys.exit(main())")
    done = process("-c", code)
    assert done.returncode == 0 and json.loads(done.stdout)["ok"]
    assert "printed from C" in done.stderr and "printed from Python" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no shell pipes on this platform")
def test_a_reader_that_stops_early_gets_no_complaint(process, cloud_file):
    code = ("import os, sys, subprocess\n"
            "read, write = os.pipe()\nos.close(read)\n"
            "done = subprocess.run([sys.executable, '-m', 'pcinv_cli', 'help'], stdout=write,"
            " stderr=subprocess.PIPE)\n"
            "sys.exit(done.stderr.decode() or done.returncode)")
    done = process("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this platform")
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_full_disk_behind_stdout_is_told(process, extra):
    code = ("import subprocess, sys;"
            "done = subprocess.run([sys.executable, '-m', 'pcinv_cli', 'help', *sys.argv[1:]],"
            " stdout=open('/dev/full', 'w'), stderr=subprocess.PIPE, text=True);"
            "print(done.returncode, done.stderr)")
    told = process("-c", code, *extra).stdout
    assert told.startswith("7 error: No space left on device") and "Exception ignored" not in told


def test_only_the_first_process_of_torchrun_speaks(run, cloud_file):
    assert run("info", cloud_file, env={"RANK": "1"}).out == ""
    assert "20" in run("info", cloud_file, env={"RANK": "0"}).out


def test_to_plain():
    import dataclasses
    import enum
    import pathlib

    import numpy as np

    class Kind(enum.StrEnum):
        BEST = "best"

    @dataclasses.dataclass
    class Point:
        xyz: object
        path: object

    value = {"a": Point(np.array([1.0, np.nan, np.inf]), pathlib.PurePosixPath("x/y")),
             "b": (np.float32(0.5), np.int64(3), np.bool_(True), None, Kind.BEST), "c": {"z", "y"}}
    plain = to_plain(value)
    assert plain == {"a": {"xyz": [1.0, None, None], "path": "x/y"},
                     "b": [0.5, 3, True, None, "best"], "c": ["y", "z"]}
    json.dumps(plain, allow_nan=False)
    assert type(plain["b"][4]) is str


def test_the_three_parts_of_a_typed_error_survive():
    failure = failure_of(FileFormatError("17 points missing", where="a.ply:9", hint="resend it"))
    assert failure.as_dict() == {"code": "file", "message": "17 points missing",
                                 "where": "a.ply:9", "hint": "resend it"}
