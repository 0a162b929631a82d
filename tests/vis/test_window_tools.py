"""What clicks, rectangles and keys mean, without a window."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.clouds import clouds, rotations
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.errors import InputError
from pcinv.io import read, write
from pcinv.types import Mesh, PointCloud
from pcinv.vis.build import scene_of_files
from pcinv.vis.camera import FIELD_OF_VIEW_DEG, camera_for
from pcinv.vis.frames import Frames
from pcinv.vis.scene import make_scene, take, thin
from pcinv.vis.window_crop import save_crop, save_image
from pcinv.vis.window_play import LEAST_SECONDS, Player
from pcinv.vis.window_state import color_modes, cropped, leaves_view, like, swapped, toggled
from pcinv.vis.window_tools import (
    REACH,
    Cut,
    Eye,
    box_of,
    crop_whole,
    cut_short,
    file_words,
    in_scene,
    inside,
    lines_of,
    nearest_to_click,
    next_free,
    number_words,
    stays,
    words_of_point,
)

WIDE, HIGH = 640, 480
FAR = np.array([500_000.0, 5_000_000.0, 100.0])
BOXES = st.tuples(*[st.floats(-50, WIDE + 50)] * 2, *[st.floats(-50, HIGH + 50)] * 2).map(
    lambda v: box_of((v[0], v[2]), (v[1], v[3])))


def eye_of(scene, look="iso"):
    """Return the matrices of OpenGL for the camera that the other views have."""
    camera = camera_for(scene, look, aspect=WIDE / HIGH)
    view = np.eye(4)
    view[:3, :3] = camera.axes()
    view[:3, 3] = -view[:3, :3] @ camera.eye
    focal, near, far = 1 / np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2), camera.near, camera.far
    projection = np.array([
        [focal * HIGH / WIDE, 0, 0, 0], [0, focal, 0, 0],
        [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)], [0, 0, -1, 0]])
    return Eye(projection @ view, WIDE, HIGH), camera


def scene_of(points, **attributes):
    return make_scene([("a", PointCloud(points.astype(np.float32), np.zeros(3), attributes))])


def cloud(count=4000, seed=0, origin=(0.0, 0.0, 0.0)):
    rng = np.random.default_rng(seed)
    return PointCloud(rng.uniform(-1, 1, (count, 3)).astype(np.float32), np.asarray(origin), {
        "label": rng.integers(0, 5, count), "intensity": rng.uniform(size=count).astype("f4")})


def test_an_eye_sees_what_the_camera_of_the_other_views_sees():
    scene = scene_of(cloud().xyz)
    eye, camera = eye_of(scene)
    places, depth = eye.project(scene.layers[0].points)
    others, other_depth = camera.project(scene.layers[0].points.astype(float), WIDE, HIGH)
    assert np.allclose(places, others, atol=1e-3) and np.allclose(depth, other_depth, atol=1e-5)
    behind = camera.eye + 3 * (camera.eye - camera.target)
    place, depth = eye.project(behind[None])
    assert depth[0] < 0 and np.isnan(place).all()
    corners, depth = eye.project(eye.corners((10, 20, 300, 400)))
    assert np.allclose(corners, [(10, 20), (300, 20), (300, 400), (10, 400)])
    assert (depth > 0).all() and (depth < other_depth.min()).all()


@given(clouds(min_size=1, max_size=300, kinds=("uniform", "sphere", "lattice", "clusters", "plane",
                                               "duplicates")), rotations(), st.data())
@settings(max_examples=60)
def test_a_click_on_a_point_means_it_or_one_in_front(xyz, rotation, data):
    scene = scene_of(xyz @ rotation.T)
    points = scene.layers[0].points
    eye, _ = eye_of(scene)
    places, depth = eye.project(points)
    row = data.draw(st.integers(0, len(points) - 1))
    found = nearest_to_click(points, eye, tuple(places[row]))
    same = np.allclose(places[found], places[row], atol=1e-6)
    assert same or depth[found] < depth[row]
    assert ((places[found] - places[row]) ** 2).sum() <= REACH**2


def test_what_is_hidden_is_not_meant():
    points = np.float32([[0, 0, 0], [0, -1, 0], [0, 1, 0], [0.5, 0, 0.5], [-0.5, 0, -0.5]])
    scene = scene_of(points)
    eye, _ = eye_of(scene, "front")  # from -y
    middle = tuple(eye.project(points)[0][0])
    assert nearest_to_click(points, eye, middle) == 1
    assert nearest_to_click(points[[0, 2, 3]], eye, middle) == 0  # the control: it hid the others
    assert nearest_to_click(points, eye, (middle[0] + 200, middle[1])) is None
    assert nearest_to_click(points, eye, (-1e6, 0)) is None


@given(clouds(min_size=1, max_size=200, kinds=("uniform", "clusters", "plane")), BOXES,
       st.booleans())
def test_a_rectangle_holds_what_is_seen_in_it(xyz, box, keep):
    scene = scene_of(xyz)
    points = scene.layers[0].points
    eye, camera = eye_of(scene)
    places, _ = camera.project(points.astype(float), WIDE, HIGH)
    expected = [box[0] <= x <= box[2] and box[1] <= y <= box[3] for x, y in places]
    border = np.abs(places[:, [0, 1, 0, 1]] - np.array(box)).min(axis=1) < 1e-2
    assert (border | (inside(points, eye, box) == expected)).all()
    kept = stays(points, [Cut(eye, box, keep)])
    assert (border | (kept == (np.array(expected) == keep))).all()
    assert not stays(points, [Cut(eye, box, True), Cut(eye, box, False)]).any()


def test_a_crop_is_of_all_points_and_keeps_all_that_is_known(tmp_path):
    whole = cloud(origin=FAR)
    write(tmp_path / "a.ply", whole)
    scene = scene_of_files([tmp_path / "a.ply"], limit=400)
    layer = scene.layers[0]
    eye, camera = eye_of(scene)
    cuts = [Cut(eye, (200, 100, 420, 400), True), Cut(eye, (300, 200, 350, 250), False)]
    said = save_crop(scene, layer, cuts)
    found = read(tmp_path / "a-crop-1.ply")
    places, _ = camera.project(whole.absolute() - scene.origin, WIDE, HIGH)
    x, y = places.T
    expected = (x >= 200) & (x <= 420) & (y >= 100) & (y <= 400) & ~(
        (x >= 300) & (x <= 350) & (y >= 200) & (y <= 250))
    assert 400 < expected.sum() < 4000  # more than are drawn: the file was read again
    assert np.allclose(found.absolute(), whole.absolute()[expected], atol=1e-6)
    assert np.array_equal(found.attributes["label"], whole.attributes["label"][expected])
    assert np.array_equal(found.attributes["intensity"], whole.attributes["intensity"][expected])
    assert f"{expected.sum():,} of 4,000 points" in said
    before = (tmp_path / "a-crop-1.ply").read_bytes()
    save_crop(scene, layer, cuts[:1])
    assert (tmp_path / "a-crop-1.ply").read_bytes() == before  # never over another file
    assert len(read(tmp_path / "a-crop-2.ply")) > len(found)


def test_a_crop_of_a_cloud_that_was_moved(tmp_path):
    source = cloud()
    write(tmp_path / "a.ply", source)
    write(tmp_path / "b.ply", cloud(seed=1, origin=FAR))
    transform = np.eye(4)
    transform[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    transform[:3, 3] = FAR
    scene = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], transform=transform, limit=900)
    moved = scene.layers[0]
    shown = in_scene(source, moved, scene.origin)
    assert np.allclose(shown[moved.rows], moved.points, atol=1e-5)
    assert np.allclose(shown, source.xyz @ transform[:3, :3].T + FAR - scene.origin, atol=1e-5)
    eye, _ = eye_of(scene)
    left = crop_whole(source, moved, scene.origin, [Cut(eye, (0, 0, 320, HIGH), True)])
    assert np.array_equal(left.xyz, source.xyz[inside(shown, eye, (0, 0, 320, HIGH))])


def test_a_file_that_changed_is_not_cropped(tmp_path):
    write(tmp_path / "a.ply", cloud())
    scene = scene_of_files([tmp_path / "a.ply"])
    layer, eye = scene.layers[0], eye_of(scene)[0]
    everything = [Cut(eye, (-1e9, -1e9, 1e9, 1e9), True)]
    assert len(crop_whole(cloud(), layer, scene.origin, everything)) == 4000
    for other in (cloud(seed=1), cloud(3999)):
        with pytest.raises(InputError, match="not the one"):
            crop_whole(other, layer, scene.origin, everything)
    with pytest.raises(InputError, match="no points"):
        crop_whole(cloud(), layer, scene.origin, [replace(everything[0], keep=False)])
    with pytest.raises(InputError, match="needs a cloud"):
        save_crop(scene, replace(layer, file=None), everything)
    write(tmp_path / "m.off", Mesh(np.eye(3), np.array([[0, 1, 2]])))
    meshes = scene_of_files([tmp_path / "m.off"])
    with pytest.raises(InputError, match="needs a cloud"):
        save_crop(meshes, meshes.layers[0], everything)


def test_pictures_are_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = make_scene([("a", cloud(50))], title="a b/c.ply")
    for shade in (10, 250):
        save_image(scene, np.full((120, 160, 3), shade, np.uint8))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "pcinv-a_b_c.ply-1.png", "pcinv-a_b_c.ply-2.png"]
    from PIL import Image

    means = [np.asarray(Image.open(p)).mean() for p in sorted(tmp_path.iterdir())]
    assert means[0] < 100 < means[1]
    assert next_free(tmp_path, "pcinv-a_b_c.ply", ".png").name == "pcinv-a_b_c.ply-3.png"
    assert file_words("///") == "scene"


def test_words_of_a_point():
    scene = make_scene([("a.ply", cloud(1000, origin=FAR))], limit=100)
    layer = scene.layers[0]
    words = words_of_point(scene, layer, 7)
    item, row = cloud(1000, origin=FAR), layer.rows[7]
    assert words[:2] == ["a.ply", f"row {row:,} of 1,000"]
    places = [float(line.split()[1]) for line in words[2:5]]
    assert np.allclose(places, item.absolute()[row], atol=1e-6, rtol=0)
    assert words[5] == f"label  {item.attributes['label'][row]}"
    assert float(words[6].split()[1]) == pytest.approx(item.attributes["intensity"][row], rel=1e-6)
    assert number_words(np.True_) == "yes" and number_words(np.uint8(3)) == "3"
    assert [number_words(v) for v in (np.float32(300.7), 5e6, -2.50, 1e-9, np.nan)] == [
        "300.7", "5000000", "-2.5", "1e-09", "nan"]


def test_words_fit():
    assert cut_short("short.ply", 12) == "short.ply"
    assert cut_short("a_very_long_name_of_a_scan_12.ply", 20) == "a_very_lo...n_12.ply"
    lines = lines_of("some words\n" + "x" * 50, 20).split("\n")
    assert lines[0] == "some words" and max(map(len, lines)) == 20


def test_keys_show_and_hide():
    scene = make_scene([("a", cloud()), ("b", cloud(seed=1))])
    assert [layer.visible for layer in toggled(scene, 1).layers] == [True, False]
    assert toggled(toggled(scene, 0), 0) == scene and toggled(scene, 5) == scene
    assert swapped(scene) is None


def test_before_and_after(tmp_path):
    write(tmp_path / "a.ply", cloud())
    write(tmp_path / "b.ply", cloud(seed=1))
    scene = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], transform=np.eye(4))
    before = swapped(scene)
    assert [layer.visible for layer in scene.layers] == [True, True, False]
    assert [layer.visible for layer in before.layers] == [False, True, True]
    assert [layer.visible for layer in swapped(before).layers] == [True, True, False]
    shown = toggled(before, len(scene.layers))
    assert shown.lines[0].visible and not before.lines[0].visible


def test_the_view_is_left_where_the_moved_cloud_is_seen_less(tmp_path):
    write(tmp_path / "a.ply", cloud())
    write(tmp_path / "b.ply", cloud(seed=1, origin=(30.0, 0, 0)))
    far = np.eye(4)
    far[0, 3] = 30.0
    scene = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], transform=far)
    before = swapped(scene)
    assert leaves_view(scene, before, eye_of(scene)[0])
    assert not leaves_view(before, scene, eye_of(before)[0])  # all of it is in the wide picture
    away = np.eye(4)
    away[2, 3] = 900.0
    elsewhere = replace(eye_of(scene)[0], matrix=eye_of(scene)[0].matrix @ away)
    assert not leaves_view(scene, before, elsewhere)
    none = replace(scene, layers=tuple(replace(each, visible=False) for each in scene.layers))
    assert not leaves_view(none, none, elsewhere)


def test_cuts_leave_meshes_whole():
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    scene = make_scene([("a", cloud()), ("m", mesh)])
    left = cropped(scene, [Cut(eye_of(scene)[0], (0, 0, WIDE / 2, HIGH), True)])
    assert 0 < len(left.layers[0].points) < 4000 and len(left.layers[1].points) == 3


def test_the_next_scan_is_shown_like_the_last_one():
    old = replace(toggled(make_scene([("a", cloud()), ("b", cloud())]), 1), color_by="intensity")
    new = make_scene([("c", cloud(seed=2)), ("d", cloud(seed=3))])
    found = like(new, old)
    assert [layer.visible for layer in found.layers] == [True, False]
    assert found.color_by == "intensity" and "intensity" in color_modes(found)
    plain = make_scene([("e", PointCloud(cloud().xyz))])
    assert like(plain, old).color_by == "height"  # it has no intensity


class Worker:
    """Runs what it is given when it is told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, function, *arguments):
        future = Future()
        self.waiting.append((future, function, arguments))
        return future

    def work(self):
        for future, function, arguments in self.waiting:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*arguments))
                except InputError as error:
                    future.set_exception(error)
        self.waiting = []


