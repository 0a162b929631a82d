"""`pcinv view`: pictures, films, pages; what is refused; where it is shown."""

import json
import re

import numpy as np
import pytest
from helpers.surfaces import two_views
from PIL import Image

import pcinv
from pcinv.errors import DependencyError, DeviceError

OUTSIDE = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", re.I)


def save(path, points, **attributes):
    pcinv.write(path, pcinv.PointCloud(np.asarray(points, np.float32), np.zeros(3), attributes))


@pytest.fixture
def clouds(tmp_path):
    """a.ply with attributes, b.ply, the motion T.txt between them, labels, a folder of scans."""
    views = two_views(count=1200)
    rng = np.random.default_rng(0)
    save(tmp_path / "a.ply", views.source, intensity=rng.random(1200).astype(np.float32),
         flow=rng.normal(size=(1200, 3)).astype(np.float32))
    save(tmp_path / "b.ply", views.target)
    np.savetxt(tmp_path / "T.txt", views.T_target_source)
    np.save(tmp_path / "labels.npy", np.arange(1200) % 4)
    np.savetxt(tmp_path / "few.txt", np.arange(7), fmt="%d")
    (tmp_path / "scans").mkdir()
    for k in (2, 10, 1):
        save(tmp_path / f"scans/s{k}.ply", views.source + k)
    return tmp_path


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_picture_and_a_page_and_a_film(ask, clouds):
    told = ask("view", "a.ply", "--screenshot", "a.png", "--html", "a.html", "--turntable", "a.gif",
               "--size", "320x240")["result"]
    assert told["written"] == ["a.png", "a.gif", "a.html"] and told["shown"] is None
    assert told["num_points"] == told["num_drawn"] == 1200 and told["renderer"] == "software"
    assert pixels(clouds / "a.png").shape == (240, 320, 3) and pixels(clouds / "a.png").std() > 5
    assert not OUTSIDE.search((clouds / "a.html").read_text())
    assert Image.open(clouds / "a.gif").n_frames > 10


def test_options_change_the_picture(run, clouds):
    seen = {}
    for name, options in {"plain": (), "height": ("--color", "height"),
                          "labels": ("--labels", "labels.npy"), "arrows": ("--arrows", "flow"),
                          "top": ("--look", "top"), "way": ("--look", "1,2,3"),
                          "up": ("--up", "y"), "big": ("--point-size", "12"),
                          "thin": ("--limit", "100")}.items():
        done = run("view", "a.ply", "--screenshot", f"{name}.png", "--size", "320x240", *options)
        assert done.code == 0, done.err
        seen[name] = pixels(clouds / f"{name}.png")
    assert len({image.tobytes() for image in seen.values()}) == len(seen)
    assert "100 of 1,200 points are drawn" in run("view", "a.ply", "--screenshot", "t.png",
                                                  "--limit", "100").err


def test_before_and_after_tell_the_overlap(ask, run, clouds):
    told = ask("view", "a.ply", "b.ply", "--transform", "T.txt", "--screenshot", "ab.png")["result"]
    assert any("lie in the overlap" in note for note in told["notes"])
    assert ask("view", "a.ply", "b.ply", "--color", "distance", "--screenshot", "d.png")
    right = pixels(clouds / "ab.png")
    np.savetxt(clouds / "T.txt", np.eye(4))
    assert run("view", "a.ply", "b.ply", "--transform", "T.txt", "--screenshot", "ab.png",
               "--force").code == 0
    assert (pixels(clouds / "ab.png") != right).any()


def test_a_folder_is_a_sequence(ask, clouds):
    told = ask("view", "scans", "--turntable", "s.gif", "--size", "160x120")["result"]
    assert told["num_points"] == 1200
    assert Image.open(clouds / "s.gif").n_frames == 3


