"""Argoverse 2: sweeps, ego poses, boxes and flow; hostile feather files; pyarrow missing."""

import sys

import numpy as np
import pytest
from helpers.lidar_files import (
    drive,
    points,
    write_argoverse,
    write_boxes,
    write_feather,
    write_flow,
)
from scipy.spatial import cKDTree

from pcinv.errors import DatasetError, DependencyError, FileFormatError, PcinvError
from pcinv_data.lidar import open_sequence
from pcinv_data.lidar.argoverse2 import CLASSES
from pcinv_data.lidar.feather import read_feather

pytest.importorskip("pyarrow", reason="Argoverse 2 needs pyarrow: pip install 'pcinv[av2]'")


def share_near(points, target, near=0.1):
    return float((cKDTree(target).query(points, distance_upper_bound=near)[0] <= near).mean())


@pytest.mark.parametrize("place", ["", "val", "val/0a-log", "val/0a-log/sensors/lidar"])
def test_must_hold_6_float16_is_promoted_and_comes_back(tmp_path, place):
    write_argoverse(tmp_path, 3)
    scans = open_sequence(tmp_path / place)
    assert (scans.format, scans.name, len(scans)) == ("argoverse2", "0a-log", 3)
    for k, scan in enumerate(scans):
        assert scan.xyz.dtype == np.float32
        np.testing.assert_array_equal(scan.xyz, points(k).astype(np.float16).astype(np.float32))
        np.testing.assert_allclose(scan.intensity, np.arange(60) / 255, atol=1e-7)
        np.testing.assert_array_equal(scan.ring, np.arange(60))
        np.testing.assert_allclose(scan.time, np.arange(60) * 1e-3, atol=1e-9)
        assert scan.is_deskewed and scan.time.dtype == np.float32
    expected = drive(3)
    expected[:, :3, 3] += (5000, 2400, 60)
    np.testing.assert_allclose(scans.poses, expected, atol=1e-12)  # at exactly their stamps
    np.testing.assert_allclose(np.diff(scans.stamps), 0.1, atol=1e-6)


@pytest.mark.parametrize("kind, with_flow", [("log", [True, False, False]), ("sweep", [True] * 3),
                                             (None, [False] * 3)])
def test_must_hold_6_flow_of_a_log_and_of_each_sweep(tmp_path, kind, with_flow):
    write_argoverse(tmp_path, 3, kind)
    scans = open_sequence(tmp_path)
    assert [scan.flow is not None for scan in scans] == with_flow
    assert (scans.class_names == CLASSES) == any(with_flow)
    assert ("scene flow" in scans.missing) != any(with_flow)
    for k, scan in enumerate(scans):
        if scan.flow is not None:
            assert np.isnan(scan.flow[:5]).all()
            np.testing.assert_array_equal(scan.flow[5:], (points(100 + k) / 20)[5:])
            np.testing.assert_array_equal(scan.label, np.resize([-1, 18, 16], 60))
            np.testing.assert_array_equal(scan.is_ground, np.arange(60) % 2 == 0)
    assert CLASSES[18] == "REGULAR_VEHICLE" and CLASSES[16] == "PEDESTRIAN" and len(CLASSES) == 30


def test_flow_can_lie_in_a_folder_of_its_own(tmp_path):
    log = write_argoverse(tmp_path, 3, None)
    names = [file.name for file in sorted((log / "sensors/lidar").iterdir())]
    write_flow(tmp_path / "made/0a-log" / names[1], 1)
    scans = open_sequence(log, flow=tmp_path / "made")
    assert [scan.flow is not None for scan in scans] == [False, True, False]
    with pytest.raises(DatasetError, match="no flow of this log"):
        open_sequence(log, flow=tmp_path / "val")


def test_boxes_are_in_the_frame_of_their_sweep(tmp_path):
    log = write_argoverse(tmp_path, 3)
    write_boxes(log)
    boxes = [scan.boxes for scan in open_sequence(tmp_path)]
    assert [len(each) for each in boxes] == [2, 1, 0]
    np.testing.assert_allclose(boxes[0].centre, [[5, 1, 0.9], [9, -3, 1.5]])
    np.testing.assert_allclose(boxes[0].size, [[0.6, 0.5, 1.8], [11, 2.5, 3]])
    np.testing.assert_allclose(boxes[0].yaw, [0, 0.6], atol=1e-12)
    assert [CLASSES[k] for k in boxes[0].label] == ["PEDESTRIAN", "BUS"]
    assert boxes[0].instance[1] == boxes[1].instance[0] != boxes[0].instance[0]
    assert boxes[0].num_points.tolist() == [12, 80]


def test_a_sweep_without_a_pose_is_named(tmp_path):
    log = write_argoverse(tmp_path, 3)
    last = sorted((log / "sensors/lidar").iterdir())[-1]
    last.rename(last.with_name(f"{int(last.stem) + 1}.feather"))
    with pytest.raises(DatasetError, match=f"no ego pose at {int(last.stem) + 1}"):
        open_sequence(tmp_path)
    scans = open_sequence(tmp_path, on_error="skip")
    assert len(scans) == 2 and list(scans.skipped) == [f"{int(last.stem) + 1}"]
    (log / "city_SE3_egovehicle.feather").unlink()
    scans = open_sequence(tmp_path)
    assert scans.poses is None and len(scans) == 3 and scans[0].T_world_sensor is None
    assert "city_SE3_egovehicle.feather" in scans.missing


