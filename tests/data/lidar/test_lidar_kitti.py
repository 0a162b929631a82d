"""KITTI odometry and SemanticKITTI: what is read, from where, in which frame."""

import numpy as np
import pytest
from helpers.lidar_files import T_CAMERA_SCANNER, drive, points, write_kitti
from scipy.spatial import cKDTree

import pcinv
from pcinv.errors import DatasetError, FileFormatError, UnknownNameError, UsageError
from pcinv_data.lidar import open_sequence
from pcinv_data.lidar.kitti import camera_poses, scanner_poses
from pcinv_data.lidar.semantickitti import (
    CLASSES,
    RAW_OF_TRAIN,
    TRAIN_OF_RAW,
    raw_ids,
    read_labels,
    train_ids,
)


def share_near(source, target, pose, within=50.0, near=0.1):
    """Share of source points (within 50 m of the sensor) with a target point within 0.1 m."""
    source = source[np.linalg.norm(source, axis=1) < within]
    moved = source @ pose[:3, :3].T + pose[:3, 3]
    return float((cKDTree(target).query(moved, distance_upper_bound=near)[0] <= near).mean())


@pytest.mark.parametrize("place", ["", "sequences", "sequences/00", "sequences/00/velodyne"])
def test_must_hold_6_a_sequence_is_read_as_it_was_written(tmp_path, place):
    write_kitti(tmp_path, 5)
    scans = open_sequence(tmp_path / place)
    assert (scans.format, scans.name, len(scans)) == ("kitti", "00", 5)
    assert list(scans.names) == [f"{k:06d}" for k in range(5)] and not scans.missing
    np.testing.assert_allclose(scans.poses, drive(5), atol=1e-12)
    np.testing.assert_allclose(scans.stamps, 0.1 * np.arange(5), atol=1e-9)
    for k, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.xyz, points(k))
        np.testing.assert_allclose(scan.intensity, np.linspace(0, 1, 60), atol=1e-7)
        assert scan.xyz.dtype == scan.intensity.dtype == np.float32
        np.testing.assert_array_equal(scan.T_world_sensor, scans.poses[k])
        assert scan.stamp == pytest.approx(0.1 * k) and scan.name == scans.names[k]
        assert scan.time is None and scan.is_deskewed and scan.label is None
    with pytest.raises(IndexError):
        _ = scans[5]


def test_several_sequences_ask_for_a_choice(tmp_path):
    for name in ("00", "07"):
        write_kitti(tmp_path, 2, name)
    assert open_sequence(tmp_path, sequence=7).name == open_sequence(tmp_path, sequence="07").name
    with pytest.raises(UsageError, match="2 sequences") as caught:
        open_sequence(tmp_path)
    assert caught.value.where == str(tmp_path) and "sequence='00'" in caught.value.hint
    with pytest.raises(UnknownNameError, match="unknown sequence '8'"):
        open_sequence(tmp_path, sequence=8)
    with pytest.raises(UnknownNameError, match="kitti"):
        open_sequence(tmp_path, "kiti")
    with pytest.raises(DatasetError, match="looks like KITTI odometry"):
        open_sequence(tmp_path, "nuscenes")


def test_must_hold_10_poses_go_from_camera_to_scanner_and_back():
    identity = np.eye(4)[None]
    assert np.abs(scanner_poses(identity, T_CAMERA_SCANNER) - identity).max() < 1e-12
    camera = camera_poses(drive(100), T_CAMERA_SCANNER)
    assert np.abs(camera - drive(100)).max() > 1
    assert np.abs(scanner_poses(camera, T_CAMERA_SCANNER) - drive(100)).max() < 1e-12


def test_poses_of_a_camera_need_calib_txt(tmp_path):
    folder = write_kitti(tmp_path, 3)
    (folder / "calib.txt").unlink()
    with pytest.raises(DatasetError, match="poses are those of a camera") as caught:
        open_sequence(tmp_path)
    assert caught.value.where == str(folder / "calib.txt") and caught.value.exit_code == 3
    with pytest.warns(UserWarning, match="no calib.txt"):
        scans = open_sequence(tmp_path, on_error="skip")
    assert scans.poses is None and len(list(scans)) == 3 and "calib.txt" in scans.missing
    (tmp_path / "poses/00.txt").unlink()
    assert open_sequence(tmp_path).poses is None
    (folder / "calib.txt").write_text("P0: 1\n")
    assert open_sequence(tmp_path).poses is None  # not needed, so not read


@pytest.mark.parametrize("text, words", [
    ("Tr: 1 2 3", "12 finite numbers"), ("P0: 1", "no line `Tr:`"),
    ("Tr: 1 0 0 0 0 1 0 0 0 0 -1 0", "no rotation|not a rotation"), ("", "no line"),
    ("Tr: 1 0 0 nan 0 1 0 0 0 0 1 0", "12 finite numbers")])
def test_a_damaged_calib_txt_is_named(tmp_path, text, words):
    folder = write_kitti(tmp_path, 2)
    (folder / "calib.txt").write_text(text)
    with pytest.raises(DatasetError, match=words) as caught:
        open_sequence(tmp_path)
    assert str(folder / "calib.txt") in caught.value.where and caught.value.hint


