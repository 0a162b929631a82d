"""The page of `pcinv view --web`: only this machine reaches it; it draws, measures and crops."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import psutil
import pytest
from helpers.browser import browser, changed, page, picture
from helpers.display import wait_until

from pcinv.errors import DependencyError, InputError, PcinvError, UsageError
from pcinv.io import read, write
from pcinv.types import Mesh, PointCloud
from pcinv.vis import web, web_page
from pcinv.vis.build import scene_of_files
from pcinv.vis.fit import bar_numbers
from pcinv.vis.frames import frames_of_folder
from pcinv.vis.scene import Lines, make_scene
from pcinv.vis.web import serve
from pcinv.vis.web_page import Page
from pcinv.vis.web_pointer import cuts_of, edges
from pcinv.vis.window_tools import stays

pytest.importorskip("viser", reason="viser is not installed: pip install 'pcinv[web]'")

FAR = np.array([500_000.0, 5_000_000.0, 100.0])
HOSTILE = """<img src=x onerror="window.bad=1">{window.bad=1}"""


def cloud(count=3000, seed=0, origin=(0.0, 0.0, 0.0), shift=0.0, **attributes):
    xyz = np.random.default_rng(seed).uniform(-1, 1, (count, 3)).astype(np.float32)
    return PointCloud(xyz + np.float32([shift, 0, 0]), np.asarray(origin, np.float64), attributes)


def two_clouds(**how):
    return make_scene([("left", cloud(shift=-1.5)), ("right", cloud(seed=1, shift=1.5))], **how)


@contextmanager
def served(what, **how):
    """Serve in a thread, give the address, and see to it that the thread ends."""
    found, told, stop, errors = [], threading.Event(), threading.Event(), []

    def run():
        try:
            serve(what, open_browser=False, ready=lambda a: (found.append(a), told.set()),
                  stop=stop, **how)
        except PcinvError as error:  # raised again below
            errors.append(error)
            told.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert told.wait(60)
        if errors:
            raise errors[0]
        yield found[0]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def filled(what, **how):
    """Give a page with a server, without a browser."""
    shown = Page(what, "iso", "auto", None, **how)
    server = web._listening(None)
    try:
        shown.fill(server)
        yield shown
    finally:
        with web._quiet():
            server.stop()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


def opened(seen, address):
    """Open the page and wait until something is drawn."""
    seen.goto(address)
    seen.get_by_text("Save picture").wait_for()
    blank = lambda: len(np.unique(picture(seen, "canvas").reshape(-1, 3), axis=0)) < 4  # noqa: E731
    wait_until(lambda: not blank())
    settled(seen)
    return seen


def settled(seen):
    """Return the picture once it no longer changes."""
    last = [picture(seen, "canvas")]

    def same():
        last.append(picture(seen, "canvas"))
        return (last[-1].shape == last[-2].shape and changed(last[-2], last[-1]) == 0) or None

    wait_until(same)
    return last[-1]


def listening():
    """Return the addresses at which this process listens."""
    return {f"http://{each.laddr.ip}:{each.laddr.port}"
            for each in psutil.Process().net_connections("tcp")
            if each.status == psutil.CONN_LISTEN}


def test_only_this_machine_can_reach_it(capfd):
    before = listening()
    with served(two_clouds()) as address, served(two_clouds()) as second:
        assert listening() - before == {address, second}
        assert address.startswith("http://127.0.0.1:") and address != second
    assert capfd.readouterr().out == ""
    with pytest.raises(ConnectionRefusedError):  # nothing is left
        socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), timeout=5)


def test_ports_that_are_asked_for():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is in use") as caught, \
                served(two_clouds(), port=port):
            pass
        assert f"--port {port + 1}" in caught.value.hint
    with served(two_clouds(), port=port) as address:
        assert address == f"http://127.0.0.1:{port}"


def test_other_pages_may_not_listen():
    from viser import __version__
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with served(two_clouds()) as address:
        how = {"subprotocols": [f"viser-v{__version__}"], "compression": None, "max_size": None}
        with pytest.raises(InvalidStatus, match="403"):
            connect(address.replace("http", "ws"), origin="http://elsewhere.example", **how)
        with connect(address.replace("http", "ws"), origin="http://localhost:9000", **how) as own:
            assert len(own.recv(timeout=30)) > 0  # the negative control: a tunnel to it may


def test_no_tunnel_is_opened():
    with filled(two_clouds()) as shown:
        assert shown.server.request_share_url() is None


def test_viser_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(DependencyError) as caught:
        serve(two_clouds(), open_browser=False)
    assert caught.value.hint == "pip install 'pcinv[web]'"


def test_browsers_that_take_the_terminal_are_left_alone(monkeypatch):
    asked = []
    for kind in (webbrowser.GenericBrowser, webbrowser.BackgroundBrowser):
        monkeypatch.setattr(kind, "open", lambda self, url: asked.append((self.name, url)))
        monkeypatch.setattr(webbrowser, "get", lambda kind=kind: kind(kind.__name__))
        web._open("http://127.0.0.1:1")
    assert asked == [("BackgroundBrowser", "http://127.0.0.1:1")]


def test_ctrl_c_ends_it(tmp_path):
    write(tmp_path / "a.ply", cloud())
    code = ("import sys; from pcinv.vis.web import serve\n"
            "from pcinv.vis.build import scene_of_files\n"
            "serve(scene_of_files([sys.argv[1]]), open_browser=False,"
            " ready=lambda a: print(a, flush=True))\nprint('after')")
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "a.ply"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout.readline().startswith("http://127.0.0.1:")
        run.send_signal(signal.SIGINT)
        out, error = run.communicate(timeout=60)
    assert (run.returncode, out, error) == (0, "after\n", "")


def test_signals_that_come_while_it_ends_do_no_harm(monkeypatch):
    """A person presses Ctrl-C twice: the second one comes while the server is stopped."""
    import viser

    told, plain = [], viser.ViserServer.stop

    def stop(server):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        plain(server)
        told.append("stopped")

    def ready(address):
        told.append(address)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(viser.ViserServer, "stop", stop)
    found = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    # A signal that is not caught must fail this test and not end the run.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        serve(two_clouds(), open_browser=False, ready=ready)
        assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    except KeyboardInterrupt:
        pytest.fail("a signal was not caught")
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), found, strict=True):
            signal.signal(number, handler)
    assert len(told) == 2 and told[0].startswith("http://127.0.0.1:") and told[1] == "stopped"


@pytest.mark.parametrize("count", [1, 40])
def test_points_at_one_place_are_before_the_camera(count):
    xyz = np.tile(np.float32([[0.3, 0.2, 5.1]]), (count, 1))
    with filled(make_scene([("a", PointCloud(xyz))])) as shown:
        away = np.linalg.norm(shown.placed(shown.camera.eye))
        assert 0.5 * web_page.RADIUS < away < 5 * web_page.RADIUS
        assert shown.nodes[0].point_size < 1 and np.abs(shown.nodes[0].points).max() < 1e-3


def test_a_browser_draws_it(chromium):
    scene = replace(two_clouds(title="two"), notes=("a note to read",))
    with served(scene) as address, page(chromium) as seen:
        opened(seen, address)
        before = settled(seen)
        assert seen.get_by_text("a note to read").is_visible()
        left = seen.get_by_label("left")
        left.click()
        wait_until(lambda: changed(before, picture(seen, "canvas")) > 0.01)
        left.click()
        wait_until(lambda: changed(before, picture(seen, "canvas")) < 0.001)
        seen.get_by_label("by").click()
        seen.get_by_role("option", name="height").click()
        wait_until(lambda: changed(before, picture(seen, "canvas")) > 0.01)
        numbers = bar_numbers(*np.percentile(
            np.concatenate([layer.points[:, 2] for layer in scene.layers]).astype(float), (1, 99)))
        for _, words in numbers:
            number = seen.get_by_text(words, exact=True)
            number.wait_for()
            assert number.bounding_box()["height"] < 25  # in one line
        with seen.expect_download() as sent:
            seen.get_by_role("button", name="Save picture").click()
        assert sent.value.suggested_filename == "pcinv-two.png"
        own = (address, address.replace("http", "ws"), f"blob:{address}", "data:")
        assert all(each.startswith(own) for each in seen.asked) and not seen.errors


def test_points_are_read_and_measured(chromium):
    places = FAR + np.array([[0.0, 0, 0], [0.125, 0, 0]])
    scene = make_scene([(f"at {k}", PointCloud(np.zeros((1, 3), np.float32), place,
                                               {"weight": np.array([2.5 + k])}))
                        for k, place in enumerate(places)])
    with served(scene, look="front", point_size=12) as address, page(chromium, 1280) as seen:
        opened(seen, address)
        shot, corner = settled(seen), seen.locator("canvas").first.bounding_box()
        # The left part: a notice of viser may lie above, the panel at the right.
        colored = np.argwhere(np.ptp(shot[200:400, : shot.shape[1]].astype(int), axis=2) > 60)
        colored += [200, 0]
        down = corner["y"] + int(colored[:, 0].mean())
        seen.mouse.click(corner["x"] + int(colored[:, 1].min()) + 4, down)
        seen.get_by_text("weight  2.5").wait_for()
        seen.mouse.click(corner["x"] + int(colored[:, 1].max()) - 4, down)
        told = seen.get_by_text("between both").inner_text()
        assert "at 1" in told and "x  500000.125" in told and "y  5000000" in told
        assert "row 0 of 1" in told and "weight  3.5" in told and "between both  0.125" in told
        seen.get_by_role("button", name="Clear").click()
        seen.get_by_text("Click a point to read it").wait_for()


def test_hostile_names_are_only_text(chromium):
    scene = make_scene([(HOSTILE, cloud(**{HOSTILE: np.arange(3000) % 3}))], title=HOSTILE,
                       color_by=HOSTILE)
    with served(replace(scene, notes=(HOSTILE,))) as address, page(chromium) as seen:
        opened(seen, address)
        assert seen.get_by_text(HOSTILE).count() >= 3
        assert seen.evaluate("window.bad") is None and not seen.errors


def test_a_crop_is_saved_beside_the_file(tmp_path):
    whole = cloud(origin=FAR, weight=np.arange(3000.0))
    write(tmp_path / "a.ply", whole)
    with filled(scene_of_files([tmp_path / "a.ply"], limit=500)) as shown:
        side = shown.cropper.sides[0]
        side.value = (float(FAR[0]), side.value[1])
        told = shown.cropper.save(None), shown.cropper.save(None)
        shown.cropper.shown.value = True
        assert shown.cropper.node is not None
        shown.toggle(0, False)
        with pytest.raises(InputError, match="no cloud is shown"):
            shown.cropper.save(None)
    names = sorted(set(os.listdir(tmp_path)) - {"a.ply"})
    assert len(names) == 2 and all(name in words for name, words in zip(names, told, strict=True))
    left = read(tmp_path / names[0])  # of all points, not of those that are drawn
    inside = whole.absolute()[:, 0] >= FAR[0]
    assert np.array_equal(left.attributes["weight"], whole.attributes["weight"][inside])
    assert np.array_equal(read(tmp_path / "a.ply").attributes["weight"], whole.attributes["weight"])


def test_a_crop_reads_the_format_that_was_told(tmp_path):
    columns = np.random.default_rng(0).uniform(1, 2, (50, 5)).astype("<f4")
    (tmp_path / "a.dat").write_bytes(columns.tobytes())
    scene = scene_of_files([tmp_path / "a.dat"], format="bin5")
    with filled(scene, format="bin5") as shown:
        shown.cropper.save(None)
    assert len(read(tmp_path / "a-crop-1.ply")) == 50
    with filled(scene) as shown, pytest.raises(PcinvError, match=r"a\.dat"):  # the control
        shown.cropper.save(None)


def test_a_box_is_cut_out():
    points = cloud(5000).xyz.astype(np.float64)
    corners = np.array([[-0.5, -0.2, 0.0], [0.1, 0.9, 0.3]])
    inside = ((points >= corners[0]) & (points <= corners[1])).all(axis=1)
    assert 0 < inside.sum() and np.array_equal(stays(points, cuts_of(corners)), inside)
    lengths = np.abs(np.diff(edges(corners), axis=1)).sum(axis=2)
    assert edges(corners).shape == (12, 2, 3) and np.isclose(lengths.sum(), 4 * (0.6 + 1.1 + 0.3))


def test_large_clouds_are_thinned_and_meshes_are_shown(monkeypatch):
    monkeypatch.setattr(web_page, "MOST_POINTS", 1000)
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    lines = Lines("pairs", np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32),
                  np.zeros((2, 3), np.uint8))
    scene = replace(make_scene([("a", cloud()), ("m", mesh)]), lines=(lines,))
    with filled(scene) as shown:
        assert "1,000 of 3,000 points are drawn" in shown.head.content
        assert len(shown.nodes) == 3 and len(shown.nodes[0].points) == 1000
        radius = np.linalg.norm(shown.nodes[0].points, axis=1).max()
        assert 0.5 * web_page.RADIUS < radius <= web_page.RADIUS * 1.001
        for number in range(3):
            shown.toggle(number, False)
            assert not shown.nodes[number].visible
        before = shown.nodes[0].colors.copy()
        shown.recolor("height")
        assert not shown.nodes[1].visible and not np.array_equal(before, shown.nodes[0].colors)
        size = shown.nodes[0].point_size
        shown.resize(2 * shown.pixels)
        assert shown.nodes[0].point_size == pytest.approx(2 * size)


def test_scans_follow_one_another(tmp_path):
    for k in range(3):
        write(tmp_path / f"{k}.ply", cloud(100 + k, seed=k, weight=np.linspace(0, 1, 100 + k)))
    (tmp_path / "1.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")  # damaged
    with filled(frames_of_folder(tmp_path)) as shown:
        told = []
        shown.tell = lambda words, client=None, failed=False: told.append(words)

        def arrived(condition):
            shown.tick(time.monotonic())
            return condition() or None

        shown.recolor("weight")
        shown.step(1)
        wait_until(lambda: arrived(lambda: told))
        assert "1.ply" in told[0] and len(shown.nodes[0].points) == 100
        shown.slider.value = 3
        wait_until(lambda: arrived(lambda: len(shown.nodes[0].points) == 102))
        assert "2.ply, 3 of 3" in shown.head.content and shown.scene.color_by == "weight"
        assert shown.toggles[0].label == "2.ply"
        shown.play.value = True
        wait_until(lambda: arrived(lambda: len(shown.nodes[0].points) == 100))
        assert shown.slider.value == 1