@pytest.mark.parametrize("damage, words", [
    (lambda data: data[:len(data) // 2], "pyarrow cannot read it"),
    (lambda data: data[:20], "pyarrow cannot read it"), (lambda data: b"", "empty"),
    (lambda data: b"FEA1" + data[4:], "not a feather file"),
    (lambda data: b"ARROW1\0\0" + b"\xff" * 200, "pyarrow cannot read it")])
def test_a_damaged_sweep_is_named(tmp_path, damage, words):
    log = write_argoverse(tmp_path, 2)
    file = sorted((log / "sensors/lidar").iterdir())[1]
    file.write_bytes(damage(file.read_bytes()))
    scans = open_sequence(tmp_path)
    with pytest.raises(FileFormatError, match=words) as caught:
        _ = scans[1]
    assert str(file) in caught.value.where and caught.value.hint and caught.value.exit_code == 3
    assert len(list(open_sequence(tmp_path, on_error="skip"))) == 1


def test_flipped_bytes_never_end_the_process(tmp_path):
    log = write_argoverse(tmp_path, 1)
    file = next((log / "sensors/lidar").iterdir())
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(8, len(data), 3):
            data[place] = rng.integers(256)
        file.write_bytes(bytes(data))
        try:
            columns = read_feather(file, ["x", "y", "z"])
        except PcinvError:
            continue
        assert {len(values) for values in columns.values()} <= {60}


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    file = tmp_path / "bomb.feather"
    write_feather(file, x=np.zeros(40_000_000))
    assert file.stat().st_size < 2_000_000
    with pytest.raises(FileFormatError, match="claim to unpack to"):
        read_feather(file, ["x"])


def test_lacking_columns_and_holes_are_told(tmp_path):
    import pyarrow

    log = write_argoverse(tmp_path, 1)
    file = next((log / "sensors/lidar").iterdir())
    write_feather(file, x=np.zeros(3), y=np.zeros(3))
    with pytest.raises(FileFormatError, match="no column z; there are x, y"):
        _ = open_sequence(tmp_path)[0]
    write_feather(file, x=np.zeros(2), y=np.zeros(2), z=pyarrow.array([1.0, None]))
    with pytest.raises(FileFormatError, match="1 rows have no z"):
        _ = open_sequence(tmp_path)[0]
    write_feather(file, x=np.zeros(2), y=np.zeros(2), z=[1.0, np.inf])
    with pytest.raises(PcinvError, match="1 of 2 points are not finite"):
        _ = open_sequence(tmp_path)[0]
    write_feather(file, x=np.zeros(0), y=np.zeros(0), z=np.zeros(0))
    with pytest.raises(PcinvError, match="no points"):
        _ = open_sequence(tmp_path)[0]


def test_flow_of_another_sweep_is_refused(tmp_path):
    log = write_argoverse(tmp_path, 1)
    file = log / "flow_labels.feather"
    move = np.zeros(59, np.float32)
    write_feather(file, flow_tx_m=move, flow_ty_m=move, flow_tz_m=move)
    with pytest.raises(FileFormatError, match="59 rows of flow for 60 points"):
        _ = open_sequence(tmp_path)[0]
    move = np.zeros(60, np.float32)
    write_feather(file, flow_tx_m=move, flow_ty_m=move, flow_tz_m=move,
                  classes=np.full(60, 31, np.uint8))
    with pytest.raises(FileFormatError, match="categories from 31 to 31"):
        _ = open_sequence(tmp_path)[0]


def test_unknown_categories_and_names_are_told(tmp_path):
    log = write_argoverse(tmp_path, 2)
    write_boxes(log)
    table = read_feather(log / "annotations.feather", ["category"])
    assert list(table["category"]) == ["PEDESTRIAN", "BUS", "BUS"]
    import pyarrow.feather

    whole = pyarrow.feather.read_table(log / "annotations.feather").to_pydict()
    write_feather(log / "annotations.feather", **{**whole, "category": ["TANK"] * 3})
    with pytest.raises(FileFormatError, match="category TANK is none of the 30"):
        open_sequence(tmp_path)
    (log / "annotations.feather").unlink()
    (log / "sensors/lidar/first.feather").write_bytes(b"1")
    with pytest.raises(DatasetError, match="not a stamp in nanoseconds"):
        open_sequence(tmp_path)


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    write_argoverse(tmp_path, 1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DependencyError, match="needs pyarrow") as caught:
        open_sequence(tmp_path)
    assert caught.value.exit_code == 4 and "pcinv[av2]" in caught.value.hint


def test_real_ego_poses_and_flow_bring_the_sweeps_together(real):
    """Poses align two sweeps, flow aligns them better, and neither is not."""
    scans = open_sequence(real("av2"))
    first, second = scans[0], scans[1]
    assert len(first) == 99_229 and len(second) == 99_466 and second.flow is None
    near = np.linalg.norm(first.xyz, axis=1) < 100
    between = np.linalg.inv(second.T_world_sensor) @ first.T_world_sensor
    by_pose = first.xyz @ between[:3, :3].T + between[:3, 3]
    without = share_near(first.xyz[near], second.xyz)
    posed = share_near(by_pose[near], second.xyz)
    flowed = share_near((first.xyz + first.flow)[near], second.xyz)
    assert without < 0.63 and posed > 0.76 and flowed > posed
    moving = np.linalg.norm(first.xyz + first.flow - by_pose, axis=1) > 0.2
    assert moving.sum() > 1000 and (first.label[moving] >= 0).mean() > 0.95
    target = second.xyz
    gained = share_near((first.xyz + first.flow)[moving], target) - share_near(by_pose[moving],
                                                                               target)
    assert gained > 0.2  # what moves is where its flow says, and not where the pose says
    assert 0.1 < first.is_ground.mean() < 0.25 and first.ring.max() == 63
