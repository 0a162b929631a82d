"""The window, on a display of its own: what is seen in it, what keys and clicks do, how it ends."""

import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.display import display, wait_until

from pcinv.errors import DeviceError, InputError
from pcinv.io import read, write
from pcinv.types import PointCloud
from pcinv.vis.build import scene_of_files
from pcinv.vis.colors import bar_colors
from pcinv.vis.frames import Frames
from pcinv.vis.scene import LAYER_COLORS, make_scene
from pcinv.vis.window import show

PICTURE, PANEL = (slice(80, 880), slice(0, 970)), (slice(80, 880), slice(980, 1280))
"""Rows and columns of the display: a window of 1280 x 800 in the middle of 1280 x 960."""
MIDDLE = (485, 480)
TELLS_PID = "import os, sys, time; print('pcinv-said', os.getpid(), flush=True)"
HANGS = (sys.executable, "-c", f"{TELLS_PID}; sys.stdin.read(); time.sleep(600)")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 and /proc")


@pytest.fixture(scope="module")
def screen():
    with display() as found:
        yield found


@pytest.fixture
def here(screen, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", screen.name)
    monkeypatch.chdir(tmp_path)
    return screen


class Shown:
    """A window that is shown in a thread, and what it has said."""

    def __init__(self, screen, what, **options):
        self.screen, self.said, self.error = screen, [], None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._show, args=(what, options), daemon=True)
        self._thread.start()

    def _show(self, what, options):
        try:
            show(what, ready=self._ready.set, said=self.said.append, **options)
        except DeviceError as error:
            self.error = error

    def start(self):
        wait_until(lambda: self._ready.is_set() or not self._thread.is_alive(), 60)
        if self.error is not None and "Vulkan" in self.error.message:
            pytest.skip(f"no graphics driver: {self.error.message}")
        assert self.error is None
        return self

    def ended(self):
        self._thread.join(20)
        return not self._thread.is_alive()

    def until(self, seen):
        """Return the first picture of the display of which `seen` is true."""
        def looked():
            picture = self.screen.picture()
            return picture if seen(picture) else None

        return wait_until(looked)

    def wait_for(self, words):
        """Return the first thing said with these words in it."""
        return wait_until(lambda: next((each for each in self.said if words in each), None))

    def press(self, key, seen):
        self.screen.key(key)
        return self.until(seen)


@contextmanager
def window(screen, what, **options):
    shown = Shown(screen, what, **options)
    try:
        yield shown.start()
    finally:
        screen.key("q")
        if not shown.ended():
            raise AssertionError("the window does not close")


def plate(count=3000, seed=0, shift=0.0):
    """Points on an upright square that is seen from the front."""
    xyz = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    xyz[:, 1] = 0.05 * xyz[:, 1]
    xyz[:, 0] += shift
    return PointCloud(xyz.astype(np.float32), np.array([5e5, 5e6, 0.0]),
                      {"label": np.arange(count) % 3})


def count_of(picture, color, part=PICTURE):
    return int((np.abs(picture[part].astype(int) - color).max(axis=2) <= 2).sum())


ORANGE, BLUE = (np.array(color) for color in LAYER_COLORS[:2])


def test_keys(here, tmp_path):
    scene = make_scene([("one.ply", plate(shift=-0.7)), ("two.ply", plate(seed=1, shift=0.7))],
                       title="two plates")
    with window(here, scene, look="front") as shown:
        def has(color, part=PICTURE):
            return lambda picture: count_of(picture, color, part) > 100

        first = shown.until(lambda p: has(ORANGE)(p) and has(BLUE)(p))
        assert has(ORANGE, PANEL)(first) and has(BLUE, PANEL)(first)  # the legend
        hidden = shown.press("1", lambda p: not has(ORANGE)(p))
        assert has(BLUE)(hidden) and not has(ORANGE, PANEL)(hidden)
        shown.press("1", has(ORANGE))
        shown.press("L", lambda p: p[100, 10].max() < 50)  # the other ground
        shown.press("L", lambda p: p[100, 10].min() > 250)
        larger = shown.press("plus", lambda p: count_of(p, BLUE) > 1.2 * count_of(first, BLUE))
        shown.press("minus", lambda p: count_of(p, BLUE) < count_of(larger, BLUE) / 1.2)
        kinds = shown.press("C", lambda p: not has(ORANGE)(p) and not has(BLUE)(p))
        assert count_of(kinds, 255) < 0.99 * kinds[PICTURE][..., 0].size
        bar = bar_colors(np.linspace(0, 1, 5)).astype(int)
        shown.press("C", lambda p: all(count_of(p, each, PANEL) > 10 for each in bar))
        middle = (slice(300, 600), slice(300, 700))
        keys = shown.press("H", lambda p: p[middle].mean() < 80)
        shown.press("H", lambda p: p[middle].mean() > 100)
        assert keys[middle].max() > 200  # words on it
        here.key("S")
        shown.wait_for("-1.png")
        here.key("S")
        shown.wait_for("-2.png")
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "pcinv-two_plates-1.png", "pcinv-two_plates-2.png"]
        from PIL import Image

        image = np.asarray(Image.open(tmp_path / "pcinv-two_plates-1.png").convert("RGB"))
        assert image.shape[1] > 900 and count_of(image, bar[2], (slice(None), slice(None))) > 100
    assert shown.error is None and shown.ended()


