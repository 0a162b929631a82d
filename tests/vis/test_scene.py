"""The scene that all views draw: layers of files, colours with a legend, a camera, a file."""

import numpy as np
import pytest

from pcinv.errors import InputError, ShapeError, UnknownNameError, UsageError
from pcinv.io import write
from pcinv.types import Mesh, PointCloud
from pcinv.vis.build import as_item, read_labels, scene_of_files, with_arrows, with_matches
from pcinv.vis.camera import LOOKS, UPS, camera_for, is_camera_frame
from pcinv.vis.colors import GREY, coloring, kind_colors, modes
from pcinv.vis.scene import LAYER_COLORS, labelled, make_scene, thin
from pcinv.vis.store import load_scene, save_scene

FAR = np.array([500_000.0, 5_000_000.0, 100.0])


def cloud(count=300, seed=0, origin=(0.0, 0.0, 0.0), **attributes):
    xyz = np.random.default_rng(seed).uniform(-1, 1, (count, 3)).astype(np.float32)
    return PointCloud(xyz, np.asarray(origin, np.float64), attributes)


def test_layers_keep_their_places_far_from_zero():
    items = cloud(origin=FAR), cloud(seed=1, origin=FAR + np.array([3.0, 0, 0]))
    scene = make_scene(list(zip("ab", items, strict=True)))
    for layer, item in zip(scene.layers, items, strict=True):
        assert np.abs(layer.points + scene.origin - item.absolute()).max() < 1e-6
    assert [layer.color for layer in scene.layers] == list(LAYER_COLORS[:2])


def test_thinned_scenes_say_so_and_keep_rows():
    item = cloud(1000, weight=np.arange(1000.0))
    scene = make_scene([("a", item), ("b", cloud(3000, seed=1))], limit=400)
    assert sum(len(layer.points) for layer in scene.layers) == 400
    assert scene.notes == ("400 of 4,000 points are drawn",)
    first = scene.layers[0]
    assert np.array_equal(first.points + scene.origin, item.xyz[first.rows] + 0.0 * scene.origin)
    assert np.array_equal(first.attributes["weight"], first.rows)
    assert thin(scene, 400) is scene  # nothing to leave out, nothing to say


def test_what_numbers_stand_for_is_read_from_beside_the_file(tmp_path):
    write(tmp_path / "a.parts.ply", cloud(part=np.arange(300) % 3))
    plain = scene_of_files([tmp_path / "a.parts.ply"], color_by="part")
    (tmp_path / "a.parts.json").write_text('{"part": ["seat", "back"]}')
    named = scene_of_files([tmp_path / "a.parts.ply"], color_by="part")
    shown = [[words for words, _ in coloring(scene, scene.layers[0]).legend.entries]
             for scene in (plain, named)]
    assert shown == [["0", "1", "2"], ["seat", "back", "2"]]
    for other in ('{"part": 3}', "[1]", "no json"):
        (tmp_path / "a.parts.json").write_text(other)
        assert not scene_of_files([tmp_path / "a.parts.ply"]).layers[0].words


def test_what_the_file_has_is_shown_and_not_computed(tmp_path):
    stored = np.linspace(0, 1, 300)
    write(tmp_path / "a.ply", cloud(distance=stored))
    write(tmp_path / "b.ply", cloud(seed=1))
    alone = scene_of_files([tmp_path / "a.ply"], color_by="distance")
    assert np.allclose(alone.layers[0].attributes["distance"], stored)
    both = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], transform=np.eye(4))
    assert np.allclose(both.layers[0].attributes["distance"], stored)
    assert "distance to the others" in both.layers[0].attributes


