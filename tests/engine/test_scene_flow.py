"""`pcinv.flow`: two scans in, what moves out, with the sensor's own motion apart."""

from pathlib import Path

import numpy as np
import pytest
from helpers.street import Town, joined, traffic
from scipy.spatial.transform import Rotation

import pcinv
from pcinv.engine.flow import write_flow
from pcinv.errors import InputError, UnknownNameError, UsageError

OWN = np.eye(4)
OWN[:3, :3] = Rotation.from_euler("z", 2, degrees=True).as_matrix()
OWN[:3, 3] = 0.8, 0.05, 0.01


@pytest.fixture(scope="module")
def pair():
    """Two scans of the sheet's scene in a town, and the true flow of the first."""
    town = Town(length=60.0)
    poses = [np.eye(4), OWN]
    scans, truth = [], None
    for k, pose in enumerate(poses):
        points, flow, _ = joined(traffic(k))
        points = np.add(points, [0, 0, -1.6])
        around = town.scan(pose, k, 9000)
        back = np.linalg.inv(pose)
        local = points @ back[:3, :3].T + back[:3, 3]
        scans.append(pcinv.Scan(np.concatenate([around, local]).astype(np.float32), f"{k}",
                                T_world_sensor=pose, stamp=k / 10))
        if k == 0:
            truth = np.concatenate([np.zeros_like(around), flow])
    return scans, truth


def test_what_moves_and_what_the_sensor_does(pair):
    (first, second), truth = pair
    found = pcinv.flow(first, second)
    assert found.ego_from == "poses" and np.allclose(found.T_second_first, np.linalg.inv(OWN))
    moving = (np.linalg.norm(truth, axis=1) > 0.3) & ~found.is_ground  # not what lies on it
    assert np.linalg.norm((found.motion - truth)[moving], axis=1).mean() < 0.15
    still = np.linalg.norm(truth, axis=1) == 0
    assert np.linalg.norm((found.motion - truth)[still], axis=1).mean() < 0.02
    assert found.is_moving[moving].mean() > 0.9 and found.is_moving[still].mean() < 0.05
    assert np.allclose(found.flow[found.is_ground], found.rigid[found.is_ground])
    inverse = np.linalg.inv(OWN)
    assert np.allclose(found.rigid, first.xyz @ inverse[:3, :3].T + inverse[:3, 3] - first.xyz,
                       atol=1e-5)


def test_without_poses_the_scans_tell(pair):
    (first, second), _ = pair
    bare = [pcinv.Scan(scan.xyz, scan.name) for scan in (first, second)]
    found = pcinv.flow(*bare, method="ego")
    assert found.ego_from == "scans" and not found.is_moving.any()
    away = found.T_second_first @ OWN
    assert np.linalg.norm(away[:3, 3]) < 0.05
    assert found.scores is None


def test_the_labels_of_the_first_scan_are_scored(pair):
    (first, second), truth = pair
    inverse = np.linalg.inv(OWN)
    total = (first.xyz + truth) @ inverse[:3, :3].T + inverse[:3, 3] - first.xyz
    known = pcinv.Scan(first.xyz, "0", flow=total.astype(np.float32), T_world_sensor=np.eye(4),
                       stamp=0.0)
    found = pcinv.flow(known, second)
    assert set(found.scores) == {"floxels", "ego", "zero"}
    assert found.scores["floxels"]["epe"] < 0.5 * found.scores["ego"]["epe"]
    assert found.scores["ego"]["epe"] < found.scores["zero"]["epe"]


def test_files_of_a_sequence_bring_their_poses(pair, tmp_path):
    from pcinv.registration.trajectories import write_trajectory

    folder = tmp_path / "scans"
    folder.mkdir()
    for scan in pair[0]:
        np.save(folder / f"{scan.name}.npy", scan.xyz)
    files = [folder / "0.npy", folder / "1.npy"]
    assert pcinv.flow(*files, method="ego").ego_from == "scans"
    write_trajectory(folder / "poses.txt", np.stack([np.eye(4), OWN]))
    assert pcinv.flow(*files, method="ego").ego_from == "poses"
    with pytest.raises(UsageError, match="same"):
        pcinv.flow(files[0], files[0])


def test_it_is_written(pair, tmp_path):
    found = pcinv.flow(*pair[0], method="ego")
    write_flow(tmp_path / "f.npz", found)
    with np.load(tmp_path / "f.npz", allow_pickle=False) as arrays:
        assert np.allclose(arrays["flow"], found.flow, atol=1e-5)
        assert set(arrays) == {"points", "flow", "rigid", "moving", "ground", "cluster",
                               "T_second_first", "interval_s"}
    write_flow(tmp_path / "f.ply", found)
    cloud = pcinv.read(tmp_path / "f.ply")
    assert len(cloud) == len(found.flow) and {"speed", "moving", "cluster"} <= set(cloud.attributes)
    with pytest.raises(UsageError):
        write_flow(tmp_path / "f.npz", found)


def test_bad_input(pair):
    with pytest.raises(UnknownNameError, match="method"):
        pcinv.flow(*pair[0], method="floxel")
    empty = pcinv.Scan(pair[0][0].xyz[:20], "few", T_world_sensor=np.eye(4))
    with pytest.raises(InputError):
        pcinv.flow(empty, pair[0][1])
    strange = pcinv.Scan(pair[0][1].xyz + np.float32([0, 0, 300]), "far")
    with pytest.raises(InputError):
        pcinv.flow(pcinv.Scan(pair[0][0].xyz, "0"), strange)


AV2 = Path(__file__).parents[3] / "shared/data/av2"


@pytest.mark.skipif(not AV2.is_dir(), reason=f"no real sweeps at {AV2}")
def test_real_sweeps():
    pytest.importorskip("pyarrow", reason="the sweeps are feather files: pip install 'pcinv[av2]'")
    files = sorted(AV2.rglob("lidar/*.feather"))
    found = pcinv.flow(*files)
    dynamic = {name: row["epe_foreground_dynamic"] for name, row in found.scores.items()}
    assert dynamic["floxels"] < 0.5 * dynamic["ego"]
    assert found.scores["floxels"]["three_way_epe"] < 0.5 * found.scores["ego"]["three_way_epe"]
