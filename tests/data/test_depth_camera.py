"""The simulated depth camera: exact images of meshes, and the faults that a measurement has."""

import numpy as np
import pytest

from pcinv_data import depth_camera as camera
from pcinv_data.generate.meshes import block, cushion, lathe, placed

NO_BIAS = camera.Lens(1.0, np.ones((camera.ROWS, camera.COLUMNS)))
BRIGHT = np.zeros((camera.ROWS, camera.COLUMNS))


def wall(distance, tilt=0.0):
    """A flat wall across the view of a camera that looks along +x."""
    return placed([placed([block(0.1, 60.0, 60.0, (0.05, 0, -30))], about_z=tilt)],
                  (distance, 0, 0))


def nearest_hit(mesh, ray):
    """The least z of a ray (3,) from the origin with triangles: solve for corners and depth."""
    edges = np.stack([mesh[:, 1] - mesh[:, 0], mesh[:, 2] - mesh[:, 0],
                      np.broadcast_to(-ray, mesh[:, 0].shape)], -1)
    usable = np.abs(np.linalg.det(edges)) > 1e-12
    u, v, z = np.linalg.solve(edges[usable], -mesh[usable, 0][..., None])[..., 0].T
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (z > 0.02)
    return z[hit].min(initial=np.inf)


def test_an_image_is_what_each_ray_meets_first():
    rng = np.random.default_rng(0)
    things = [placed([cushion(rng.uniform(0.1, 0.5, 3), 0.7, 0.7)], rng.uniform((0.5, -1, -1),
                                                                                (3, 1, 1)))
              for _ in range(8)]
    things += [lathe([-1, 1.0], [3.5, 3.5]), block(9, 9, 0.2, (0, 0, -1))]  # behind the eye too
    mesh = np.concatenate(things)
    pose = camera.look(np.zeros(3), 0.1, -0.1, 0.2)
    sight = camera.render(mesh, pose)
    rays = camera.rays()
    seen = mesh @ pose[:3, :3]
    for row, column in rng.integers(0, (camera.ROWS, camera.COLUMNS), (400, 2)):
        expected = nearest_hit(seen, rays[row, column])
        assert sight.z[row, column] == pytest.approx(expected, rel=1e-9)


def test_no_ray_slips_through_a_closed_surface():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shell = placed([cushion((2, 2, 2), *rng.uniform(0.3, 1, 2), 14)], rng.normal(0, 0.3, 3))
        sight = camera.render(shell, camera.look(np.zeros(3), *rng.uniform(-1, 1, 2)))
        assert np.isfinite(sight.z).all() and (sight.triangle >= 0).all()


def test_a_pose_looks_where_it_says():
    pose = camera.look(np.array([1.0, 2, 3]), 0.7, -0.3)
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert np.allclose(pose[:3, 2], [np.cos(0.7) * np.cos(0.3), np.sin(0.7) * np.cos(0.3),
                                     -np.sin(0.3)])
    assert pose[2, 0] == 0 and pose[2, 1] < 0  # the image is level, and its y points down


def errors_at(distance, lens=NO_BIAS):
    sight = camera.render(wall(distance), camera.look(np.zeros(3), 0, 0))
    z = camera.measure(sight, BRIGHT, lens, np.random.default_rng(0))
    return z[z > 0] - distance


def test_noise_grows_with_the_square_of_the_range():
    near, far = errors_at(1.0).std(), errors_at(3.5).std()
    assert 0.0005 < near < 0.004 and 0.01 < far < 0.04
    assert abs(errors_at(1.0).mean()) < 0.001
    step = 3.5**2 / camera.DISPARITY  # which no better camera has smaller
    good = errors_at(3.5, camera.Lens(0.2, NO_BIAS.bias)).std()
    assert step / 12**0.5 < good < 0.8 * far


def test_depths_come_in_steps():
    z = errors_at(3.0) + 3.0
    steps = camera.DISPARITY / z
    assert np.abs(steps - np.rint(steps)).max() < 1e-3 and len(np.unique(z)) < 40


@pytest.mark.parametrize("distance", [0.3, 4.3])
def test_nothing_is_measured_out_of_range(distance):
    assert len(errors_at(distance)) < 100


def test_slanting_and_dark_surfaces_have_holes():
    def share(tilt, dark=0.0):
        sight = camera.render(wall(2.0, tilt), camera.look(np.zeros(3), 0, 0))
        middle = np.s_[100:140, 140:180]
        z = camera.measure(sight, BRIGHT + dark, NO_BIAS, np.random.default_rng(0))
        return (z[middle] > 0).mean()

    assert share(0) > 0.95
    assert share(np.radians(78)) < 0.7
    assert share(np.radians(88)) == 0
    assert 0.3 < share(0, 0.5) < 0.6 and share(0, 0.95) < 0.1


def test_fusion_averages_and_stays_on_its_lattice():
    mesh = np.concatenate([wall(2.0), placed([cushion((0.3, 0.3, 0.3))], (1.5, 0.2, 0))])
    poses = np.stack([camera.look(np.array([0, 0.02 * k, 0]), 0.01 * k, 0) for k in range(8)])
    rng = np.random.default_rng(0)
    images = np.stack([camera.measure(camera.render(mesh, T), BRIGHT, NO_BIAS, rng)
                       for T in poses])
    points = camera.fuse(images, np.linalg.inv(poses[0]) @ poses)
    assert np.allclose(points / camera.LATTICE, np.rint(points / camera.LATTICE))
    assert len(np.unique(points, axis=0)) == len(points)
    flat = points[(np.abs(points[:, 2] - 2) < 0.1) & (np.abs(points[:, 0]) > 0.6)]
    single = images[0][np.abs(images[0] - 2) < 0.1] - 2
    assert len(flat) > 10_000 and (flat[:, 2] - 2).std() < single.std()
    alone = camera.fuse(images[:1], np.eye(4)[None])
    assert not len(alone)  # what a single image tells does not count


def test_thinning_leaves_one_point_of_each_cell():
    points = np.random.default_rng(0).uniform(-1, 1, (5000, 3))
    few = camera.thin(points, 0.2, np.random.default_rng(1))
    cells = np.floor(few / 0.2)
    assert len(few) == len(np.unique(np.floor(points / 0.2), axis=0))
    assert len(np.unique(cells, axis=0)) == len(few)
    assert (few[:, None] == points[None]).all(-1).any(1).all()
    assert np.array_equal(few, camera.thin(points, 0.2, np.random.default_rng(1)))
    assert not np.array_equal(few, camera.thin(points, 0.2))