def test_names_that_are_told_twice_have_their_folders(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.ply", cloud())
    scene = scene_of_files([tmp_path / "one/a.ply", tmp_path / "two/a.ply"])
    assert [layer.name for layer in scene.layers] == ["one/a.ply", "two/a.ply"]


def test_other_units_are_noted():
    small = PointCloud(cloud().xyz / 1000, np.zeros(3))
    assert "1,000 times" in make_scene([("m", cloud()), ("mm", small)]).notes[0]
    assert not make_scene([("m", cloud()), ("n", cloud(seed=1))]).notes


def test_labels_of_lidar_are_read(tmp_path):
    told = np.arange(300, dtype="<u4") % 7
    (told | (np.arange(300, dtype="<u4") << 16)).tofile(tmp_path / "a.label")
    assert np.array_equal(read_labels(tmp_path / "a.label"), told)
    np.save(tmp_path / "a.npy", told[:, None])
    assert np.array_equal(read_labels(tmp_path / "a.npy"), told)


def test_nothing_to_show_is_an_error():
    with pytest.raises(InputError, match="no points"):
        make_scene([("empty", PointCloud(np.zeros((0, 3), np.float32)))])
    with pytest.raises(InputError, match="shape"):
        as_item(np.zeros((5, 2)))


def test_colours_by_height_follow_the_height():
    scene = make_scene([("a", cloud())], color_by="height")
    found = coloring(scene, scene.layers[0])
    order = np.argsort(scene.layers[0].points[:, 2])
    green = found.colors[order, 1].astype(int)
    assert (np.diff(green) >= 0).all() and found.legend.low < found.legend.high
    assert found.legend.low == pytest.approx(np.percentile(cloud().xyz[:, 2], 1), abs=1e-6)


def test_labels_have_one_colour_each_everywhere():
    label = np.arange(300) % 5 - 1
    scene = make_scene([("a", cloud(label=label))])
    found = coloring(scene, scene.layers[0])
    assert [words for words, _ in found.legend.entries] == ["-1", "0", "1", "2", "3"]
    assert tuple(found.colors[0]) == GREY
    assert np.array_equal(found.colors, kind_colors(label))
    assert len({tuple(c) for c in kind_colors(np.arange(30)).tolist()}) == 30


def test_normals_colours_and_vectors():
    normal = np.tile(np.float32([0, 0, 1]), (300, 1))
    flow = np.tile(np.float32([3, 4, 0]), (300, 1))
    scene = make_scene([("a", cloud(normal=normal, flow=flow))])
    layer = scene.layers[0]
    assert {"normal", "flow", "height", "solid"} <= set(modes(layer))
    assert coloring(scene, layer, "normal").colors[0].tolist() == [128, 128, 255]
    assert coloring(scene, layer, "flow").legend.high == pytest.approx(5)
    lines = with_arrows(scene, "flow").lines[0]
    assert np.allclose(lines.end - lines.start, [3, 4, 0], atol=1e-5)
    with pytest.raises(UnknownNameError, match="wind"):
        coloring(scene, layer, "wind")
    with pytest.raises(UnknownNameError, match="wind"):
        with_arrows(scene, "wind")


def test_values_that_are_not_finite_are_grey():
    weight = np.r_[np.nan, np.inf, np.linspace(0, 1, 298)]
    scene = make_scene([("a", cloud(weight=weight))], color_by="weight")
    found = coloring(scene, scene.layers[0])
    assert found.colors[:2].tolist() == [list(GREY)] * 2 and np.isfinite(found.legend.high)


def test_labels_of_another_length_are_named():
    layer = make_scene([("a", cloud(1000))], limit=100).layers[0]
    assert np.array_equal(labelled(layer, "label", np.arange(1000)).attributes["label"], layer.rows)
    with pytest.raises(ShapeError, match="999 values of label for 1,000 points"):
        labelled(layer, "label", np.arange(999))


def test_a_camera_sees_all_from_everywhere():
    scene = make_scene([("a", cloud(origin=FAR))])
    for look in (*LOOKS, (0.3, 2.0, -1.0)):
        for up in UPS:
            camera = camera_for(scene, look, up, turn_deg=30)
            axes = camera.axes()
            assert np.allclose(axes @ axes.T, np.eye(3)) and np.linalg.det(axes) > 0.99
            place, depth = camera.project(scene.layers[0].points.astype(float), 400, 300)
            assert (depth > camera.near).all() and (depth < camera.far).all()
            assert (place > 0).all() and (place < (400, 300)).all()
    for wrong in ("up", (0, 0, 0), (1, 2)):
        with pytest.raises(UsageError):
            camera_for(scene, wrong)


def test_up_is_up_in_the_picture():
    scene = make_scene([("a", PointCloud(np.float32([[0, 0, -1], [0, 0, 1], [0.1, 0.1, 0]])))])
    for up, sign in (("z", 1), ("-z", -1)):
        rows = camera_for(scene, "iso", up).project(scene.layers[0].points, 100, 100)[0][:, 1]
        assert sign * (rows[0] - rows[1]) > 0


def test_what_a_depth_camera_saw_stands_upright():
    seen = cloud().xyz * [0.8, 0.6, 0.5] + np.float32([0, 0, 2])
    scene = make_scene([("a", PointCloud(seen.astype(np.float32)))])
    assert is_camera_frame(scene) and camera_for(scene).up.tolist() == [0, -1, 0]
    assert not is_camera_frame(make_scene([("a", cloud())]))


def test_a_scene_comes_back_from_disk(tmp_path):
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    scene = make_scene([("a", cloud(label=np.arange(300))), ("m", mesh)], title="two")
    scene = with_matches(scene, np.zeros((4, 3)), np.ones((4, 3)), np.array([1, 1, 1, 0], bool))
    save_scene(tmp_path / "s.npz", scene)
    found = load_scene(tmp_path / "s.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]
    assert found.title == "two" and np.array_equal(found.layers[1].faces, mesh.faces)
    assert np.array_equal(found.layers[0].attributes["label"], np.arange(300))
    assert [lines.name for lines in found.lines] == ["inliers, 3 matches", "outliers, 1 matches"]


def test_before_and_after_a_transform(tmp_path):
    target = cloud(2000, origin=FAR)
    transform = np.eye(4)
    transform[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    transform[:3, 3] = FAR
    local = (target.xyz @ transform[:3, :3]).astype(np.float32)
    write(tmp_path / "a.ply", PointCloud(local))
    write(tmp_path / "b.ply", target)
    scene = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], transform=transform)
    after, seen, before = scene.layers
    assert after.visible and seen.visible and not before.visible
    assert after.attributes["distance"].max() < 1e-5  # sharp, though 5,000 km from zero
    assert after.attributes["overlap"].all() and len(scene.lines[0].start) == 150
    assert any("lie in the overlap" in note for note in scene.notes)
    thinned = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], transform=transform,
                             limit=900).layers[0]
    assert len(thinned.points) == 300 and thinned.attributes["distance"].max() < 1e-5
    away = transform.copy()
    away[:3, 3] += 100  # the negative control: nothing meets
    scene = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], transform=away)
    assert not scene.layers[0].attributes["overlap"].any() and not len(scene.lines[0].start)
    with pytest.raises(UsageError, match="3 are given"):
        scene_of_files([tmp_path / "a.ply"] * 3, transform=transform)


def test_distances_need_another_cloud(tmp_path):
    write(tmp_path / "a.ply", cloud())
    with pytest.raises(UsageError, match="no other cloud"):
        scene_of_files([tmp_path / "a.ply"], color_by="distance")
    with pytest.raises(UnknownNameError, match="wind"):
        scene_of_files([tmp_path / "a.ply"], color_by="wind")
    write(tmp_path / "b.ply", PointCloud(cloud().xyz + np.float32([0, 0, 0.5])))
    scene = scene_of_files([tmp_path / "a.ply", tmp_path / "b.ply"], color_by="distance")
    assert scene.layers[0].attributes["distance"].max() <= 0.5 + 1e-6


def test_labels_from_files(tmp_path):
    np.save(tmp_path / "l.npy", np.arange(300))
    (tmp_path / "l.txt").write_text("\n".join(map(str, range(300))))
    assert np.array_equal(read_labels(tmp_path / "l.npy"), read_labels(tmp_path / "l.txt"))
    (tmp_path / "bad.txt").write_text("0.5\nx")
    with pytest.raises(InputError, match="no list of labels"):
        read_labels(tmp_path / "bad.txt")
