"""The outside of shapes that were seen from all round; sheets have none."""

import numpy as np
import pytest
from helpers.surfaces import motion
from scipy.spatial import cKDTree

from pcinv.registration.outward import CLOSED, orient_outward
from pcinv.registration.prepare import VOXEL, prepare
from pcinv.registration.scale import choose_voxel
from pcinv_data.generate.classes import draw_shape

RNG = np.random.default_rng


def sphere(n=12_000):
    directions = RNG(0).normal(size=(n, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def prepared(points):
    cloud = prepare(np.asarray(points, np.float64), VOXEL, ())
    return cloud.points, cloud.normals


def test_every_normal_of_a_sphere_points_outward():
    points, normals = prepared(sphere())
    turned, sure = orient_outward(points, normals, VOXEL)
    assert ((points - points.mean(0)) * turned).sum(1).min() > 0.8
    assert sure > 0.8
    raw = ((points - points.mean(0)) * normals).sum(1)
    assert 0.2 < (raw > 0).mean() < 0.8  # or there was nothing to turn


def test_a_torus_has_its_inside_too():
    u, v = RNG(1).uniform(0, 2 * np.pi, (2, 6000))
    out = np.stack([np.cos(u) * np.cos(v), np.sin(u) * np.cos(v), np.sin(v)], 1)
    points = np.stack([np.cos(u), np.sin(u), 0 * u], 1) + 0.35 * out
    small, normals = prepared(points)
    turned, sure = orient_outward(small, normals, VOXEL)
    ring = small * [1, 1, 0]
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    assert (((small - small.mean(0) - ring) * turned).sum(1) > 0).mean() > 0.99
    assert sure > CLOSED


def test_half_a_sphere_is_not_closed():
    """The negative control: what one camera sees has two sides as seen from far away."""
    points = sphere()
    assert orient_outward(*prepared(points[points[:, 2] > 0.2]), VOXEL)[1] < CLOSED
    sheet = RNG(2).uniform(-1, 1, (4000, 3)) * [1, 1, 0.01]
    assert orient_outward(*prepared(sheet), VOXEL)[1] < 0.1


@pytest.mark.parametrize("name", ["bottle", "bolt", "jug", "prism"])
def test_generated_models_are_closed_and_point_outward(name):
    points, truth, _ = draw_shape(name, 8000, RNG(3))
    voxel = choose_voxel(points, points)
    cloud = prepare(points, voxel, ())
    turned, sure = orient_outward(cloud.points, cloud.normals, VOXEL)
    nearest = cKDTree(points).query(cloud.points * cloud.unit + cloud.origin)[1]
    right = (turned * truth[nearest]).sum(1) > 0
    assert right.mean() > 0.93 and sure > CLOSED
    assert ((cloud.normals * truth[nearest]).sum(1) > 0).mean() < 0.9


def test_it_turns_with_the_cloud_and_the_order_is_no_matter():
    points, normals = prepared(sphere() * [1.3, 1.0, 0.6])
    turned, sure = orient_outward(points, normals, VOXEL)
    for seed in range(3):
        R, t = motion(seed)[:3, :3], motion(seed)[:3, 3]
        order = RNG(seed).permutation(len(points))
        again, as_sure = orient_outward((points @ R.T + t)[order], (-normals @ R.T)[order], VOXEL)
        assert (((again @ R) * turned[order]).sum(1) > 0).mean() > 0.999
        assert as_sure == pytest.approx(sure, abs=0.01)


@pytest.mark.parametrize("points", [np.ones((1, 3)), np.ones((9, 3)), np.eye(3) * 1e6])
def test_hostile_clouds_have_an_answer(points):
    for normals in (np.zeros_like(points), np.tile([0.0, 0, 1], (len(points), 1))):
        turned, sure = orient_outward(points, normals, VOXEL)
        assert np.array_equal(np.abs(turned), np.abs(normals)) and 0 <= sure <= 1
