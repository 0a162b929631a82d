"""nuScenes: scans alone, and with tables; the frame is turned and the poses with it."""

import json

import numpy as np
import pytest
from helpers.lidar_files import MICRO, points, write_nuscenes

from pcinv.errors import DatasetError, FileFormatError, UnknownNameError, UsageError
from pcinv_data.lidar import open_sequence
from pcinv_data.lidar.nuscenes import CLASSES, TRAIN_OF_RAW
from pcinv_data.lidar.nuscenes_boxes import _velocity
from pcinv_data.lidar.nuscenes_tables import records


def turned(xyz):
    """x right, y forward -> x forward, y left."""
    return np.stack([xyz[:, 1], -xyz[:, 0], xyz[:, 2]], 1)


@pytest.mark.parametrize("place", ["", "samples/LIDAR_TOP", "samples"])
def test_must_hold_6_scans_alone_are_read_as_they_were_written(tmp_path, place):
    write_nuscenes(tmp_path, tables=False, sweeps=False)
    scans = open_sequence(tmp_path / place)
    assert (scans.format, scans.name, len(scans)) == ("nuscenes", "n015-day", 4)
    assert scans.poses is None and scans.missing == ["poses (the tables v1.0-*)"]
    np.testing.assert_allclose(scans.stamps[:2], [MICRO * 1e-6, MICRO * 1e-6 + 0.1])
    scan = scans[1]
    np.testing.assert_array_equal(scan.xyz, turned(points(2)))
    np.testing.assert_allclose(scan.intensity, np.linspace(0, 1, 60), atol=1e-6)
    np.testing.assert_array_equal(scan.ring, np.arange(60) % 32)
    assert scan.ring.dtype == np.uint8 and scan.label is None


def test_a_scene_of_the_tables_has_poses_labels_and_sweeps(tmp_path):
    write_nuscenes(tmp_path)
    with pytest.raises(UsageError, match="2 sequences"):
        open_sequence(tmp_path)
    with pytest.raises(UnknownNameError, match="scene-0000"):
        open_sequence(tmp_path, sequence="scene-000")
    scans = open_sequence(tmp_path, sequence="scene-0001")
    assert len(scans) == 4 and scans.class_names == CLASSES and scans.name == "scene-0001"
    np.testing.assert_allclose(np.diff(scans.stamps), 0.05, atol=1e-6)
    assert [scan.label is not None for scan in scans] == [True, False, True, False]
    np.testing.assert_array_equal(scans[0].label,
                                  np.asarray(TRAIN_OF_RAW)[np.arange(60) % 32] - 1)
    # by hand: sensor -> nuScenes' scanner -> ego -> global
    x, y, z = points(13).astype(np.float64).T
    ego = np.stack([y + 0.9, -x, z + 1.8], 1)  # a quarter turn clockwise, then the shift
    world = ego + np.array([600 + 0.5 * 3, 1600, 0])
    scan = scans[3]
    T = scan.T_world_sensor
    np.testing.assert_allclose(scan.xyz @ T[:3, :3].T + T[:3, 3], world, atol=1e-4)
    assert np.allclose(T[:3, :3], np.eye(3))  # forward of the sensor is forward of the car here


def test_a_scene_can_be_named_as_if_it_were_a_folder(tmp_path):
    write_nuscenes(tmp_path)
    assert open_sequence(tmp_path / "scene-0000").name == "scene-0000"
    with pytest.raises(DatasetError, match="no such folder"):
        open_sequence(tmp_path / "scene-0009")


def test_without_the_sweeps_key_frames_are_a_sequence(tmp_path):
    write_nuscenes(tmp_path, sweeps=False)
    scans = open_sequence(tmp_path, sequence="scene-0000")
    assert len(scans) == 2 and "sweeps/LIDAR_TOP" in scans.missing
    assert all(scan.label is not None for scan in scans)


