"""Odometry: on a town that is known, on real scans, and where it cannot work."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.street import Town, drive
from scipy.spatial.transform import Rotation

from pcinv.errors import InputError
from pcinv.geometry.rigid import se3_exp, se3_log
from pcinv.metrics.trajectory import absolute_error, drift, step_errors
from pcinv.registration.odometry import Odometer, OdometryOptions, deskew, open_direction

ONE = OdometryOptions(threads=1)


@pytest.fixture(scope="module")
def town():
    return Town()


def follow(town, poses, count=6000):
    odometer = Odometer(ONE)
    return [odometer.add(town.scan(pose, k, count)) for k, pose in enumerate(poses)]


def test_11_it_drifts_by_less_than_one_per_cent(town):
    truth = drive(130)
    steps = follow(town, truth)
    found = np.stack([step.T_world_sensor for step in steps])
    assert drift(found, truth).t_rel_percent < 1.0
    assert absolute_error(found, truth)[0] < 0.5
    assert {step.found_by for step in steps} == {"start", "map"}
    assert min(step.matched for step in steps) > 0.25


def test_11_the_same_scans_give_the_same_path(town):
    truth = drive(12)
    first, second = (np.stack([s.T_world_sensor for s in follow(town, truth)]) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_threshold_learns(town):
    steps = follow(town, drive(25))
    assert steps[-1].threshold < steps[1].threshold == 6.0  # 3 sigma of 2 m at first


def test_going_on_is_as_going_through(town):
    truth = drive(30)
    whole = follow(town, truth)
    odometer = Odometer(ONE)
    for k in range(20):
        odometer.replay(town.scan(truth[k], k), whole[k].T_world_sensor)
    for k in range(20, 30):
        step = odometer.add(town.scan(truth[k], k))
        metres = np.linalg.norm(step.T_world_sensor[:3, 3] - whole[k].T_world_sensor[:3, 3])
        assert metres < 5e-3


def turned(degrees):
    return Rotation.from_euler("z", degrees, degrees=True).as_matrix()


@pytest.mark.parametrize("degrees", [45, 100, 180])
def test_a_turned_scan_is_not_taken_for_one_that_fits(town, degrees):
    odometer = Odometer(ONE)
    truth = drive(4)
    for k in range(3):
        odometer.add(town.scan(truth[k], k))
    step = odometer.add(town.scan(truth[3], 3) @ turned(degrees))
    assert step.found_by in ("register", "lost")  # the ground alone fits in any direction


def test_what_fits_nowhere_is_lost(town):
    odometer = Odometer(ONE)
    odometer.add(town.scan(np.eye(4), 0))
    noise = np.random.default_rng(0).uniform((-40, -40, 20), (40, 40, 100), (4000, 3))
    step = odometer.add(noise)
    assert step.found_by == "lost" and step.matched < 0.1
    assert np.array_equal(step.T_world_sensor, np.eye(4))  # expected: it stands still


def test_bare_walls_leave_the_way_open():
    bare = Town(bare=True)
    steps = follow(bare, drive(4, yaw_deg=0.0), 15_000)
    assert [step.open_direction is None for step in steps] == [True, False, False, False]
    assert abs(steps[-1].open_direction[0]) > 0.95  # along the street
    assert all(step.open_direction is None for step in follow(Town(), drive(4), 15_000)[1:])


def test_an_open_direction_by_hand():
    information = np.diag([5.0, 5, 5, 1e-4, 2, 3])
    assert open_direction(information) == pytest.approx([1, 0, 0])
    assert open_direction(np.diag([5.0, 5, 5, 1, 2, 3])) is None
    coupled = np.eye(6)
    coupled[0, 4] = coupled[4, 0] = 1.0  # a turn about x undoes a shift along y
    assert abs(open_direction(coupled)[1]) == pytest.approx(1)


class TestDeskew:
    RATE = torch.tensor([1.2, 0.1, 0.0, 0.0, 0.0, 0.2], dtype=torch.float64)

    def test_it_undoes_the_motion_within_a_scan(self):
        rng = np.random.default_rng(0)
        world = rng.normal(size=(500, 3)) * 20
        time = rng.uniform(-1, 0, 500)
        poses = se3_exp(torch.from_numpy(time)[:, None] * self.RATE).numpy()
        seen = np.stack([np.linalg.inv(T)[:3] @ [*p, 1] for T, p in zip(poses, world, strict=True)])
        moved = se3_exp(self.RATE).numpy()
        assert np.abs(deskew(seen, time, moved) - world).max() < 1e-3
        assert np.abs(seen - world).max() > 0.5  # without it

    def test_no_motion_changes_nothing(self):
        xyz = np.random.default_rng(0).normal(size=(50, 3))
        assert deskew(xyz, np.linspace(-1, 0, 50), np.eye(4)) == pytest.approx(xyz, abs=1e-12)
        assert deskew(xyz, np.zeros(50), se3_exp(self.RATE).numpy()) == pytest.approx(xyz)

    def test_the_twist_is_that_of_the_pose(self):
        assert se3_log(se3_exp(self.RATE)) == pytest.approx(self.RATE)


def test_a_rolling_scan_is_taken_as_it_was(town):
    """Points that carry times, of a sensor that drives on while it turns."""
    truth = drive(6, step=1.2)
    scans = []
    for k, pose in enumerate(truth):
        xyz = town.scan(pose, k, 12_000)
        time = np.arctan2(xyz[:, 1], xyz[:, 0]) / (20 * np.pi)  # -0.05 to 0.05 s about the stamp
        moved = np.linalg.inv(truth[max(k - 1, 0)]) @ truth[max(k, 1)]
        rate = se3_log(torch.from_numpy(moved))
        own = se3_exp(torch.from_numpy(time / 0.1)[:, None] * rate).numpy()
        back = np.linalg.inv(own)
        scans.append((np.einsum("nij,nj->ni", back[:, :3, :3], xyz) + back[:, :3, 3], time))
    found = {}
    for deskewed in (True, False):
        odometer = Odometer(OdometryOptions(threads=1, deskew=deskewed))
        poses = np.stack([odometer.add(xyz, time).T_world_sensor for xyz, time in scans])
        found[deskewed] = step_errors(poses, truth)[0].max()
    assert found[True] < 0.05 and found[True] < found[False]


def test_too_few_points():
    with pytest.raises(InputError, match="places between"):
        Odometer(ONE).add(np.zeros((5000, 3)))


KITTI = Path(__file__).parents[3] / "shared/data/KITTI-odometry"


real = pytest.mark.skipif(not KITTI.is_dir(), reason=f"no real scans at {KITTI}")


@real
def test_a_jump_is_found():
    import pcinv

    scans = pcinv.open_sequence(KITTI / "sequences/00")
    odometer = Odometer(ONE)
    first = odometer.add(scans[0].xyz)
    step = odometer.add(scans[1].xyz @ turned(100))
    assert first.found_by == "start" and step.found_by == "register"
    between = np.linalg.inv(scans.poses[0]) @ scans.poses[1]
    between[:3, :3] = between[:3, :3] @ turned(100)
    metres, degrees = step_errors(np.stack([np.eye(4), step.T_world_sensor]),
                                  np.stack([np.eye(4), between]))
    assert metres[0] < 0.1 and degrees[0] < 0.2


@real
def test_real_scans():
    import pcinv

    found = pcinv.odometry(KITTI / "sequences/00")
    assert len(found.poses) == 4 and not found.lost
    assert found.against_truth["step_m"] < 0.02
    assert found.against_truth["step_deg"] < 0.06
