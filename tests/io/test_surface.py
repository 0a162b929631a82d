"""Sampling of surfaces."""

import numpy as np
import pytest
from builders import cube
from scipy import stats

from pcinv.errors import InputError, LimitError
from pcinv.io import sample_surface
from pcinv.types import Mesh


def test_points_lie_on_the_faces_with_their_normals():
    cloud = sample_surface(cube(), 500, 0)
    axis = np.abs(cloud.normal).argmax(1)
    side = (cloud.normal[np.arange(500), axis] > 0).astype(float)
    np.testing.assert_allclose(cloud.xyz[np.arange(500), axis], side, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(cloud.normal, axis=1), 1, atol=1e-6)
    assert cloud.xyz.min() >= 0 and cloud.xyz.max() <= 1 and cloud.xyz.dtype == np.float32


def test_same_seed_same_points():
    one, two, other = (sample_surface(cube(), 64, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.xyz, two.xyz)
    assert (one.xyz != other.xyz).any()


def test_density_follows_area_and_is_even_inside():
    # two triangles, the second of nine times the area, cut at x = 5; and the square of the first
    vertices = np.array(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [10, 0, 0], [13, 0, 0], [10, 3, 0]], float
    )
    xyz = sample_surface(Mesh(vertices, np.array([[0, 1, 2], [3, 4, 5]])), 4000, 0).absolute()
    assert stats.binomtest(int((xyz[:, 0] < 5).sum()), 4000, 0.1).pvalue > 1e-3
    local = (xyz[xyz[:, 0] > 5] - [10, 0, 0]) / 3
    # inside a right triangle P(x < 1 - s) = 1 - s^2
    assert stats.kstest(1 - (1 - local[:, 0]) ** 2, "uniform").pvalue > 1e-3
    assert stats.kstest(local[:, 0] ** 1, "uniform").pvalue < 1e-3  # the control


def test_degenerate_faces_are_never_chosen():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [9, 9, 9]], float)
    faces = np.array([[3, 3, 4], [0, 1, 2], [3, 4, 4]])
    cloud = sample_surface(Mesh(vertices, faces), 100, 0)
    assert cloud.xyz.max() <= 1 and np.isfinite(cloud.normal).all()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scales(scale):
    cloud = sample_surface(Mesh(cube().vertices * scale, cube().faces), 50, 0)
    np.testing.assert_allclose(np.linalg.norm(cloud.normal, axis=1), 1, atol=1e-6)


def test_far_meshes_get_an_origin():
    cloud = sample_surface(Mesh(cube().vertices + np.array([5e5, 5e6, 0]), cube().faces), 50, 0)
    assert cloud.origin.any() and np.abs(cloud.xyz).max() < 3
    local = cloud.absolute() - [5e5, 5e6, 0]
    assert local.min() > -1e-6 and local.max() < 1 + 1e-6


@pytest.mark.parametrize(
    "mesh,count,kind",
    [
        (Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])), 5, InputError),
        (Mesh(np.eye(3), np.zeros((0, 3), np.int64)), 5, InputError),
        (Mesh(np.eye(3) * 1e200, np.array([[0, 1, 2]])), 5, InputError),
        (cube(), 0, InputError),
        (cube(), -1, InputError),
        (cube(), 10**12, LimitError),
    ],
)
def test_faults(mesh, count, kind):
    with pytest.raises(kind) as caught:
        sample_surface(mesh, count, 0)
    assert caught.value.where and caught.value.hint