def test_points_distances_and_crops(here, tmp_path):
    whole = plate(20_000)
    write(tmp_path / "p.ply", whole)
    scene = scene_of_files([tmp_path / "p.ply"], limit=10_000)
    with window(here, scene, look="front") as shown:
        here.click(*MIDDLE)
        here.click(*MIDDLE, hold="ctrl")
        words = shown.wait_for("row ")
        assert [each for each in shown.said if "row" in each] == [words]  # Ctrl makes it one
        row = int(words.split("row ")[1].split(" of")[0].replace(",", ""))
        place = [float(each.split()[-1]) for each in words.split("; ")[2:5]]
        assert np.allclose(place, whole.absolute()[row], atol=1e-5)
        assert np.abs(np.subtract(place, scene.origin))[[0, 2]].max() < 0.1  # it was in the middle
        here.key("m")
        here.click(MIDDLE[0] - 100, MIDDLE[1])
        here.click(MIDDLE[0] + 100, MIDDLE[1])
        length = float(shown.wait_for("distance ").split(",")[0].split()[1])
        assert shown.until(lambda p: count_of(p, np.array([230, 0, 120])) > 100) is not None
        here.key("x")
        here.drag((MIDDLE[0] - 100, MIDDLE[1] - 100), (MIDDLE[0] + 100, MIDDLE[1] + 100))
        here.key("k")
        left = int(shown.wait_for("points are left").split()[0].replace(",", ""))
        here.key("w")
        shown.wait_for("p-crop-1.ply")
    found = read(tmp_path / "p-crop-1.ply")
    reach = np.abs(found.absolute() - scene.origin)[:, [0, 2]].max(axis=0)
    assert np.allclose(reach, length / 2, rtol=0.15)
    assert left < len(found) < 20_000 and set(found.attributes) == {"label"}
    inside = (np.abs(whole.absolute() - scene.origin)[:, [0, 2]] < 0.9 * length / 2).all(axis=1)
    assert inside.sum() <= len(found)


def test_scans_one_after_the_other(here, tmp_path):
    for k in range(3):
        write(tmp_path / f"{k}.ply", plate(seed=k, shift=0.4 * k))
    frames = Frames(tuple(str(tmp_path / f"{k}.ply") for k in range(3)), color_by="solid")
    columns = []
    with window(here, frames, look="front") as shown:
        def looked(picture):
            return np.flatnonzero((np.abs(picture[PICTURE] - ORANGE).max(axis=2) <= 2).any(axis=0))

        columns.append(looked(shown.until(lambda p: len(looked(p)) > 100)))
        for key in ("Right", "period"):
            shown.screen.key(key)
            shown.wait_for(f"{len(columns)}.ply, {len(columns) + 1} of 3")
            least = columns[-1].min() + 20
            columns.append(looked(shown.until(
                lambda p, least=least: len(looked(p)) > 100 and looked(p).min() > least)))
        said = len(shown.said)
        shown.screen.key("space")
        for left in (each.min() for each in (*columns, columns[0])):  # round and round
            shown.until(lambda p, left=left: len(looked(p)) > 100
                        and abs(looked(p).min() - left) < 10)
        assert len(shown.said) == said  # in the panel only: a film would fill the console
        shown.screen.key("space")
        shown.screen.key("comma")
        wait_until(lambda: len(shown.said) > said)


