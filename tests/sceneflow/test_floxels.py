"""Scene flow without labels: on the scene of the sheet, against oracles, and what must fail."""

import numpy as np
import pytest
from helpers.street import joined, traffic
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from sklearn.cluster import DBSCAN

from pcinv.errors import InputError, LimitError
from pcinv.sceneflow.clusters import cluster_points
from pcinv.sceneflow.distance import distance_field
from pcinv.sceneflow.fast_nsf import FastNSFOptions, fit_fast_nsf
from pcinv.sceneflow.floxels import FloxelsOptions, corners, fit_floxels
from pcinv.sceneflow.rigid import median_flow, rigid_flow


def errors(flow, truth, names):
    away = np.linalg.norm(flow - truth, axis=1)
    return {name: away[names == name].mean() for name in np.unique(names)}


@pytest.fixture(scope="module")
def scene():
    points, truth, names = joined(traffic(0))
    others = {step: joined(traffic(step))[0] for step in (-2, -1, 1, 2)}
    return points, truth, names, others


@pytest.fixture(scope="module")
def fit(scene):
    return fit_floxels(scene[0], scene[3])


class TestFloxels:
    def test_13_every_thing_moves_as_it_does(self, scene, fit):
        found = errors(fit.flow, *scene[1:3])
        assert found["car ahead"] < 0.06 and found["car oncoming"] < 0.06
        assert found["wall"] < 0.02 and found["parked"] < 0.02 and found["pedestrian"] < 0.05
        assert found["fast car"] < 0.1

    def test_13_the_pieces_are_the_method(self, scene, fit):
        without = fit_floxels(scene[0], scene[3], FloxelsOptions(cluster=0.0))
        bad, good = errors(without.flow, *scene[1:3]), errors(fit.flow, *scene[1:3])
        assert bad["car ahead"] > 3 * good["car ahead"]

    def test_13_places_without_points_stay_zero(self, scene):
        ids, weight, count = corners(scene[0], 0.5)
        assert ids.max() == count - 1 and np.unique(ids).size == count  # no others exist
        assert weight.sum(1) == pytest.approx(np.ones(len(weight)), abs=1e-6)

    def test_14_it_is_the_best_step_and_the_same_each_time(self, scene, fit):
        again = fit_floxels(scene[0], scene[3])
        assert np.array_equal(again.flow, fit.flow) and again.loss == fit.loss
        shorter = fit_floxels(scene[0], scene[3], FloxelsOptions(steps=20, free_steps=1))
        assert shorter.loss > fit.loss

    def test_15_a_turned_scene_has_a_turned_flow(self, scene, fit):
        quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
        turned = fit_floxels(scene[0] @ quarter.T,
                             {step: xyz @ quarter.T for step, xyz in scene[3].items()})
        away = np.linalg.norm(turned.flow - fit.flow @ quarter.T, axis=1)
        assert away.mean() < 0.03

    def test_01_a_static_world_does_not_move(self):
        still = traffic(0)
        points = np.concatenate([still["wall"], still["parked"]])
        others = {}
        for step in (-1, 1):
            there = traffic(step)
            others[step] = np.concatenate([there["wall"], there["parked"]])
        fit = fit_floxels(points, others)
        flow = rigid_flow(points, fit.flow, fit.cluster, fit.fields, others[1])
        assert np.linalg.norm(flow, axis=1).mean() < 0.01

    def test_two_scans_and_rigid_pieces(self, scene):
        points, truth, names, others = scene
        fit = fit_floxels(points, {1: others[1]})
        found = errors(rigid_flow(points, fit.flow, fit.cluster, fit.fields, others[1]), truth,
                       names)
        before = errors(fit.flow, truth, names)
        assert found["car ahead"] < before["car ahead"] and found["car ahead"] < 0.05
        assert found["fast car"] < 0.05 and found["wall"] < 0.02

    @pytest.mark.parametrize("others", [{}, {0: np.zeros((5, 3))}])
    def test_it_needs_another_scan(self, scene, others):
        with pytest.raises(InputError):
            fit_floxels(scene[0], others)
        with pytest.raises(InputError):
            fit_floxels(np.zeros((0, 3)), scene[3])


