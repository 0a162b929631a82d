"""Run the console in this process, or as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from pcinv_cli.main import cli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    """Keep the machine's own settings out, and each test in a folder of its own."""
    for name in list(os.environ):
        if name.startswith("PCINV_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run():
    """Return a function that runs `pcinv ARGS` in this process."""

    def call(*args, env=None):
        done = CliRunner().invoke(cli, [str(arg) for arg in args], env=env)
        return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr)

    return call


@pytest.fixture
def ask(run):
    """Return a function that runs `pcinv ARGS --json` and reads its one object."""

    def call(*args, code=0, env=None):
        done = run(*args, "--json", env=env)
        whole = json.loads(done.out)
        assert set(whole) == {"schema", "command", "ok", "result", "warnings", "error"}
        assert whole["schema"] == "pcinv/1"
        assert done.code == code, (whole, done.err)
        assert whole["ok"] == (whole["error"] is None) == (code == 0)
        return whole

    return call


@pytest.fixture
def process():
    """Return a function that runs `python ARGS` as a process of its own."""

    def call(*args, env=None, timeout=120, **options):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **(env or {})}
        paths = [str(ROOT), str(ROOT / "data"), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True,
                              env=environment, timeout=timeout, check=False,
                              stdin=subprocess.DEVNULL, **options)

    return call


@pytest.fixture
def cloud_file(tmp_path):
    """Write a small text cloud and return its path."""
    path = tmp_path / "cloud.xyz"
    path.write_text("".join(f"{k} {k % 3} {k % 5}\n" for k in range(20)))
    return path


@pytest.fixture
def mesh_file(tmp_path):
    """Write a tetrahedron as OFF and return its path."""
    path = tmp_path / "tetra.off"
    path.write_text("OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")
    return path
