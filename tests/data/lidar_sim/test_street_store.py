"""Streets on disk: SemanticKITTI's layout, read as they were made, resumed, damage named."""

import json

import numpy as np
import pytest

import pcinv
from pcinv.errors import DatasetError, InputError, UsageError
from pcinv_data import describe_dataset, make_dataset, verify_dataset
from pcinv_data.lidar import open_sequence, semantickitti
from pcinv_data.lidar.kitti import read_calibration
from pcinv_data.lidar_sim import CLASS_NAMES, lidar_sim, store
from pcinv_data.lidar_sim.classes import RAW, RAW_MOVING
from pcinv_data.lidar_sim.store import make_lidar_sim

SMALL = {"beams": 16, "columns": 128, "seed": 3}
FIELDS = ("name", "xyz", "intensity", "time", "ring", "label", "instance", "flow", "is_ground",
          "stamp", "is_deskewed")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streets") / "one"
    told = make_lidar_sim(folder, scans=4, **SMALL)
    assert told["num_made"] == told["num_scans"] == 4
    return folder


def same(a, b):
    for name in FIELDS:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
        assert getattr(getattr(a, name), "dtype", 0) == getattr(getattr(b, name), "dtype", 0), name
    for name in a.boxes.__dataclass_fields__:
        assert np.array_equal(getattr(a.boxes, name), getattr(b.boxes, name)), name
    assert np.allclose(a.T_world_sensor, b.T_world_sensor, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rolling", [False, True])
def test_what_is_read_is_what_was_made(made, tmp_path, rolling):
    folder = made
    if rolling:
        folder = tmp_path / "rolling"
        make_lidar_sim(folder, scans=4, rolling=True, **SMALL)
    found = pcinv.open_sequence(folder)
    assert found.format == "lidar_sim" and not found.missing and not found.notes
    assert tuple(found.class_names) == CLASS_NAMES
    for a, b in zip(found, lidar_sim(4, rolling=rolling, **SMALL), strict=True):
        same(a, b)


def test_readers_of_semantickitti_read_it(made):
    found = open_sequence(made, "semantickitti")
    for a, b in zip(found, lidar_sim(4, **SMALL), strict=True):
        assert np.array_equal(a.label, b.label) and np.array_equal(a.instance, b.instance)
    raw, _ = semantickitti.read_labels(made / "sequences/00/labels/000002.label")
    assert set(raw) & set(RAW_MOVING.values()) and set(raw) & set(RAW)
    assert set(raw) <= set(semantickitti.TRAIN_OF_RAW)
    assert open_sequence(made, "kitti")[0].intensity.max() <= 1
    T = read_calibration(made / "sequences/00/calib.txt")
    assert np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() < 1e-15
    assert (T[:3, :3] @ [1, 0, 0])[2] > 0.99  # ahead is along the view of the camera


def test_classes_are_those_of_semantickitti():
    assert CLASS_NAMES == semantickitti.CLASSES == tuple(describe_dataset("lidar_sim")["classes"])
    raw = np.array(RAW)
    assert np.array_equal(semantickitti.train_ids(raw), np.arange(1, 20))
    assert np.array_equal(semantickitti.train_ids(np.array(list(RAW_MOVING.values()))) - 1,
                          list(RAW_MOVING))


def test_an_interrupted_street_goes_on(made, tmp_path, monkeypatch):
    write, count = store.write_scan, 0

    def stops(folder, name, scan):
        nonlocal count
        count += 1
        if count == 3:
            (folder / "velodyne" / f"{name}.bin").write_bytes(b"half of it")
            raise KeyboardInterrupt
        write(folder, name, scan)

    monkeypatch.setattr(store, "write_scan", stops)
    with pytest.raises(KeyboardInterrupt):
        make_lidar_sim(tmp_path / "two", scans=4, **SMALL)
    monkeypatch.setattr(store, "write_scan", write)
    seen = []
    told = make_lidar_sim(tmp_path / "two", scans=4, progress=lambda *at: seen.append(at), **SMALL)
    assert told["num_made"] == 2 and seen[-1] == (4, 4)
    files = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "two") for p in (tmp_path / "two").rglob("*")
                           if p.is_file())
    for file in files:
        assert (made / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_longer_and_other_streets(tmp_path):
    make_lidar_sim(tmp_path / "a", scans=1, **SMALL)
    assert make_lidar_sim(tmp_path / "a", scans=2, **SMALL)["num_made"] == 1
    assert len(open_sequence(tmp_path / "a")) == 2
    for other in ({"scans": 1}, {"scans": 2, "seed": 4}):
        with pytest.raises(UsageError, match="another street"):
            make_lidar_sim(tmp_path / "a", **{**SMALL, **other})
    make_lidar_sim(tmp_path / "a", force=True, scans=1, **SMALL)
    assert len(open_sequence(tmp_path / "a")) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    for force in (False, True):
        with pytest.raises(UsageError, match="something else"):
            make_lidar_sim(tmp_path / "mine", scans=1, force=force, **SMALL)


def test_make_dataset_writes_streets(tmp_path):
    told = make_dataset("lidar_sim", tmp_path / "b", scans=1, beams=16)
    assert told["num_scans"] == 1
    assert json.loads((tmp_path / "b/generated.json").read_text())["beams"] == 16
    report = verify_dataset("lidar_sim", tmp_path / "b")
    assert report.ok and report.counts == {"sequences": 1, "scans": 1}
    with pytest.raises(InputError, match="beams"):
        make_dataset("lidar_sim", tmp_path / "c", scans=1, beams=20)


@pytest.mark.parametrize("file, data, says", [
    ("flow/000000.npz", b"PK broken", "000000.npz"), ("boxes/000000.csv", b"a,b\n", "first line"),
    ("boxes/000000.csv", None, "no boxes"), ("labels/000000.label", b"123", "3 bytes"),
    ("boxes/000000.csv", b"class,instance,x,y,z,length,width,height,yaw,vx,vy,num_points\ncar,1\n",
     "no box")])
def test_damage_is_named(tmp_path, file, data, says):
    make_lidar_sim(tmp_path, scans=1, **SMALL)
    path = tmp_path / "sequences/00" / file
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    with pytest.raises((InputError, DatasetError), match=says):
        open_sequence(tmp_path)[0]
    assert not verify_dataset("lidar_sim", tmp_path).ok
