"""Errors of trajectories against hand-made ones."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcinv.errors import ShapeError
from pcinv.metrics.trajectory import absolute_error, drift, path_lengths, step_errors


def poses(count=1000, step=1.0, yaw_deg=0.0, scale=1.0):
    """A drive: `step` metres a scan, turning by `yaw_deg` each."""
    found = np.eye(4)[None].repeat(count, 0)
    one = np.eye(4)
    one[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    one[0, 3] = step * scale
    for k in range(1, count):
        found[k] = found[k - 1] @ one
    return found


def random_motion(seed=0):
    rng = np.random.default_rng(seed)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    motion[:3, 3] = rng.normal(size=3) * 30
    return motion


def official(estimated, truth):
    """The development kit as it is written: segment by segment, arccosine of the trace."""
    path = [0.0]
    for a, b in pairwise(truth):
        path.append(path[-1] + np.linalg.norm(b[:3, 3] - a[:3, 3]))
    rows = []
    for first in range(0, len(truth), 10):
        for length in range(100, 900, 100):
            last = next((k for k in range(first, len(truth))
                         if path[k] > path[first] + length), None)
            if last is None:
                continue
            true = np.linalg.inv(truth[first]) @ truth[last]
            said = np.linalg.inv(estimated[first]) @ estimated[last]
            error = np.linalg.inv(said) @ true
            angle = np.arccos(np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1))
            rows.append((np.linalg.norm(error[:3, 3]) / length, angle / length))
    t, r = np.mean(rows, axis=0)
    return t * 100, np.degrees(r) * 100, len(rows)


class TestDrift:
    def test_09_identical_trajectories(self):
        found = drift(poses(yaw_deg=0.3), poses(yaw_deg=0.3))
        assert found.t_rel_percent == pytest.approx(0, abs=1e-9)
        assert found.r_rel_deg_per_100m == pytest.approx(0, abs=1e-9)

    def test_09_one_per_cent_of_scale(self):
        found = drift(poses(scale=1.01), poses())
        assert found.t_rel_percent == pytest.approx(1.0, abs=0.02)
        assert found.r_rel_deg_per_100m == pytest.approx(0, abs=1e-9)

    def test_09_a_constant_drift_of_yaw(self):
        found = drift(poses(yaw_deg=0.01), poses())
        assert found.r_rel_deg_per_100m == pytest.approx(1.0, rel=0.02)  # 0.01 degrees a metre

    def test_09_a_short_path_has_none(self):
        found = drift(poses(99), poses(99))
        assert (found.t_rel_percent, found.r_rel_deg_per_100m, found.num_segments) == (None, None,
                                                                                      0)

    @pytest.mark.parametrize("seed", range(3))
    def test_as_the_development_kit(self, seed):
        rng = np.random.default_rng(seed)
        truth = poses(700, 1.3, 0.4)
        noise = np.eye(4)[None].repeat(700, 0)
        noise[:, :3, :3] = Rotation.from_rotvec(rng.normal(size=(700, 3)) * 0.01).as_matrix()
        noise[:, :3, 3] = rng.normal(size=(700, 3)) * 0.2
        t, r, count = official(truth @ noise, truth)
        found = drift(truth @ noise, truth)
        assert found.num_segments == count
        assert found.t_rel_percent == pytest.approx(t) and found.r_rel_deg_per_100m == (
            pytest.approx(r))
        assert sum(row[2] for row in found.by_length.values()) == count

    def test_a_motion_of_the_whole_does_not_matter(self):
        truth = poses(400, yaw_deg=0.3)
        assert drift(random_motion() @ truth, truth).t_rel_percent == pytest.approx(0, abs=1e-8)


class TestOthers:
    def test_steps(self):
        truth, estimated = poses(20, yaw_deg=1), poses(20, yaw_deg=1.5, scale=1.1)
        metres, degrees = step_errors(random_motion() @ estimated, truth)
        assert metres == pytest.approx(np.full(19, 0.1)) and degrees == pytest.approx(
            np.full(19, 0.5))

    def test_path(self):
        assert path_lengths(poses(5, 2.0, 30.0)) == pytest.approx([0, 2, 4, 6, 8])

    @pytest.mark.parametrize("yaw_deg", [0.0, 2.0])
    def test_the_absolute_error_knows_no_frame(self, yaw_deg):
        truth = poses(100, yaw_deg=yaw_deg)
        metres, degrees = absolute_error(random_motion(4) @ truth, truth)
        assert metres == pytest.approx(0, abs=1e-9) and degrees == pytest.approx(0, abs=1e-6)

    def test_the_absolute_error_of_noise(self):
        truth = poses(300, yaw_deg=1.0)
        rng = np.random.default_rng(1)
        moved = truth.copy()
        moved[:, :3, 3] += rng.normal(size=(300, 3)) * 0.1
        metres, _ = absolute_error(random_motion(2) @ moved, truth)
        assert metres == pytest.approx(0.1 * 3**0.5, rel=0.1)

    @pytest.mark.parametrize("function", [drift, step_errors, absolute_error])
    def test_as_many_poses(self, function):
        with pytest.raises(ShapeError):
            function(poses(5), poses(6))
        with pytest.raises(ShapeError):
            function(poses(5)[:, :3], poses(5))
