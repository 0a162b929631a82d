"""Each broken file: an error that names it, exit 3, soon, in little memory, nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import plain_files, write_corpus

from pcinv.errors import FileFormatError
from pcinv.io import read

MEGABYTES = 512
SLOWEST = 2.0  # seconds of processor time, so that a busy machine changes nothing


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    if not sys.platform.startswith("linux"):
        pytest.skip("the ceiling on memory needs Linux")
    folder = tmp_path_factory.mktemp("corpus")
    names = write_corpus(folder)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("child.py")), str(MEGABYTES), *names],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == names
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    return {line["file"]: line for line in lines}


H5 = ["never.h5", "storage.h5", "link.h5", "virtual.h5", "bomb.h5"]


@pytest.mark.parametrize("name", [*plain_files(), *H5])
def test_contract(answers, name):
    told = answers[name]
    assert told["error"] is not None, "it was read"
    if name.endswith((".las", ".laz")) and told["error"] == "dependency":
        pytest.skip("laspy is not installed")
    assert told["exit"] == 3, told
    assert name in told["where"] and told["hint"] and told["message"], told
    assert told["open"] == 0, "a file is left open"


def test_no_answer_takes_long(answers):
    slow = {
        name: told["seconds"] for name, told in answers.items() if told["seconds"] > SLOWEST
    }
    assert not slow


def test_the_ceiling_bites(tmp_path):
    """The control: a sound file that needs more than the ceiling is a resource limit."""
    import numpy as np

    np.save(tmp_path / "large.npy", np.ones((4_000_000, 3)))
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("child.py")),
            "64",
            str(tmp_path / "large.npy"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert json.loads(done.stdout)["exit"] == 7


def test_pickles_are_not_run(tmp_path):
    mark = tmp_path / "ran"
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    for suffix in (".pt", ".npy", ".pkl", ".npz"):
        (tmp_path / f"evil{suffix}").write_bytes(pickle.dumps(Evil()))
        with pytest.raises(FileFormatError):
            read(tmp_path / f"evil{suffix}")
    assert not mark.exists()
    pickle.loads((tmp_path / "evil.pt").read_bytes())
    assert mark.exists()  # the control
