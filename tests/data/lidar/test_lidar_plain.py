"""Folders of any scans, with or without poses."""

import numpy as np
import pytest
from helpers.lidar_files import drive, numbers, points

import pcinv
from pcinv.errors import DatasetError, InputError
from pcinv.registration.trajectories import write_trajectory
from pcinv_data.lidar import open_sequence


@pytest.fixture
def folder(tmp_path):
    """s1.ply, s2.pcd, s10.ply with intensity, time and ring in some."""
    for k, name in ((0, "s1.ply"), (1, "s2.pcd"), (2, "s10.ply")):
        pcinv.write(tmp_path / name, pcinv.PointCloud(points(k), attributes={
            "intensity": np.arange(60, dtype=np.float32) * 4,
            "time": 5 + np.arange(60, dtype=np.float32) / 600,
            "ring": (np.arange(60) % 16).astype(np.uint8),
            "label": np.arange(60, dtype=np.int32) % 3}))
    return tmp_path


def test_scans_come_in_natural_order_with_what_they_have(folder):
    scans = pcinv.open_sequence(folder)
    assert scans.format == "plain" and list(scans.names) == ["s1", "s2", "s10"]
    assert scans.poses is None and scans.stamps is None
    assert scans.missing == ["poses.txt", "times.txt"]
    for k, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.xyz, points(k))
        np.testing.assert_allclose(scan.intensity, np.arange(60) * 4 / 255, atol=1e-6)
        np.testing.assert_allclose(scan.time, np.arange(60) / 600, atol=1e-6)
        np.testing.assert_array_equal(scan.ring, np.arange(60) % 16)
        np.testing.assert_array_equal(scan.label, np.arange(60) % 3)
    assert "jump" in scans.notes[0]  # from 2 to 10, but a person may name scans as they like


def test_poses_and_times_beside_the_scans_are_taken(folder):
    (folder / "poses.txt").write_text(numbers(drive(3)))
    (folder / "times.txt").write_text("10\n10.5\n11\n")
    scans = open_sequence(folder)
    np.testing.assert_allclose(scans.poses, drive(3), atol=1e-12)  # of the sensor: not turned
    assert scans.stamps.tolist() == [10, 10.5, 11] and not scans.missing
    told = scans.describe()
    assert told["hz"] == 2 and told["duration"] == 1
    assert told["path_length"] == pytest.approx(1.6, abs=0.01) and told["num_points"] == 60
    assert told["fields"] == ["intensity", "time", "ring", "label"]


def test_tum_has_poses_and_stamps(folder, tmp_path_factory):
    file = tmp_path_factory.mktemp("poses") / "track.tum"
    write_trajectory(file, drive(3), np.array([3.0, 3.1, 3.2]), format="tum")
    scans = open_sequence(folder, poses=file)
    np.testing.assert_allclose(scans.poses, drive(3), atol=1e-12)
    assert scans.stamps.tolist() == [3.0, 3.1, 3.2]
    write_trajectory(file, drive(4), np.arange(4.0), format="tum", force=True)
    with pytest.raises(DatasetError, match="4 poses for 3 scans"):
        open_sequence(folder, poses=file)
    assert len(open_sequence(folder, poses=file, on_error="skip")) == 3


def test_far_from_zero_nothing_is_merged(tmp_path):
    origin = np.array([5e5, 5e6, 100.0])
    places = points(0).astype(np.float64) + origin
    np.save(tmp_path / "a.npy", places)
    scan = open_sequence(tmp_path)[0]
    T = scan.T_world_sensor
    np.testing.assert_allclose(scan.xyz @ T[:3, :3].T + T[:3, 3], places, atol=1e-4)
    assert np.abs(scan.xyz).max() < 100


def test_rows_that_hit_nothing_are_left_out_with_a_word(tmp_path):
    xyz = points(0)
    xyz[7] = np.nan
    np.save(tmp_path / "a.npy", xyz)
    with pytest.warns(UserWarning, match="1 of 60 points are not finite"):
        scan = open_sequence(tmp_path)[0]
    assert len(scan) == 59


def test_meshes_and_damaged_files_are_told(folder):
    (folder / "s11.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    (folder / "s12.ply").write_text("ply\nformat ascii 1.0\nelement vertex 9\n")
    scans = open_sequence(folder)
    for k, words in ((3, "a mesh is not a scan"), (4, "")):
        with pytest.raises(InputError, match=words):
            _ = scans[k]
    rest = open_sequence(folder, on_error="skip")
    assert len(list(rest)) == 3 and list(rest.skipped) == ["s11", "s12"]


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_intensity_lies_between_0_and_1(tmp_path, dtype, top):
    values = np.linspace(0, top, 60).astype(dtype)
    pcinv.write(tmp_path / "a.ply", pcinv.PointCloud(points(0), attributes={"intensity": values}))
    scan = open_sequence(tmp_path)[0]
    np.testing.assert_allclose(scan.intensity, values / top, atol=1e-6)
