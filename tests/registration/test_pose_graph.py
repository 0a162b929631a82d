"""Poses of many clouds: right where pairs are wrong, exact where there is nothing to choose."""

import numpy as np
import pytest
from helpers.surfaces import motion, pose_error

from pcinv.registration.pose_graph import Edge, solve_pose_graph


def graph(count, wrong, far=0.0):
    """Poses, edges with noise of a voxel and some that are wrong, and the centres."""
    rng = np.random.default_rng(count)
    centres = 0.3 * rng.normal(size=(count, 3)) + far
    to, back = np.tile(np.eye(4), (2, count, 1, 1))
    to[:, :3, 3], back[:, :3, 3] = centres, -centres
    world = [motion([count, k], 0.7) @ back[k] for k in range(count)]
    edges = []
    for i in range(count):
        for j in range(i + 1, count):
            is_wrong = len(edges) % 4 == 3 and wrong and j > i + 1
            if j == i + 1 or rng.random() < 0.5:
                noise = motion([count, i, j], 1.0) if is_wrong else small(rng)
                told = to[i] @ noise @ back[i] @ np.linalg.inv(world[i]) @ world[j]
                edges.append((Edge(j, i, told, float(rng.uniform(14, 400))), is_wrong))
    return world, [edge for edge, _ in edges], np.array([w for _, w in edges], bool), centres


def small(rng):
    pose = np.eye(4)
    x, y, z = 0.01 * rng.normal(size=3)
    u, _, vt = np.linalg.svd(np.eye(3) + np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    pose[:3, :3], pose[:3, 3] = u @ vt, 0.015 * rng.normal(size=3)
    return pose


@pytest.mark.parametrize("count, wrong, far", [(6, 0, 0.0), (12, 1, 0.0), (25, 1, 1e6)])
def test_loops_correct_what_pairs_got_wrong(count, wrong, far):
    world, edges, is_wrong, centres = graph(count, wrong, far)
    found = solve_pose_graph(edges, centres, np.full(count, 1.5), 0.05)
    assert (found.in_doubt == is_wrong).all() and is_wrong.sum() >= 4 * wrong
    assert (found.component == 0).all() and np.allclose(found.poses[0], np.eye(4))
    for k in range(count):
        expected = np.linalg.inv(world[0]) @ world[k]
        difference = (found.poses[k] - expected)[:3] @ np.append(centres[k], 1)
        assert np.linalg.norm(difference) < 0.06
        assert pose_error(found.poses[k], expected)[0] < 2


def test_clouds_that_do_not_hang_together():
    step = motion(1)
    edges = [Edge(3, 2, step, 20.0), Edge(4, 3, step, 20.0), Edge(1, 0, step, 20.0)]
    found = solve_pose_graph(edges, np.zeros((6, 3)), np.ones(6), 0.1)
    assert found.component.tolist() == [1, 1, 0, 0, 0, 2]
    assert np.allclose(found.poses[[0, 2, 5]], np.eye(4))
    assert np.allclose(found.poses[4], step @ step) and np.allclose(found.poses[1], step)
    assert solve_pose_graph([], np.zeros((2, 3)), np.ones(2), 0.1).component.tolist() == [0, 1]
