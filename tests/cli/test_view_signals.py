"""What a person looks at is ended by Ctrl-C or SIGTERM, and the answer is printed all the same."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import browser, page, picture
from helpers.display import display, wait_until
from helpers.surfaces import two_views

import pcinv
from pcinv.errors import DeviceError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no signals for one process there")
ROOT = Path(__file__).parents[2]
PAGE, WINDOW = "showing at http", "showing a window"


@pytest.fixture(scope="module")
def screen():
    with display() as found:
        yield found


@pytest.fixture
def clouds(tmp_path):
    views = two_views(count=1200)
    for name, points in (("a.ply", views.source), ("b.ply", views.target),
                         ("one.ply", [[0.3, 0.2, 5.1]])):
        pcinv.write(tmp_path / name, pcinv.PointCloud(np.asarray(points, np.float32), np.zeros(3)))
    (tmp_path / "tmp").mkdir()
    return tmp_path


class Looking:
    """The console in a process of its own, and what it says."""

    def __init__(self, folder, screen, args):
        self.folder = folder
        hidden = ("DISPLAY", "WAYLAND_DISPLAY", "PCINV_", "PYTHONPATH")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        shown = {} if screen is None else {"DISPLAY": screen.name}
        paths = os.pathsep.join(str(ROOT / part) for part in (".", "data", "cli"))
        with open(folder / "out.txt", "w") as out, open(folder / "err.txt", "w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pcinv_cli", *args], cwd=folder, stdout=out, stderr=err,
                stdin=subprocess.DEVNULL, start_new_session=True,
                env={**kept, **shown, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1",
                     "NO_COLOR": "1", "TMPDIR": str(folder / "tmp")})

    @property
    def said(self):
        return (self.folder / "err.txt").read_text()

    def until(self, words):
        wait_until(lambda: words in self.said or self.process.poll() is not None, 90)
        if "the window does not work here" in self.said:
            pytest.skip(f"no graphics driver: {self.said}")
        assert words in self.said and self.process.poll() is None, self.said

    def ctrl_c(self):
        os.killpg(self.process.pid, signal.SIGINT)  # as a terminal does: to the window as well

    def terminate(self):
        self.process.terminate()

    def twice(self):
        self.ctrl_c()
        self.terminate()

    def answer(self, code=0):
        assert self.process.wait(60) == code, self.said
        return json.loads((self.folder / "out.txt").read_text())


@contextmanager
def looking(folder, screen, *args):
    found = Looking(folder, screen, args)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            os.killpg(found.process.pid, signal.SIGKILL)
        found.process.wait(30)


@pytest.mark.parametrize("end", [Looking.ctrl_c, Looking.terminate, Looking.twice])
def test_a_page_that_is_ended_keeps_the_answer(clouds, end):
    with looking(clouds, None, "register", "a.ply", "b.ply", "--fast", "--view", "--json") as run:
        run.until(PAGE)
        end(run)
        told = run.answer()
    assert told["ok"] and told["result"]["verdict"] == "trusted"
    assert list((clouds / "tmp").iterdir()) == []


@pytest.mark.parametrize("end", [Looking.ctrl_c, Looking.terminate, Looking.twice])
def test_a_window_that_is_ended_keeps_the_answer_and_leaves_nothing(clouds, screen, end):
    with looking(clouds, screen, "register", "a.ply", "b.ply", "--fast", "--view", "--json") as run:
        run.until(WINDOW)
        assert list((clouds / "tmp").glob("pcinv-*"))  # the scene, for the process of the window
        end(run)
        told = run.answer()
        wait_until(lambda: alone(run.process.pid))
    assert told["ok"] and told["result"]["verdict"] == "trusted" and told["warnings"] == []
    assert list((clouds / "tmp").iterdir()) == []


def alone(group):
    """Return whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_registration_is_not_lost_where_nothing_can_be_shown(ask, clouds, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, "viser", None)
    whole = ask("register", "a.ply", "b.ply", "--fast", "--view")
    assert whole["result"]["verdict"] == "trusted"
    assert any("viser" in each["message"] and "pip install" in each["message"]
               for each in whole["warnings"])
    whole = ask("view", "a.ply", code=4)  # the control: here it is all that was asked for
    assert whole["error"]["code"] == "dependency"


def test_keys_of_a_window_are_told_once_it_is_there(run, clouds, monkeypatch):
    def window(what, *, ready, **view):
        if shows:
            ready()
        else:
            raise DeviceError("no display")

    monkeypatch.setattr("pcinv.vis.window.show", window)
    monkeypatch.setattr("pcinv.vis.web.serve", lambda what, *, ready, **view: ready("http://x"))
    for shows in (True, False):
        said = run("view", "a.ply").err
        assert ("H help" in said) == shows and ("http://x" in said) != shows


def test_window_and_page_are_told_the_format(run, clouds, monkeypatch):
    told = []
    monkeypatch.setattr("pcinv.vis.window.show", lambda what, **view: told.append(view["format"]))
    monkeypatch.setattr("pcinv.vis.web.serve", lambda what, *, ready, **view: (
        told.append(view["format"]), ready("http://x")))
    for more in ((), ("--web",)):
        assert run("view", "a.ply", "--from", "ply", *more).code == 0
    assert told == ["ply", "ply"]


def test_one_point_is_seen_in_the_page(clouds):
    with browser() as chromium, page(chromium, 1280) as seen, \
            looking(clouds, None, "view", "one.ply", "--web", "--no-browser", "--point-size", "12",
                    "--json") as run:
        run.until(PAGE)
        seen.goto(run.said.split("showing at ")[1].split()[0])
        seen.get_by_text("Save picture").wait_for()
        wait_until(lambda: colored(picture(seen, "canvas")) > 25)
        run.ctrl_c()
        assert run.answer()["result"]["num_drawn"] == 1


def colored(image):
    """Return how many pixels of the left part have a colour; a panel and a notice lie beside."""
    return int((np.ptp(image[200:500, :800].astype(int), axis=2) > 60).sum())
