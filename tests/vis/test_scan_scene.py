"""A LiDAR scan as a scene, and a sequence as frames."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.lidar_files import drive, points, write_argoverse, write_boxes, write_kitti

from pcinv.errors import UsageError
from pcinv.types import Boxes, Scan
from pcinv.vis.colors import coloring
from pcinv.vis.frames import Frames, frames_of_folder
from pcinv.vis.scan_scene import scene_of_scan


def scan(**fields):
    flow = points(1) / 20
    flow[:5] = np.nan
    flow[5:20] = 0
    return Scan(points(0), "s0", label=np.resize([-1, 0, 1], 60), flow=flow, **fields)


def places(layer, scene):
    return layer.points + scene.origin


def test_classes_have_their_names_and_none_is_grey():
    scene = scene_of_scan(scan(), ("car", "road"))
    found = coloring(scene, scene.layers[0])
    assert [words for words, _ in found.legend.entries] == ["none", "car", "road"]
    assert found.legend.entries[0][1] == (160, 160, 160)
    np.testing.assert_allclose(places(scene.layers[0], scene), points(0), atol=1e-5)


def test_flow_is_drawn_where_it_is_known_and_not_zero():
    scene = scene_of_scan(scan())
    arrows, = scene.lines
    assert len(arrows.start) == 40
    np.testing.assert_allclose(arrows.end - arrows.start, (points(1) / 20)[20:], atol=1e-5)
    np.testing.assert_allclose(arrows.start + scene.origin, points(0)[20:], atol=1e-5)
    assert not scene_of_scan(Scan(points(0))).lines


def test_a_box_has_twelve_edges_of_its_size_and_a_nose():
    boxes = Boxes(np.array([[5.0, 1, 0]]), np.array([[4.0, 2, 1.5]]), np.array([np.pi / 2]),
                  np.array([0]), np.array([1]))
    scene = scene_of_scan(Scan(points(0), boxes=boxes))
    lines, = scene.lines
    length = np.linalg.norm(lines.end - lines.start, axis=1)
    assert sorted(length.round(4)) == [1.5] * 4 + [2.0] * 5 + [4.0] * 4  # the nose is 2 m
    ends = np.concatenate([lines.start, lines.end]) + scene.origin
    np.testing.assert_allclose(ends.min(0), [4, -1, -0.75], atol=1e-4)  # turned by a quarter
    np.testing.assert_allclose(ends.max(0), [6, 3, 0.75], atol=1e-4)
    np.testing.assert_allclose((lines.end + scene.origin)[-1], [5, 3, 0], atol=1e-4)


def test_in_the_world_all_is_moved_by_the_pose_and_stays_sharp():
    pose = drive(40)[-1]
    pose[:3, 3] += (5e5, 5e6, 100)
    boxes = Boxes(np.array([[5.0, 1, 0]]), np.ones((1, 3)), np.zeros(1), np.zeros(1, int),
                  np.ones(1, int))
    here, there = (scene_of_scan(scan(T_world_sensor=pose, boxes=boxes), world=world)
                   for world in (False, True))
    expected = points(0).astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(places(there.layers[0], there), expected, atol=1e-4)
    np.testing.assert_allclose(places(here.layers[0], here), points(0), atol=1e-5)
    for before, after in zip(here.lines, there.lines, strict=True):
        moved = (before.end + here.origin) @ pose[:3, :3].T + pose[:3, 3]
        np.testing.assert_allclose(after.end + there.origin, moved, atol=1e-3)


def test_a_folder_of_a_data_set_is_frames_of_its_sequence(tmp_path):
    write_kitti(tmp_path, 4, labels=True)
    frames = frames_of_folder(tmp_path)
    assert len(frames) == 4 and frames.names == tuple(f"{k:06d}" for k in range(4))
    scene = frames.scene(2)
    assert scene.title == "000002, 3 of 4" and scene.layers[0].words["label"][0] == "car"
    np.testing.assert_allclose(places(scene.layers[0], scene), points(2), atol=1e-5)
    again = Frames(**json.loads(json.dumps(dataclasses.asdict(frames))))  # for the window
    assert len(again.scene(1).layers[0].points) == 60


def test_in_the_world_what_stands_still_stays(tmp_path):
    write_kitti(tmp_path, 4)
    frames = frames_of_folder(tmp_path, world=True)
    for k in range(4):
        pose, scene = drive(4)[k], frames.scene(k)
        np.testing.assert_array_equal(scene.origin, frames.first.origin)
        np.testing.assert_allclose(places(scene.layers[0], scene),
                                   points(k) @ pose[:3, :3].T + pose[:3, 3], atol=1e-4)
    (tmp_path / "poses/00.txt").unlink()
    with pytest.raises(UsageError, match="no poses"):
        frames_of_folder(tmp_path, world=True)


def test_sweeps_without_labels_are_shown_beside_those_with(tmp_path):
    pytest.importorskip("pyarrow", reason="Argoverse 2 needs pyarrow")
    write_boxes(write_argoverse(tmp_path, 3))
    frames = frames_of_folder(tmp_path)
    assert "label" in frames.scene(0).layers[0].attributes
    assert [len(frames.scene(k).lines) for k in range(3)] == [2, 1, 0]
    last = frames.scene(2)
    assert coloring(last, last.layers[0]).colors.shape == (60, 3)


def test_a_gap_and_a_damaged_scan_do_not_keep_the_others_from_being_shown(tmp_path):
    folder = write_kitti(tmp_path, 5)
    (folder / "velodyne/000001.bin").unlink()
    (folder / "velodyne/000003.bin").write_bytes(b"123")
    frames = frames_of_folder(tmp_path)
    assert frames.names == ("000000", "000002", "000003", "000004")
    assert len(frames.scene(3).layers[0].points) == 60
