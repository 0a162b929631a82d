"""Files of poses: KITTI's 12 numbers and TUM's 8."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcinv.errors import FileFormatError, ShapeError, UnknownNameError, UsageError
from pcinv.registration.trajectories import (
    nearest_rotations,
    poses_of,
    read_trajectory,
    trajectory_text,
    write_trajectory,
)

HALF_TURNS = [[np.pi, 0, 0], [0, np.pi, 0], [0, 0, np.pi], [0, 0, 0], [1e-9, 0, 0]]


def poses(count=60, seed=0, far=1e4):
    """Poses in any direction, half turns among them, far from zero."""
    rng = np.random.default_rng(seed)
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    T[:5, :3, :3] = Rotation.from_rotvec(HALF_TURNS[:count]).as_matrix()
    T[:, :3, 3] = rng.normal(size=(count, 3)) * far
    return T


@pytest.mark.parametrize("format", ["kitti", "tum"])
def test_poses_come_back_to_1e_9(tmp_path, format):
    T, stamps = poses(), 1.5e9 + np.arange(60) * 0.1
    write_trajectory(tmp_path / "p.txt", T, stamps, format=format)
    for told in (None, format):
        found = read_trajectory(tmp_path / "p.txt", told)
        assert np.abs(found.poses - T).max() < 1e-9
        if format == "tum":
            np.testing.assert_array_equal(found.stamps, stamps)
        else:
            assert found.stamps is None
    again = trajectory_text(found.poses, found.stamps, format)
    assert np.abs(np.loadtxt(again.splitlines()) - np.loadtxt(tmp_path / "p.txt")).max() < 1e-9


def test_it_is_what_numpy_reads(tmp_path):
    T = poses(3)
    write_trajectory(tmp_path / "p.txt", T)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "p.txt").reshape(3, 3, 4), T[:, :3])
    write_trajectory(tmp_path / "t.txt", T, np.arange(3.0), format="tum")
    rows = np.loadtxt(tmp_path / "t.txt")
    np.testing.assert_array_equal(rows[:, 1:4], T[:, :3, 3])
    np.testing.assert_allclose(Rotation.from_quat(rows[:, 4:]).as_matrix(), T[:, :3, :3],
                               atol=1e-12)


def test_poses_of_few_digits_become_rotations(tmp_path):
    T = poses(20, far=10)
    np.savetxt(tmp_path / "p.txt", T[:, :3].reshape(-1, 12), fmt="%.4f")
    found = read_trajectory(tmp_path / "p.txt").poses
    R = found[:, :3, :3]
    assert np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12
    assert np.abs(found - T).max() < 2e-4 and (np.linalg.det(R) > 0).all()
    assert np.abs(nearest_rotations(R) - R).max() < 1e-12


def test_quaternions_of_any_length_and_sign():
    q = np.random.default_rng(0).normal(size=(50, 4))
    R = poses_of(q, np.zeros((50, 3)))[:, :3, :3]
    np.testing.assert_allclose(R, Rotation.from_quat(q[:, [1, 2, 3, 0]]).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(poses_of(-3 * q, np.zeros((50, 3)))[:, :3, :3], R, atol=1e-12)


def test_comments_and_blank_lines_do_not_count(tmp_path):
    (tmp_path / "p.txt").write_text("# stamp x y z qx qy qz qw\n\n1 0 0 0 0 0 0 1\n"
                                    "2,1,0,0,0,0,0,1 # turned\n")
    found = read_trajectory(tmp_path / "p.txt")
    assert found.stamps.tolist() == [1, 2] and found.poses[1, 0, 3] == 1


@pytest.mark.parametrize("text, line, words", [
    ("1 2 3\n", ":1", "3 numbers in a line"), ("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0\n", ":2", "4 num"),
    ("1 0 0 0 0 1 0 0 0 0 -1 0\n", ":1", "not a rotation"),
    ("2 0 0 0 0 2 0 0 0 0 2 0\n", ":1", "not a rotation"),
    ("# x\n1 0 0 0 0 1 0 0 0 0 inf 0\n", ":2", "not finite"),
    ("1 0 0 0 0 0 0 0\n", ":1", "quaternion has length 0"),
    ("1 0 0 0 0 0 0 1\n2 0 0 0 0 0 0 2\n", ":2", "quaternion has length 2"),
    ("1 0 0 0 0 0 0 east\n", ":1", "no number: 'east'"), ("# nothing\n", "", "no numbers"),
    ("", "", "empty")])
def test_what_is_no_pose_is_named_with_its_line(tmp_path, text, line, words):
    file = tmp_path / "p.txt"
    file.write_text(text)
    with pytest.raises(FileFormatError, match=words) as caught:
        read_trajectory(file)
    assert caught.value.where == f"{file}{line}" and caught.value.hint


def test_bytes_and_formats_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "p.bin").write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(FileFormatError, match="no text"):
        read_trajectory(tmp_path / "p.bin")
    (tmp_path / "p.txt").write_text("1 0 0 0 0 0 0 1\n")
    with pytest.raises(FileFormatError, match="8 numbers in a line, expected 12"):
        read_trajectory(tmp_path / "p.txt", "kitti")
    with pytest.raises(UnknownNameError, match="did you mean tum"):
        read_trajectory(tmp_path / "p.txt", "tumm")
    with pytest.raises(UsageError, match="needs stamps"):
        trajectory_text(poses(2), format="tum")
    with pytest.raises(ShapeError):
        trajectory_text(poses(2), np.zeros(3), "tum")
    with pytest.raises(ShapeError):
        trajectory_text(np.eye(4))


def test_nothing_is_overwritten_unasked(tmp_path):
    write_trajectory(tmp_path / "p.txt", poses(2))
    with pytest.raises(UsageError, match="exists already"):
        write_trajectory(tmp_path / "p.txt", poses(3))
    write_trajectory(tmp_path / "p.txt", poses(3), force=True)
    assert len(read_trajectory(tmp_path / "p.txt").poses) == 3