@pytest.mark.parametrize("args, code, words", [
    (("a.ply", "--color", "heat"), 2, "--color"),
    (("a.ply", "--labels", "few.txt"), 3, "7 values of label for 1,200 points"),
    (("a.ply", "--labels", "a.ply"), 3, "no list of labels"),
    (("a.ply", "--arrows", "intensity"), 2, "--arrows"),
    (("a.ply", "--transform", "T.txt"), 2, "1 are given"),
    (("a.ply", "b.ply", "--transform", "labels.npy"), 3, "labels.npy"),
    (("a.ply", "b.ply", "--transform", "skew.txt"), 3, "no rigid motion"),
    (("a.ply", "--color", "distance"), 2, "no other cloud"),
    (("a.ply", "--look", "sideways"), 2, "'sideways' is no view"),
    (("a.ply", "--up", "w"), 2, "'w' is no axis"),
    (("a.ply", "--size", "12"), 2, "no size"),
    (("a.ply", "--screenshot", "p.txt"), 2, "suffix"),
    (("a.ply", "--screenshot", "a.ply.png", "--web"), 2, "shows nothing"),
    (("nothing.ply",), 3, "nothing.ply"),
    (("scans", "a.ply"), 2, "by itself"),
    (("scans", "--labels", "labels.npy"), 2, "does not go with a folder"),
    (("empty",), 3, "the folder is empty"),
    (("b.ply", "--arrows", "normal"), 2, "no attribute has three columns"),
])
def test_what_is_wrong_is_told_in_three_lines(run, clouds, args, code, words):
    skew = np.eye(4)
    skew[0, 1] = 0.5
    np.savetxt(clouds / "skew.txt", skew)
    (clouds / "empty").mkdir()
    extra = () if "--screenshot" in args else ("--screenshot", "p.png")
    done = run("view", *args, *extra)
    assert done.code == code, (done.out, done.err)
    assert words in done.err and "where:" in done.err and "try:" in done.err
    assert not (clouds / "p.png").exists()


def test_nothing_is_overwritten(run, clouds):
    (clouds / "p.png").write_text("precious")
    done = run("view", "a.ply", "--screenshot", "p.png")
    assert done.code == 2 and (clouds / "p.png").read_text() == "precious"
    assert run("view", "a.ply", "--screenshot", "p.png", "--force").code == 0


@pytest.fixture
def shown(monkeypatch):
    """Stand in for the window and the page; return what they were called with."""
    calls = []

    def window(what, **view):
        calls.append(("window", what, view))

    def page(what, *, ready, **view):
        calls.append(("web", what, view))
        ready("http://127.0.0.1:8080")

    monkeypatch.setattr("pcinv.vis.window.show", window)
    monkeypatch.setattr("pcinv.vis.web.serve", page)
    return calls


def no_display(*args, **view):
    raise DeviceError("no display", hint="--web")


def test_a_window_is_what_is_shown_first(ask, clouds, shown):
    told = ask("view", "a.ply", "b.ply", "--point-size", "3")["result"]
    assert told["shown"] == "window" and told["address"] is None
    (where, scene, view), = shown
    assert where == "window" and [layer.name for layer in scene.layers] == ["a.ply", "b.ply"]
    assert view["point_size"] == 3


def test_without_a_display_the_page_is_shown_and_it_is_said(ask, clouds, shown, monkeypatch):
    monkeypatch.setattr("pcinv.vis.window.show", no_display)
    whole = ask("view", "a.ply")
    assert whole["result"]["shown"] == "web"
    assert whole["result"]["address"] == "http://127.0.0.1:8080"
    assert "no display" in whole["warnings"][0]["message"]


def test_without_a_display_and_the_package_it_says_what_to_do(run, clouds, monkeypatch):
    def absent(*args, **options):
        raise DependencyError("no viser here", where="web", hint="pip install 'pcinv[web]'")

    monkeypatch.setattr("pcinv.vis.window.show", no_display)
    monkeypatch.setattr("pcinv.vis.web.serve", absent)
    done = run("view", "a.ply")
    assert done.code == 4
    assert "pip install 'pcinv[web]'" in done.err and "--screenshot" in done.err


def test_web_is_asked_for_by_name(ask, clouds, shown):
    told = ask("view", "scans", "--web", "--port", "8123", "--no-browser")["result"]
    assert told["shown"] == "web"
    (where, frames, view), = shown
    assert where == "web" and view["port"] == 8123 and not view["open_browser"]
    assert frames.names == ("s1.ply", "s2.ply", "s10.ply")


def test_register_shows_and_reports(run, clouds, shown):
    done = run("register", "a.ply", "b.ply", "--view", "--report", "r.html", "--json")
    told = json.loads(done.out)["result"]
    page = (clouds / "r.html").read_text()
    assert told["report"] == "r.html" and told["verdict"] in page
    assert "T_target_source" in page and not OUTSIDE.search(page)
    (where, scene, _), = shown
    names = [layer.name for layer in scene.layers]
    assert where == "window" and names == ["a.ply, moved", "b.ply", "a.ply, as it was"]
    assert any("inliers" in lines.name for lines in scene.lines)
    again = run("register", "a.ply", "b.ply", "--report", "r.html")
    assert again.code == 2 and "r.html" in again.err
    assert run("register", "a.ply", "b.ply", "--report", "r.txt").code == 2
    assert run("register", "--folder", "scans", "-o", "out", "--view").code == 2
