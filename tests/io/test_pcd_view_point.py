"""VIEWPOINT of PCD files: kept where it says something, in absolute coordinates, written back."""

import numpy as np
import pytest
from builders import full_cloud, pcd_bytes, told

from pcinv.io import describe, read, write
from pcinv.registration.moved import moved
from pcinv.types import PointCloud

DEFAULT = b"VIEWPOINT 0 0 0 1 0 0 0"
POINTS = np.array([[1, 2, 3], [4, 5, 6]], "<f4")


def save(tmp_path, line, points=POINTS):
    content = pcd_bytes("x y z", "4 4 4", "F F F", "1 1 1", len(points), "binary", points.tobytes())
    assert DEFAULT in content
    (tmp_path / "a.pcd").write_bytes(content.replace(DEFAULT + b"\n", line.encode()))
    return tmp_path / "a.pcd"


@pytest.mark.parametrize("line", [
    "VIEWPOINT 0 0 0 1 0 0 0\n", "VIEWPOINT 0.0 -0.0 0 1.0 0 0 0\n", "VIEWPOINT 0 0 0 0 0 0 0\n",
    "", "VIEWPOINT 0 0 0 2 0 0 0\n"])
def test_the_default_says_nothing(tmp_path, line):
    with told():
        assert read(save(tmp_path, line)).view_point is None


@pytest.mark.parametrize("turn", ["1 0 0 0", "-1 0 0 0", "0 0 0 0", "0.9999999 0 1e-8 0"])
def test_a_place_is_kept_and_the_points_stay(tmp_path, turn):
    with told():
        cloud = read(save(tmp_path, f"VIEWPOINT 10 -2.5 1e1 {turn}\n"))
    assert cloud.view_point.dtype == np.float64 and cloud.view_point.tolist() == [10, -2.5, 10]
    assert np.array_equal(cloud.absolute(), POINTS)


def test_an_orientation_is_told_and_moves_no_point(tmp_path):
    with told("orientation; the points are taken as they stand, and seen from 1 2 3"):
        cloud = read(save(tmp_path, "VIEWPOINT 1 2 3 0.5 0.5 0.5 0.5\n"))
    assert cloud.view_point.tolist() == [1, 2, 3] and np.array_equal(cloud.absolute(), POINTS)
    with told("orientation"):  # whoever turns the sensor knows where it is
        assert read(save(tmp_path, "VIEWPOINT 0 0 0 0 1 0 0\n")).view_point.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "words", ["1 2 3", "1 2 3 1 0 0 nan", "1 2 3 one 0 0 0", "", "inf 0 0 1 0 0 0"])
def test_what_is_no_pose_is_told_and_not_used(tmp_path, words):
    with told("seven numbers expected"):
        cloud = read(save(tmp_path, f"VIEWPOINT {words}\n"))
    assert cloud.view_point is None and len(cloud) == 2


@pytest.mark.parametrize(
    "place", [(1.5, -2.0, 1e-9), (0.0, 0.0, 0.0), (5e6 + 0.123456789, 1 / 3, 7)])
def test_it_comes_back_to_the_last_bit(tmp_path, place):
    cloud = full_cloud(origin=(5e6, 0, 0))
    seen = PointCloud(cloud.xyz, cloud.origin, cloud.attributes, np.array(place))
    with told():
        write(tmp_path / "b.pcd", seen)
        back = read(tmp_path / "b.pcd")
    assert back.view_point.tolist() == list(place)
    assert np.abs(back.absolute() - cloud.absolute()).max() < 1e-6  # the origin moves neither
    assert describe(tmp_path / "b.pcd")["view_point"] == list(place)
    with told():
        write(tmp_path / "c.pcd", cloud)
    assert DEFAULT + b"\n" in (tmp_path / "c.pcd").read_bytes()
    assert describe(tmp_path / "c.pcd")["view_point"] is None


def test_points_that_are_dropped_leave_it(tmp_path):
    with told("1 of 2 points are not finite"):
        points = np.array([[1, 2, 3], [np.nan, 0, 0]], "<f4")
        cloud = read(save(tmp_path, "VIEWPOINT 1 2 3 1 0 0 0\n", points))
    assert cloud.view_point.tolist() == [1, 2, 3] and len(cloud) == 1


@pytest.mark.parametrize("name", ["ply", "npz", "xyz"])
def test_other_formats_say_that_they_lose_it(tmp_path, name):
    cloud = PointCloud(POINTS, view_point=np.ones(3))
    with told("does not keep view_point"):
        write(tmp_path / f"a.{name}", cloud)
    assert read(tmp_path / f"a.{name}").view_point is None


def test_it_moves_with_the_cloud():
    pose = np.array([[0, -1.0, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    normal = np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float32)
    cloud = PointCloud(POINTS, np.array([1e6, 0, 0]), {"normal": normal}, np.array([1e6 + 1, 2, 3]))
    there = moved(cloud, pose)
    assert there.view_point.tolist() == [-1, 1e6 + 3, 6]
    pose[:3, :3] *= 2.5
    larger = moved(cloud, pose)
    assert np.allclose(larger.view_point, [-4, 2.5 * (1e6 + 1) + 2, 10.5], rtol=0, atol=1e-9)
    expected = cloud.absolute() @ pose[:3, :3].T + pose[:3, 3]
    assert np.abs(larger.absolute() - expected).max() < 1e-5
    assert np.abs(larger.normal - there.normal).max() < 1e-6  # of unit length at any scale
    assert moved(PointCloud(POINTS), pose).view_point is None