def test_before_and_after_stay_in_the_picture(here, tmp_path):
    write(tmp_path / "a.ply", plate(seed=0))
    write(tmp_path / "b.ply", plate(seed=1))
    far = np.eye(4)
    far[0, 3] = 40.0
    write(tmp_path / "far.ply", PointCloud(plate(seed=1).xyz + np.float32([40, 0, 0]),
                                           plate().origin))
    scene = scene_of_files([tmp_path / "a.ply", tmp_path / "far.ply"], color_by="solid",
                           transform=far)
    before = next(layer for layer in scene.layers if layer.name.endswith("as it was")).color
    with window(here, scene, look="front") as shown:
        shown.until(lambda p: count_of(p, np.array(BLUE)) > 1000)
        apart = shown.press("B", lambda p: count_of(p, np.array(before)) > 20)
        assert count_of(apart, np.array(BLUE)) > 20  # both, far from each other


def test_without_a_display(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DeviceError, match="no display") as caught:
        show(make_scene([("a", plate())]))
    assert caught.value.exit_code == 4 and "--web" in caught.value.hint


@linux
def test_a_display_that_is_not_there(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(DeviceError, match="987"):
        show(make_scene([("a", plate())]))


def alive(pid):
    """Return whether a process works; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def any_display(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")


@linux
def test_a_window_that_hangs_is_killed(any_display, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    said = []
    with pytest.raises(DeviceError, match=r"within 1 s"):
        show(make_scene([("a", plate())]), command=HANGS, start_limit_s=1, said=said.append)
    assert said and not alive(int(said[0]))
    assert list(tmp_path.iterdir()) == []  # the scene that was handed over is gone


def test_a_window_that_dies_says_why(any_display):
    scene = make_scene([("a", plate())])
    for code, words in (("raise SystemExit('no driver')", "no driver"), ("", "exit 0"),
                        ("print('pcinv-ready', flush=True); raise SystemExit(3)", "exit 3")):
        with pytest.raises(DeviceError, match=words):
            show(scene, command=(sys.executable, "-c", code))
    shown = "print('Open3D says', 'pcinv-ready', 'pcinv-said a b', sep=chr(10))"
    said = []
    show(scene, command=(sys.executable, "-c", shown), said=said.append)  # the negative control
    assert said == ["a b"]


def test_a_first_scan_that_is_damaged_opens_no_window(any_display, tmp_path):
    (tmp_path / "0.ply").write_text("ply\nbroken")
    with pytest.raises(InputError):
        show(Frames((str(tmp_path / "0.ply"),) * 2), command=(sys.executable, "-c", "1/0"))


PARENT = """
import sys
sys.path.insert(0, {tests!r})
from vis.test_window import TELLS_PID, plate
from pcinv.vis.scene import make_scene
from pcinv.vis.window import show
show(make_scene([("a", plate())]), said=lambda pid: print(pid, flush=True),
     command=(sys.executable, "-c", TELLS_PID + "; print('pcinv-ready', flush=True);"
              "sys.stdin.read()"))
"""


@linux
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_window_ends_with_its_parent(any_display, sent, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed parent leaves its folder
    code = PARENT.format(tests=str(Path(__file__).parents[1]))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.send_signal(sent)
    code = parent.wait(20)
    assert code == 0 if sent != signal.SIGKILL else code != 0
    wait_until(lambda: not alive(child))


@linux
def test_a_window_that_does_not_end_is_killed_by_the_second_signal(any_display):
    """The first one asks it to end, and it hangs."""
    told = []

    def said(words):
        told.append(words)
        signal.raise_signal(signal.SIGINT)

    ignores = ("import os, time; print('pcinv-said', os.getpid(), flush=True); time.sleep(1e-3)\n"
               "print('pcinv-said once more', flush=True); time.sleep(600)")
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        show(make_scene([("a", plate())]), command=(sys.executable, "-c", ignores), said=said)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    except KeyboardInterrupt:
        pytest.fail("a signal was not caught")
    finally:
        signal.signal(signal.SIGINT, found)
    assert told[1] == "once more" and not alive(int(told[0]))


def test_another_cloud_gives_another_picture(here):
    pictures = []
    for seed in (0, 1):
        with window(here, make_scene([("a", plate(300, seed))]), look="front") as shown:
            pictures.append(shown.until(lambda p: (p[PICTURE] < 250).any(axis=2).mean() > 0.01))
    same, other = (np.abs(pictures[0][PICTURE].astype(int) - each[PICTURE]).max(axis=2) > 50
                   for each in pictures)
    assert not same.any() and other.mean() > 0.005
