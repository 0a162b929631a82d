"""Pictures and films as files: by the driver in a child that may hang, and without it."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import pcinv
from pcinv.errors import DependencyError, UsageError
from pcinv.types import Mesh, PointCloud
from pcinv.vis import picture
from pcinv.vis.colors import bar_colors, coloring
from pcinv.vis.frames import Frames, frames_of_folder
from pcinv.vis.picture import View, check_files, save_film, save_picture, save_turntable
from pcinv.vis.scene import make_scene

SMALL = View(width=320, height=240)


def scene_of(seed=0, count=3000):
    xyz = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    xyz[:, 2] *= 0.3
    return make_scene([("a", PointCloud(xyz, np.zeros(3)))], color_by="height", title="a")


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_is_written_in_the_size_that_was_asked_for(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    drawn = save_picture(scene_of(), path, SMALL)
    assert drawn.renderer == "software" and drawn.note is None
    assert pixels(path).shape == (240, 320, 3) and (pixels(path) != 255).any()
    assert not [p for p in tmp_path.iterdir() if p != path]


def test_the_bar_beside_it_has_the_colours_of_the_points(tmp_path):
    save_picture(scene_of(), tmp_path / "a.png", View(width=800, height=600))
    corner = pixels(tmp_path / "a.png")[:260, 680:].reshape(-1, 3).astype(int)
    for color in bar_colors(np.array([0.02, 0.5, 0.98])).astype(int):
        assert (np.abs(corner - color).max(1) < 25).sum() > 5  # nothing white lies on it


def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("precious")
    with pytest.raises(UsageError):
        save_picture(scene_of(), path, SMALL)
    assert path.read_text() == "precious"
    save_picture(scene_of(), path, SMALL, force=True)
    assert pixels(path).any()


def test_other_suffixes_and_two_of_one_name_are_told(tmp_path):
    for kind, name in (("screenshot", "a.txt"), ("turntable", "a.png"), ("html", "a.gif")):
        with pytest.raises(UsageError, match="suffix"):
            check_files({kind: tmp_path / name}, force=False)
    with pytest.raises(UsageError, match="no renderer"):
        save_picture(scene_of(), tmp_path / "a.png", View(renderer="magic"))


def test_the_driver_draws_what_software_draws(tmp_path):
    box = Mesh(np.array([[x, y, z] for x in (2, 3) for y in (0, 1) for z in (0, 1)], float),
               np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                         [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]), {})
    cloud = PointCloud(np.random.default_rng(0).uniform(0, 1, (60_000, 3)).astype(np.float32),
                       np.zeros(3))
    scene = make_scene([("cloud", cloud), ("box", box)])
    covered = {}
    for renderer in ("gl", "software"):
        view = View(width=320, height=240, renderer=renderer, point_size=3)
        (image,), drawn = picture.draw_all(scene, view, [picture._camera(scene, view)])
        if drawn.renderer != renderer:
            pytest.skip(f"no graphics driver here: {drawn.note}")
        covered[renderer] = (image != 255).any(axis=2)
        orange = image[:, :, 0].astype(int) > image[:, :, 2]
        covered[f"{renderer} cloud"] = covered[renderer] & orange
    both = covered["gl"] & covered["software"]
    assert both.sum() / (covered["gl"] | covered["software"]).sum() > 0.95
    mine, theirs = covered["software cloud"], covered["gl cloud"]
    assert (mine & theirs).sum() / (mine | theirs).sum() > 0.9
    assert covered["gl"].sum() > 1.2 * theirs.sum()  # the box is there too


@pytest.mark.parametrize("script, words", [
    ("import time; time.sleep(600)", "within 1 s"),
    ("raise RuntimeError('no Vulkan')", "no Vulkan"),
    ("import os; os.abort()", "draws nothing"),
    ("pass", "made no picture"),
])
def test_a_driver_that_fails_costs_the_time_limit_at_most(tmp_path, monkeypatch, script, words):
    monkeypatch.setattr(picture, "COMMAND", (sys.executable, "-c", script))
    drawn = save_picture(scene_of(), tmp_path / "a.png",
                         View(width=64, height=64, renderer="gl", time_limit_s=1))
    assert drawn.renderer == "software" and words in drawn.note
    assert pixels(tmp_path / "a.png").any()


def test_a_turntable_turns_and_stays_as_far(tmp_path):
    path = tmp_path / "a.gif"
    save_turntable(scene_of(), path, SMALL, turns=6)
    with Image.open(path) as film:
        assert film.n_frames == 6 and film.info["loop"] == 0
        frames = []
        for k in range(6):
            film.seek(k)
            frames.append(np.asarray(film.convert("RGB")))
    assert all((a != b).any() for a, b in itertools.pairwise(frames))
    inked = [(frame != 255).any(axis=2) for frame in frames]
    assert not any(ink[:, 0].any() or ink[:, -1].any() for ink in inked)


def test_a_film_in_mp4_can_be_read(tmp_path):
    imageio = pytest.importorskip("imageio.v3", reason="extra 'video' is not installed")
    path = tmp_path / "a.mp4"
    save_turntable(scene_of(), path, View(width=161, height=121), turns=5)
    film = imageio.imread(path)
    assert film.shape == (5, 120, 160, 3) and (film[0] != film[2]).any()


def test_mp4_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(DependencyError, match=r"pcinv\[video\]"):
        save_turntable(scene_of(), tmp_path / "a.mp4", SMALL)
    assert not list(tmp_path.iterdir())


def folder_of_scans(folder, count=3):
    folder.mkdir(exist_ok=True)
    for k in range(count):
        xyz = np.random.default_rng(0).uniform(-1, 1, (400, 3)).astype(np.float32)
        xyz[:100] += np.float32([k, 0, 0])  # the rest of the world stands still
        pcinv.write(folder / f"scan{k + 8}.ply", PointCloud(xyz, np.array([1e6, 2e6, 0])))
    return folder


def test_scans_of_a_folder_play_in_order_about_one_origin(tmp_path):
    frames = frames_of_folder(folder_of_scans(tmp_path))
    assert frames.names == ("scan8.ply", "scan9.ply", "scan10.ply") and len(frames) == 3
    scenes = [frames.scene(k) for k in range(3)]
    assert all((scene.origin == scenes[0].origin).all() for scene in scenes)
    still = [scene.layers[0].points[100:] for scene in scenes]
    assert np.abs(still[0] - still[2]).max() < 1e-6
    moving = [scene.layers[0].points[:100, 0].mean() for scene in scenes]
    assert np.diff(moving) == pytest.approx([1, 1], abs=1e-5)
    assert scenes[2].title == "scan10.ply, 3 of 3"


def test_a_film_of_scans_has_one_picture_each_and_shows_all_of_them(tmp_path):
    folder, path = tmp_path / "scans", tmp_path / "film.gif"
    folder_of_scans(folder)
    far = PointCloud(np.full((300, 3), -40, np.float32), np.array([1e6, 2e6, 0]))
    pcinv.write(folder / "scan11.ply", far)
    frames = frames_of_folder(folder, color_by="solid")
    save_film(frames, path, SMALL)
    with Image.open(path) as film:
        assert film.n_frames == 4 and film.info["duration"] == 500
        film.seek(3)
        assert (np.asarray(film.convert("RGB"))[40:] != 255).any()  # the far one, too


def test_equal_values_have_equal_colours_in_all_scans(tmp_path):
    scenes = []
    for k, low in enumerate((0.0, 5.0)):
        xyz = np.random.default_rng(k).uniform(0, 1, (500, 3)).astype(np.float32)
        xyz[:, 2] += low
        pcinv.write(tmp_path / f"s{k}.ply", PointCloud(xyz, np.zeros(3)))
    frames = Frames((str(tmp_path / "s0.ply"), str(tmp_path / "s1.ply")), color_by="height")
    scenes = [frames.scene(k) for k in range(2)]
    legends = [coloring(scene, scene.layers[0]).legend for scene in scenes]
    assert legends[0] == legends[1] and legends[0].high < 1.1
    assert (coloring(scenes[1], scenes[1].layers[0]).colors
            == coloring(scenes[1], scenes[1].layers[0]).colors[0]).all()  # all above the bar


def test_a_folder_of_one_scan_is_shown(tmp_path):
    assert len(frames_of_folder(folder_of_scans(tmp_path, 1))) == 1


def test_frames_are_read_when_they_are_looked_at(tmp_path):
    folder_of_scans(tmp_path)
    (tmp_path / "scan9.ply").write_bytes(b"ply\nbroken")
    frames = frames_of_folder(tmp_path)
    assert frames.scene(2).layers[0].total == 400
    with pytest.raises(pcinv.errors.InputError, match=r"ply|header|end"):
        frames.scene(1)
    assert Frames(frames.files, limit=50).scene(0).notes == ("50 of 400 points are drawn",)


def test_the_child_ends_with_an_error_where_the_job_is_nonsense(tmp_path):
    done = subprocess.run([*picture.COMMAND, str(tmp_path / "nothing.json")], capture_output=True,
                          text=True, check=False)
    assert done.returncode and "nothing.json" in done.stderr
