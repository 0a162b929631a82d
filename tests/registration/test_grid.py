"""Neighbours by cells against scipy's tree, on clouds of every kind."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from pcinv.registration import grid_kernels as kernels
from pcinv.registration.grid import count_cells, make_grid, neighbours_within, thin_to_cells
from pcinv.registration.grid_kernels import SPAN, nearest_within

CLOUDS = {
    "uniform": lambda rng: rng.uniform(-1, 1, (700, 3)),
    "sheet": lambda rng: rng.uniform(-1, 1, (900, 3)) * [1, 1, 0],
    "lattice": lambda rng: np.stack(np.meshgrid(*[np.arange(8) * 0.1] * 3), -1).reshape(-1, 3),
    "repeated": lambda rng: np.repeat(rng.normal(size=(40, 3)), 30, axis=0),
    "dense": lambda rng: rng.normal(size=(2500, 3)) * 0.02,  # all in a few cells
    "far points": lambda rng: np.concatenate(
        [rng.normal(size=(300, 3)), [[1e7, 0, 0], [1e7, 0.1, 0]]]),
    "one point": lambda rng: np.zeros((1, 3)),
}


@pytest.fixture(params=CLOUDS)
def cloud(request):
    return CLOUDS[request.param](np.random.default_rng(5)).astype(np.float64)


@pytest.mark.parametrize("threads", [1, 2])
def test_neighbours_are_those_of_a_tree(cloud, threads):
    radii, most = (0.1, 0.2, 0.3), (5, 20, 60)
    torch.set_num_threads(threads)
    try:
        index, counts = neighbours_within(make_grid(cloud, radii[-1]), radii, most)
    finally:
        torch.set_num_threads(1)
    distance, _ = cKDTree(cloud).query(cloud, k=min(max(most), len(cloud)))
    distance = distance.reshape(len(cloud), -1)
    for s, (radius, number) in enumerate(zip(radii, most, strict=True)):
        expected = np.minimum((distance <= radius * (1 + 1e-9)).sum(1), number)
        assert np.array_equal(counts[s], expected)
    for i in range(len(cloud)):
        row = index[i, : counts[-1, i]]
        assert len(set(row)) == len(row)
        found = np.linalg.norm(cloud[row] - cloud[i], axis=1)
        assert np.allclose(found, distance[i, : len(row)], atol=1e-6)


def test_of_equally_near_points_the_first_are_taken():
    cloud = CLOUDS["lattice"](None)
    index, counts = neighbours_within(make_grid(cloud, 0.1), [0.1], [4])
    inner = ((cloud > 0.05) & (cloud < 0.65)).all(1)
    assert (counts[0, inner] == 4).all()
    for i in np.flatnonzero(inner):
        near = np.flatnonzero(np.abs(np.linalg.norm(cloud - cloud[i], axis=1) - 0.1) < 1e-9)
        assert list(index[i]) == [i, *near[:3]]


def test_the_nearest_point(cloud):
    grid = make_grid(cloud, 0.25)
    rng = np.random.default_rng(1)
    asked = cloud[rng.integers(len(cloud), size=300)] + rng.normal(0, 0.2, (300, 3))
    distance, _ = cKDTree(cloud).query(asked)
    for point, expected in zip(asked, distance, strict=True):
        at = nearest_within(*point, grid.points, grid.low, grid.size, grid.first, grid.table_key,
                            grid.table_row)
        assert (at < 0) == (expected >= grid.size)
        if at >= 0:
            assert abs(np.linalg.norm(grid.points[at] - point) - expected) < 1e-9
            assert np.array_equal(grid.points[at], cloud[grid.rank[at]])


def test_counting_cells(cloud):
    for size in (0.05, 0.3, 10.0):
        cells = np.minimum(np.floor((cloud - cloud.min(0)) / size), SPAN - 1)
        assert count_cells(cloud, size) == len(np.unique(cells, axis=0))


def test_thinning_to_the_means_of_cells(cloud):
    for size in (0.05, 0.3, 10.0):
        cells = np.minimum(np.floor((cloud - cloud.min(0)) / size), SPAN - 1)
        _, which = np.unique(cells[:, ::-1], axis=0, return_inverse=True)
        number = np.bincount(which.ravel())
        mean = np.stack([np.bincount(which.ravel(), axis) / number for axis in cloud.T], 1)
        found = thin_to_cells(cloud, size)
        assert found.shape == mean.shape and np.abs(found - mean).max() < 1e-8 * max(
            1, np.abs(cloud).max())
        order = np.random.default_rng(0).permutation(len(cloud))
        assert np.array_equal(thin_to_cells(cloud[order], size), found)


@pytest.mark.parametrize("kind", ["even", "together", "equal", "ends", "few"])
def test_neighbours_are_sorted_however_their_distances_lie(kind):
    rng, limit = np.random.default_rng(0), 1 << 62
    values = {"even": rng.integers(0, limit, 700), "together": rng.integers(0, limit >> 12, 700),
              "equal": np.full(700, 5), "ends": np.array([limit - 1, 0, limit - 1, 1, limit - 2]),
              "few": np.array([3])}[kind]
    starts, out = np.empty(257, np.int64), np.full(len(values) + 1, -7)
    for count in {len(values), len(values) // 2, 0}:
        kernels._sort(values, count, limit, starts, out)
        assert np.array_equal(out[:count], np.sort(values[:count])) and out[-1] == -7