def test_32_classes_become_16():
    assert len(TRAIN_OF_RAW) == 32 and len(CLASSES) == 16
    assert set(TRAIN_OF_RAW) == set(range(17))
    named = {17: "car", 2: "pedestrian", 12: "traffic_cone", 24: "driveable_surface",
             30: "vegetation", 15: "bus", 16: "bus", 9: "barrier", 28: "manmade"}
    assert all(CLASSES[TRAIN_OF_RAW[raw] - 1] == name for raw, name in named.items())
    assert not any(TRAIN_OF_RAW[raw] for raw in (0, 1, 31))


def test_a_listed_scan_that_is_not_there_is_missing(tmp_path):
    write_nuscenes(tmp_path)
    file = sorted((tmp_path / "sweeps/LIDAR_TOP").iterdir())[0]
    file.unlink()
    with pytest.raises(DatasetError, match="list this scan") as caught:
        open_sequence(tmp_path, sequence="scene-0000")
    assert caught.value.where == str(file)
    scans = open_sequence(tmp_path, sequence="scene-0000", on_error="skip")
    assert len(scans) == 3 == len(scans.poses) and len(scans.skipped) == 1


@pytest.mark.parametrize("table, change, words", [
    ("ego_pose", lambda rows: rows[:1], "no record"),
    ("ego_pose", lambda rows: [{**row, "rotation": [2, 0, 0, 0]} for row in rows], "quaternion"),
    ("ego_pose", lambda rows: [{**row, "translation": [0, 0]} for row in rows], "quaternion"),
    ("ego_pose", lambda rows: [{**row, "translation": "x"} for row in rows], "quaternion"),
    ("sample_data", lambda rows: [{**row, "filename": f"../{row['filename']}"} for row in rows],
     "outside the data set"),
    ("sample_data", lambda rows: [{"token": 1}], "a record without"),
    ("sample", lambda rows: {"rows": rows}, "not a list of records"),
    ("sample_data", lambda rows: [7], "a record without")])
def test_damaged_tables_are_named(tmp_path, table, change, words):
    write_nuscenes(tmp_path)
    file = tmp_path / f"v1.0-mini/{table}.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(FileFormatError, match=words) as caught:
        open_sequence(tmp_path, sequence="scene-0000")
    assert str(file) in caught.value.where and caught.value.hint


def test_a_table_is_read_in_pieces(tmp_path, monkeypatch):
    rows = [{"token": f"t{k}", "name": "a] [{" * (k % 7), "more": {"x": [k]}} for k in range(3000)]
    file = tmp_path / "t.json"
    for indent in (None, 0, 2):
        file.write_text(json.dumps(rows, indent=indent))
        for chunk in (7, 64, 2**20):
            monkeypatch.setattr("pcinv_data.lidar.nuscenes_tables.CHUNK", chunk)
            found = list(records(file, ("token", "name"), lambda row: row["token"] != "t5"))
            assert [row["token"] for row in found] == [f"t{k}" for k in range(3000) if k != 5]
            assert found[6]["name"] == rows[7]["name"]
            if chunk == 7 and indent is None:
                break  # slow, once is enough
    file.write_text(json.dumps(rows)[:-50])
    with pytest.raises(FileFormatError, match="ends within a record"):
        list(records(file, ("token",)))
    file.write_text("[]")
    assert list(records(file, ("token",))) == []


@pytest.mark.parametrize("content, words", [
    (b"\0" * 990, "not rows of 5 float32"), (b"", "empty"),
    (np.full((4, 5), 300, "<f4").tobytes(), "no ring number"),
    (np.full((4, 5), np.nan, "<f4").tobytes(), "no ring number|not finite")])
def test_a_damaged_scan_is_named(tmp_path, content, words):
    write_nuscenes(tmp_path, tables=False)
    file = sorted((tmp_path / "samples/LIDAR_TOP").iterdir())[0]
    file.write_bytes(content)
    scans = open_sequence(tmp_path)
    with pytest.raises(FileFormatError, match=words) as caught:
        _ = scans[0]
    assert str(file) in caught.value.where


