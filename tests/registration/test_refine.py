"""Refinement: against small_gicp, on what it must find, and on what it must not touch."""

import numpy as np
import pytest
import torch

from pcinv.geometry.rotation import random_rotation
from pcinv.registration.gicp_kernels import FLAT, linearise
from pcinv.registration.prepare import prepare, to_clouds, to_prepared
from pcinv.registration.refine import polish, refine
from pcinv.registration.viewpoint import orient_towards

VOXEL = 0.05


def corner(count=20000, seed=0):
    """Three walls that meet and a ball on the floor: nothing slides."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(0, 2, (2, count))
    walls = [np.stack([u, v, 0 * u], 1), np.stack([0 * u, u, v], 1), np.stack([u, 0 * u, v], 1)]
    ball = rng.normal(size=(count // 3, 3))
    ball = ball / np.linalg.norm(ball, axis=1, keepdims=True) * 0.3 + [1.1, 1.3, 0.3]
    return np.concatenate([*[wall[i::3] for i, wall in enumerate(walls)], ball])


def motion(angle, shift, seed=0):
    rng = np.random.default_rng(seed)
    axis, along = rng.normal(size=(2, 3))
    axis, along = axis / np.linalg.norm(axis), along / np.linalg.norm(along)
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    T = np.eye(4)
    T[:3, :3] += np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    T[:3, 3] = shift * along
    return T


def error(found, truth):
    D = np.linalg.inv(truth) @ found
    return np.arccos(np.clip((np.trace(D[:3, :3]) - 1) / 2, -1, 1)), np.linalg.norm(D[:3, 3])


@pytest.fixture(scope="module")
def pair():
    source, target = prepare(corner(seed=1), VOXEL), prepare(corner(seed=2), VOXEL)
    return source, target, to_prepared(np.eye(4), source, target)


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_pose_from_nearby(pair, seed):
    source, target, truth = pair
    found = refine(source, target, truth @ motion(0.06, 0.08, seed))
    turn, shift = error(found.T_target_source, truth)
    assert turn < 0.003 and shift < 0.005
    assert found.firmness > 20 and found.num_inliers > 500
    assert np.abs(found.T_target_source[:3, :3] @ found.T_target_source[:3, :3].T
                  - np.eye(3)).max() < 1e-12


def test_agrees_with_small_gicp(pair):
    small_gicp = pytest.importorskip("small_gicp")
    source, target, truth = pair
    start = truth @ motion(0.05, 0.06)
    fixed, tree = small_gicp.preprocess_points(target.points, VOXEL, 10, 1)
    moving, _ = small_gicp.preprocess_points(source.points, VOXEL, 10, 1)
    theirs = small_gicp.align(fixed, moving, tree, start, registration_type="GICP",
                              max_correspondence_distance=0.1, num_threads=1)
    ours = refine(source, target, start)
    turn, shift = error(ours.T_target_source, theirs.T_target_source)
    assert turn < 0.004 and shift < 0.006
    assert np.linalg.norm(start - theirs.T_target_source) > 0.05  # it had something to do


def test_the_information_is_that_of_a_plain_computation(pair):
    """J^T W J and J^T W e by dense algebra, point by point, at an arbitrary pose."""
    source, target, truth = pair
    grid, normals = target.surface
    pose = truth @ motion(0.02, 0.03, 5)
    points, n = source.points[::7], source.normals[::7]
    information, gradient, moments = np.zeros((6, 6)), np.zeros(6), np.zeros(4)
    matched = linearise(points, n, grid.points, normals, grid.low, grid.size, grid.first,
                        grid.table_key, grid.table_row, pose, False, information, gradient,
                        moments)
    R, expected, slope, met = pose[:3, :3], np.zeros((6, 6)), np.zeros(6), []
    for p, a in zip(points, n, strict=True):
        gap = grid.points - (R @ p + pose[:3, 3])
        j = int((gap**2).sum(1).argmin())
        if np.linalg.norm(gap[j]) >= 0.1:
            continue
        met.append(p)
        spread = [np.eye(3) - (1 - FLAT) * np.outer(m, m) for m in (a, normals[j])]
        W = np.linalg.inv(spread[1] + R @ spread[0] @ R.T)
        x, y, z = p
        J = np.concatenate([R @ [[0, -z, y], [z, 0, -x], [-y, x, 0]], -R], axis=1)
        expected += J.T @ W @ J
        slope += J.T @ W @ gap[j]
    assert matched == len(met) > 100
    assert np.allclose(moments, [*np.sum(met, axis=0), np.sum(np.square(met))])
    assert np.allclose(information, expected, rtol=1e-7, atol=1e-6)
    assert np.allclose(gradient, slope, rtol=1e-7, atol=1e-6)


def test_the_two_sides_of_a_thin_wall_are_not_the_same_place():
    """A camera on each side: the near faces must not be pulled onto each other."""
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 9000))
    front, back = np.stack([u, v, 0 * u], 1), np.stack([u, v, 0 * u - 0.06], 1)
    eyes = np.array([0.0, 0, 1]), np.array([0.0, 0, -1])
    seen = []
    for points, eye in zip((front, back), eyes, strict=True):
        from dataclasses import replace

        cloud = prepare(points, VOXEL)
        place = (eye - cloud.origin) / cloud.unit
        seen.append((cloud, replace(cloud, view_point=place, _described={},
                                    normals=orient_towards(cloud.points, cloud.normals, place))))
    start = to_prepared(np.eye(4), seen[0][0], seen[1][0])
    told = refine(seen[0][1], seen[1][1], start)
    blind = refine(seen[0][0], seen[1][0], start)
    assert told.num_inliers == 0 and np.array_equal(told.T_target_source, start)
    assert blind.num_inliers > 0 and abs(blind.T_target_source[2, 3] - start[2, 3]) > 0.05


def test_clouds_that_do_not_meet_are_left_alone(pair):
    source, target, truth = pair
    away = truth @ motion(0, 50.0)
    found = refine(source, target, away)
    assert found.num_inliers == 0 and found.firmness == 0
    assert np.array_equal(found.T_target_source, away)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_polish_improves_and_does_not_replace(scale):
    R = np.eye(4)
    R[:3, :3] = random_rotation(generator=torch.Generator().manual_seed(1),
                                dtype=torch.float64).numpy()
    source, target = scale * corner(60000, 3), scale * corner(60000, 4) @ R[:3, :3].T
    start = R @ motion(0.008, 0.01 * scale)
    pose, words = polish(source, target, start, VOXEL * scale, 0.01 * scale)
    before, after = error(start, R), error(pose, R)
    assert after[0] < 0.2 * before[0] and after[1] < 0.2 * before[1] and words.startswith("moved")
    far = R @ motion(0.1, 0.09 * scale)
    kept, words = polish(source, target, far, VOXEL * scale, 0.01 * scale)
    assert np.array_equal(kept, far) and words.startswith("not kept")
    same, words = polish(source, target, start, VOXEL * scale, 0.04 * scale)
    assert np.array_equal(same, start) and "not finer" in words


def test_frames_of_prepared_clouds(pair):
    source, target, _ = pair
    T = motion(0.7, 3.0, 2)
    assert np.allclose(to_clouds(to_prepared(T, source, target), source, target), T, atol=1e-12)