def test_the_camera_is_not_the_scanner(real):
    """Neighbours lie on each other by the poses; by none, or those of the camera, they do not."""
    scans = open_sequence(real("KITTI-odometry"), sequence=0)
    assert len(scans) == 4 and scans.class_names == ()
    first, second = scans[0], scans[1]
    assert 120_000 < len(first) < 130_000
    pose = np.linalg.inv(first.T_world_sensor) @ second.T_world_sensor
    right = share_near(second.xyz, first.xyz, pose)
    without = share_near(second.xyz, first.xyz, np.eye(4))
    camera = T_CAMERA_SCANNER @ pose @ np.linalg.inv(T_CAMERA_SCANNER)
    assert right > 0.73 and without < 0.57
    assert share_near(second.xyz, first.xyz, camera) < 0.6
    assert 0.6 < np.linalg.norm(pose[:3, 3]) < 0.8 and pose[0, 3] > 0.6  # forward is x


def test_must_hold_7_34_raw_classes_become_19_and_none():
    assert len(TRAIN_OF_RAW) == 34 and set(TRAIN_OF_RAW.values()) == set(range(20))
    assert len(CLASSES) == 19 and len(RAW_OF_TRAIN) == 20
    canonical = np.arange(20)
    np.testing.assert_array_equal(train_ids(raw_ids(canonical)), canonical)
    raw = np.array(list(TRAIN_OF_RAW))
    np.testing.assert_array_equal(train_ids(raw), list(TRAIN_OF_RAW.values()))
    assert CLASSES[train_ids(np.array([252]))[0] - 1] == "car" == CLASSES[TRAIN_OF_RAW[10] - 1]
    for wrong in (2, 65535, 70000, -1):
        with pytest.raises(FileFormatError, match=f"class {wrong} is none of the 34"):
            train_ids(np.array([10, wrong]))


def test_must_hold_6_labels_are_read_as_they_were_written(tmp_path):
    write_kitti(tmp_path, 3, "08", labels=True)
    scans = open_sequence(tmp_path)
    assert scans.format == "semantickitti" and scans.class_names == CLASSES
    scan = scans[1]
    np.testing.assert_array_equal(scan.label, np.resize([-1, 0, 0, 8, 10, -1], 60))
    np.testing.assert_array_equal(scan.instance, np.arange(60))
    assert scan.label.dtype == scan.instance.dtype == np.int64
    assert open_sequence(tmp_path, "kitti")[1].label is None
    np.testing.assert_allclose(scans.poses, drive(3), atol=1e-12)


def test_poses_in_the_sequence_come_first_for_semantickitti(tmp_path):
    folder = write_kitti(tmp_path, 3, labels=True)
    camera = camera_poses(drive(3, step=2.0), T_CAMERA_SCANNER)
    (folder / "poses.txt").write_text("".join(
        " ".join(map(repr, row)) + "\n" for row in camera[:, :3].reshape(-1, 12).tolist()))
    assert open_sequence(folder).poses[1, 0, 3] == pytest.approx(2.0)
    assert open_sequence(folder, "kitti").poses[1, 0, 3] == pytest.approx(0.8)


@pytest.mark.parametrize("content, words", [
    (np.zeros(59, "<u4").tobytes(), "59 labels for 60 points"),
    (np.zeros(60, "<u4").tobytes()[:-1], "not labels of 4 bytes"), (b"", "empty"),
    (np.full(60, 77, "<u4").tobytes(), "class 77 is none of the 34")])
def test_damaged_labels_are_named(tmp_path, content, words):
    file = write_kitti(tmp_path, 2, labels=True) / "labels/000001.label"
    file.write_bytes(content)
    scans = open_sequence(tmp_path)
    assert len(scans[0]) == 60
    with pytest.raises(FileFormatError, match=words) as caught:
        _ = scans[1]
    assert str(file) in caught.value.where and caught.value.exit_code == 3
    rest = open_sequence(tmp_path, on_error="skip")
    assert [scan.name for scan in rest] == ["000000"] and list(rest.skipped) == ["000001"]


def test_a_scan_without_labels_is_missing(tmp_path):
    folder = write_kitti(tmp_path, 3, labels=True)
    (folder / "labels/000001.label").unlink()
    with pytest.raises(DatasetError, match="scan 000001 has no labels"):
        open_sequence(tmp_path)
    scans = open_sequence(tmp_path, on_error="skip")
    assert list(scans.names) == ["000000", "000002"]
    assert scans.skipped == {"000001": "scan 000001 has no labels"}
    np.testing.assert_allclose(scans.poses, drive(3)[[0, 2]], atol=1e-12)


def test_real_labels_have_the_counts_of_their_file(real):
    folder = real("SemanticKITTI")
    scan = pcinv.open_sequence(folder)[0]
    raw, instance = read_labels(folder / "sequences/08/labels/000000.label")
    assert len(scan) == len(raw) == 123_389 and len(np.unique(raw)) == 19
    for name, classes in {"car": (10, 252), "road": (40, 60), "person": (30, 254),
                          "vegetation": (70,), "terrain": (72,)}.items():
        count = int((scan.label == CLASSES.index(name)).sum())
        assert count == int(np.isin(raw, classes).sum()) > 100
    assert (scan.label == -1).sum() == np.isin(raw, (0, 1, 52, 99)).sum()
    np.testing.assert_array_equal(scan.instance, instance)
    road, above = scan.xyz[scan.label == 8, 2], scan.xyz[scan.label == 14, 2]
    assert np.median(road) < -1.4 < np.median(above)  # the labels lie on their points