def test_damaged_labels_and_names_are_told(tmp_path):
    write_nuscenes(tmp_path)
    file = tmp_path / "lidarseg/v1.0-mini/d00_lidarseg.bin"
    for content, words in ((bytes(59), "59 labels for 60 points"), (bytes([40] * 60), "class 40")):
        file.write_bytes(content)
        with pytest.raises(FileFormatError, match=words):
            _ = open_sequence(tmp_path, sequence="scene-0000")[0]
    (tmp_path / "samples/LIDAR_TOP/a.pcd.bin").write_bytes(b"1")
    write_nuscenes(tmp_path / "b", tables=False)
    (tmp_path / "b/samples/LIDAR_TOP/a.pcd.bin").write_bytes(b"1")
    with pytest.raises(DatasetError, match="RECORDING__LIDAR_TOP__STAMP"):
        open_sequence(tmp_path / "b")


def test_a_real_sweep_has_its_rings_and_faces_forward(real):
    scan = open_sequence(real("nuScenes"))[0]
    assert len(scan) == 34_688 and len(np.unique(scan.ring)) == 32
    assert 0 <= scan.intensity.min() and scan.intensity.max() <= 1
    near = np.linalg.norm(scan.xyz[:, :2], axis=1) < 3  # the car itself is long, not wide
    own = scan.xyz[near & (scan.xyz[:, 2] > -1.2)]
    assert np.ptp(own[:, 0]) > 1.2 * np.ptp(own[:, 1])


class TestBoxes:
    """Of key frames, in the turned frame of the scanner, with the devkit's velocities."""

    def test_they_are_where_the_tables_put_them(self, tmp_path):
        scans = open_sequence(write_nuscenes(tmp_path), sequence="scene-0000")
        first, sweep, second, _ = (scan.boxes for scan in scans)
        assert sweep is None and len(first) == 2 and len(second) == 1
        world = scans.poses[0] @ np.append(first.centre[0], 1)
        assert np.allclose(world[:3], [610, 1600, 1], atol=1e-9)
        heading = scans.poses[0][:3, :3] @ [np.cos(first.yaw[0]), np.sin(first.yaw[0]), 0]
        assert np.allclose(heading, [np.cos(0.6), np.sin(0.6), 0], atol=1e-9)
        assert first.size.tolist() == [[4.5, 2.0, 1.6]] * 2 and first.num_points.tolist() == [7, 6]
        car = list(scans.class_names).index("car")
        assert first.label.tolist() == [car, -1] and first.instance.tolist() == [1, 2]
        over_ground = scans.poses[0][:2, :2] @ first.velocity[0]
        assert np.allclose(over_ground, [10, 0], atol=1e-9)  # a metre in a tenth of a second
        assert np.isnan(first.velocity[1]).all()  # seen once
        assert np.allclose(np.linalg.norm(second.velocity[0]), 10)

    def test_without_their_tables_there_are_none(self, tmp_path):
        root = write_nuscenes(tmp_path)
        (root / "v1.0-mini/instance.json").unlink()
        scans = open_sequence(root, sequence="scene-0000")
        assert scans[0].boxes is None and "boxes (sample_annotation)" in scans.missing

    @pytest.mark.parametrize("change", [
        {"size": [2, 0, 1]}, {"size": [2, 1]}, {"rotation": [0, 0, 0, 0]},
        {"translation": [1, 2, "x"]}, {"translation": [1, float("nan"), 0]},
        {"instance_token": "i9"}, {"num_lidar_pts": None}])
    def test_a_damaged_row_is_named(self, tmp_path, change):
        root = write_nuscenes(tmp_path)
        table = root / "v1.0-mini/sample_annotation.json"
        rows = json.loads(table.read_text())
        rows[0] |= change
        table.write_text(json.dumps(rows))
        with pytest.raises(FileFormatError) as caught:
            open_sequence(root, sequence="scene-0000")
        assert "sample_annotation" in caught.value.where

    def test_velocities_are_the_devkits(self):
        place = np.array([[0.0, 0], [1, 0], [4, 0], [0, 5], [0, 6]])
        stamp = np.array([0.0, 0.5, 1.0, 0.0, 2.0])
        found = _velocity(place, stamp, np.array([1, 1, 1, 2, 2]))
        assert found[:3].tolist() == [[2, 0], [4, 0], [6, 0]]
        assert np.isnan(found[3:]).all()  # two seconds apart
