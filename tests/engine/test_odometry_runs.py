"""`pcinv.odometry`: a folder in, poses out, whatever stops it on the way."""

import json

import numpy as np
import pytest
from helpers.street import Town, drive

import pcinv
from pcinv.engine import odometry as module
from pcinv.errors import DatasetError, Interrupted, UsageError
from pcinv.registration.odometry import OdometryOptions
from pcinv.registration.trajectories import read_trajectory, write_trajectory

ONE = OdometryOptions(threads=1)
COUNT = 12


@pytest.fixture(scope="module")
def town():
    return Town(length=60.0)


@pytest.fixture
def folder(tmp_path, town):
    """A folder of scans with true poses beside them."""
    poses = drive(COUNT)
    root = tmp_path / "scans"
    root.mkdir()
    for k, pose in enumerate(poses):
        xyz = town.scan(pose, k, 12_000).astype(np.float32)
        np.save(root / f"{k:06d}.npy", xyz)
    write_trajectory(root / "poses.txt", poses)
    return root


def test_a_folder_becomes_a_file_of_poses(folder, tmp_path):
    seen = []
    found = pcinv.odometry(folder, output=tmp_path / "p.txt", options=ONE,
                           callback=lambda done, total, step: seen.append((done, total)))
    assert seen == [(k + 1, COUNT) for k in range(COUNT)]
    assert np.allclose(read_trajectory(found.poses_file).poses, found.poses)
    assert found.names == [f"{k:06d}" for k in range(COUNT)] and not found.lost
    assert found.against_truth["step_m"] < 0.1 and found.against_truth["t_rel_percent"] is None
    assert found.path_length == pytest.approx(COUNT - 1, rel=0.02)
    assert not (tmp_path / "p.txt.part").exists()


def test_a_stopped_run_goes_on(folder, tmp_path, monkeypatch):
    whole = pcinv.odometry(folder, options=ONE)

    def stop(done, total, step):
        if done == 7:
            request.requested = True

    made, request = module.StopRequest.__init__, None

    def keep(self):
        nonlocal request
        made(self)
        request = self

    monkeypatch.setattr(module.StopRequest, "__init__", keep)
    out = tmp_path / "p.txt"
    with pytest.raises(Interrupted):
        pcinv.odometry(folder, output=out, options=ONE, callback=stop)
    lines = (tmp_path / "p.txt.part").read_text().splitlines()
    assert len(lines) == 1 + 7 and not out.exists()
    (tmp_path / "p.txt.part").write_text("\n".join(lines) + '\n{"index": 7, "na')  # cut off
    seen = []
    again = pcinv.odometry(folder, output=out, options=ONE,
                           callback=lambda done, *_: seen.append(done))
    assert seen == list(range(8, COUNT + 1))
    assert np.abs(again.poses - whole.poses).max() < 5e-3


def test_what_was_begun_with_other_options_is_refused(folder, tmp_path):
    part = tmp_path / "p.txt.part"
    part.write_text(json.dumps({"sequence": "elsewhere"}) + "\n")
    with pytest.raises(UsageError, match="another sequence"):
        pcinv.odometry(folder, output=tmp_path / "p.txt", options=ONE)


def test_an_output_that_is_there_stays(folder, tmp_path):
    (tmp_path / "p.txt").write_text("mine")
    with pytest.raises(UsageError):
        pcinv.odometry(folder, output=tmp_path / "p.txt", options=ONE)
    assert (tmp_path / "p.txt").read_text() == "mine"


def test_a_damaged_scan_is_left_out_and_named(folder):
    (folder / "000004.npy").write_bytes(b"\x93NUMPY broken")
    np.save(folder / "000006.npy", np.zeros((0, 3), np.float32))
    found = pcinv.odometry(folder, options=ONE)
    assert set(found.skipped) == {"000004", "000006"} and len(found.poses) == COUNT - 2
    assert found.against_truth["step_m"] < 0.1


def test_tum_needs_stamps_and_says_so_first(folder, tmp_path):
    with pytest.raises(UsageError, match="stamps"):
        pcinv.odometry(folder, output=tmp_path / "p.tum", write_as="tum", options=ONE)
    (folder / "times.txt").write_text("".join(f"{k / 10}\n" for k in range(COUNT)))
    found = pcinv.odometry(folder, output=tmp_path / "p.tum", write_as="tum", options=ONE, limit=4)
    assert read_trajectory(found.poses_file).stamps.tolist() == [0, 0.1, 0.2, 0.3]


def test_no_scans(tmp_path):
    with pytest.raises(DatasetError):
        pcinv.odometry(tmp_path, options=ONE)