class TestDistance:
    LOW, HIGH = np.full(3, -6.0), np.full(3, 6.0)

    @pytest.fixture(scope="class")
    def cloud(self):
        return np.random.default_rng(0).uniform(-5, 5, (300, 3))

    def test_12_as_scipy_and_within_a_diagonal_of_the_nearest_point(self, cloud):
        field = distance_field(cloud, self.LOW, self.HIGH, 0.2)
        empty = np.ones(field.values.shape, bool)
        empty[tuple(np.floor((cloud + 6) / 0.2).astype(int).T)] = False
        assert field.values == pytest.approx(distance_transform_edt(empty) * 0.2, abs=1e-5)
        places = np.random.default_rng(1).uniform(-5.5, 5.5, (2000, 3))
        nearest = cKDTree(cloud).query(places)[0]
        assert np.abs(field(places)[0] - nearest).max() < 0.2 * 3**0.5

    def test_12_the_gradient_is_the_slope(self, cloud):
        field = distance_field(cloud, self.LOW, self.HIGH, 0.2)
        places = np.random.default_rng(1).uniform(-5, 5, (500, 3))
        cell = (places + 6) / 0.2 - 0.5
        places = places[np.abs(cell - np.round(cell)).min(1) > 0.01]
        _, gradient = field(places)
        for axis in range(3):
            step = np.eye(3)[axis] * 1e-5
            slope = (field(places + step)[0] - field(places - step)[0]) / 2e-5
            assert gradient[:, axis] == pytest.approx(slope, abs=1e-4)

    def test_bad_boxes(self, cloud):
        with pytest.raises(LimitError):
            distance_field(cloud, self.LOW * 1000, self.HIGH * 1000, 0.1)
        with pytest.raises(InputError):
            distance_field(cloud + 100, self.LOW, self.HIGH)


class TestClusters:
    def test_as_dbscan(self):
        rng = np.random.default_rng(0)
        blobs = np.concatenate([rng.normal(size=(60, 3)) * 0.3 + c for c in rng.uniform(
            -20, 20, (12, 3))] + [rng.uniform(-30, 30, (40, 3))])
        mine = cluster_points(blobs, 0.5, 4, cell=1e-4)  # every point a place of its own
        theirs = DBSCAN(eps=0.5, min_samples=4).fit_predict(blobs)
        assert np.array_equal(mine < 0, theirs < 0)
        core = np.zeros(len(blobs), bool)
        core[DBSCAN(eps=0.5, min_samples=4).fit(blobs).core_sample_indices_] = True
        pairs = {(a, b) for a, b in zip(mine[core], theirs[core], strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})

    def test_numbered_by_size_and_nothing_of_nothing(self):
        things = traffic(0)
        label = cluster_points(np.concatenate([things["pedestrian"], things["wall"]]))
        assert (label[220:] == 0).mean() > 0.9 and (label[:220] == 1).mean() > 0.99
        assert len(cluster_points(np.zeros((0, 3)))) == 0
        assert cluster_points(np.array([[0.0, 0, 0], [9, 9, 9]])).tolist() == [-1, -1]


def test_14_fast_nsf_finds_the_way_and_keeps_the_best_step():
    points, truth, _ = joined({"car ahead": traffic(0)["car ahead"]})
    following = traffic(1)["car ahead"]
    options = FastNSFOptions(steps=120, width=32, depth=3)
    flow, loss, _ = fit_fast_nsf(points, following, options)
    assert np.linalg.norm(flow.mean(0) - truth.mean(0)) < 0.6  # a box may slide along its sides
    again, same, _ = fit_fast_nsf(points, following, options)
    assert np.array_equal(again, flow) and same == loss
    assert fit_fast_nsf(points, following, FastNSFOptions(steps=3, width=32, depth=3))[1] > loss
    with pytest.raises(InputError):
        fit_fast_nsf(points, np.zeros((0, 3)))


def test_pieces_take_the_median_of_a_rough_flow():
    rng = np.random.default_rng(0)
    places = np.repeat([[0.0, 0, 0], [10, 0, 0], [20, 0, 0], [30, 0, 0]], 40, axis=0)
    points = places + rng.uniform(-1, 1, places.shape)
    points[120:, 0] *= 2  # from 58 to 62 m: wide
    points[120:, 1] = rng.uniform(-8, 8, 40)
    piece = np.repeat([0, 1, 2, 3], 40)
    flow = np.repeat([[1.0, 0, 0], [0.03, 0, 0], [0.5, 0, 0], [0.2, 0.1, 0]], 40, axis=0)
    rough = flow + rng.normal(0, 0.01, flow.shape)
    rough[:5] += 3.0  # some are far off
    piece[86:120] = -1  # six points are left of the third
    found = median_flow(points, rough, piece)
    assert np.abs(found[:40] - flow[:40]).max() < 0.01 and len(np.unique(found[:40], axis=0)) == 1
    assert (found[40:120] == 0).all()  # too slow, too few, of none
    assert np.array_equal(found[120:], rough[120:])  # too wide for one shift
    assert median_flow(points[:0], rough[:0], piece[:0]).shape == (0, 3)