@pytest.fixture
def player(tmp_path):
    files = []
    for k in range(4):
        files.append(str(tmp_path / f"{k}.ply"))
        write(files[-1], cloud(50, seed=k))
    made = Player(Frames(tuple(files)))
    made._worker = Worker()
    return made


def test_scans_are_read_beside_the_window(player):
    assert player.poll(0.0) is None
    player.step(1)
    assert player.poll(0.0) is None and player.at == 0  # not there yet, and nobody waits
    player.step(1)  # asked for before the first has come
    player._worker.work()
    assert player.poll(0.0).title == "2.ply, 3 of 4" and player.at == 2
    assert player.poll(0.0) is None  # once
    player._worker.work()  # 3 is read ahead
    player.step(1)
    assert player.poll(0.0).title == "3.ply, 4 of 4"
    player.step(9)
    player._worker.work()
    assert player.poll(0.0).title == "3.ply, 4 of 4"
    player.go(-5)
    player._worker.work()
    assert player.poll(0.0).title == "0.ply, 1 of 4"


def test_scans_play_in_a_circle_and_a_bad_one_does_not_stop_them(player):
    Path(player.frames.files[2]).write_text("ply\nbroken")
    player.playing = True
    seen, now = [], 0.0
    while len(seen) < 4:
        try:
            scene = player.poll(now)
            seen += [scene.title[0]] if scene else []
        except InputError:
            seen.append("bad")
        player._worker.work()
        now += LEAST_SECONDS
    assert seen == ["1", "bad", "3", "0"]
    assert player.poll(now - LEAST_SECONDS) is None  # not before it is due


def test_points_without_rows_count_from_zero():
    scene = thin(make_scene([("a", cloud())]), 40)
    layer = replace(take(scene.layers[0], np.arange(10)), rows=None)
    assert words_of_point(scene, layer, 3)[1] == "row 3 of 4,000"
