"""Scores of scene flow against hand-made groups of points."""

import numpy as np
import pytest

from pcinv.errors import InputError, ShapeError
from pcinv.metrics.flow import META_CLASSES, SPEED_EDGES, FlowScore, is_close, meta_classes


def street(seed=0, count=500):
    """(total flow, rigid part, meta class) of points of all classes, half of them moving."""
    rng = np.random.default_rng(seed)
    category = rng.integers(0, 5, count)
    rigid = rng.normal(size=(count, 3)) * 0.5
    residual = rng.normal(size=(count, 3)) * (rng.random((count, 1)) < 0.5)
    residual[category == 0] = 0
    return rigid + residual, rigid, category


def score(estimated, truth, rigid, category, **options):
    found = FlowScore()
    found.add(estimated, truth, rigid, category, **options)
    return found.compute()


class TestErrors:
    def test_the_truth_is_right(self):
        truth, rigid, category = street()
        found = score(truth, truth, rigid, category)
        assert found["epe"] == found["three_way_epe"] == found["dynamic_bucket_epe"] == 0
        assert found["accuracy_strict"] == found["accuracy_relaxed"] == found["dynamic_iou"] == 1
        assert found["outliers"] == 0 and found["angle_rad"] == pytest.approx(0, abs=1e-7)

    def test_02_errors_are_the_same_of_total_and_residual_flow(self):
        truth, rigid, category = street()
        guess = truth + np.random.default_rng(1).normal(size=truth.shape) * 0.08
        total = score(guess, truth, rigid, category)
        residual = score(guess - rigid, truth - rigid, np.zeros_like(rigid), category)
        for name in ("epe", "three_way_epe", "dynamic_bucket_epe", "dynamic_iou"):
            assert total[name] == pytest.approx(residual[name], rel=1e-9), name
        assert total["accuracy_strict"] != residual["accuracy_strict"]  # relative to the total

    def test_03_standing_still_scores_one_in_every_class(self):
        truth, rigid, category = street()
        found = score(rigid, truth, rigid, category)
        assert found["bucket_dynamic"].pop("BACKGROUND") is None
        assert all(value == pytest.approx(1, abs=1e-6)
                   for value in found["bucket_dynamic"].values())
        assert found["dynamic_bucket_epe"] == pytest.approx(1, abs=1e-6)

    def test_04_edges_of_the_buckets(self):
        assert SPEED_EDGES[:3] == pytest.approx([0, 0.04, 0.08]) and SPEED_EDGES[-2] == 2.0
        assert len(SPEED_EDGES) == 52 and np.isinf(SPEED_EDGES[-1])
        found = FlowScore()
        for speed in (0.0, 0.0399, 0.04, 1.96, 2.0, 30.0):
            row = np.array([[speed, 0, 0]])
            found.add(row, row, np.zeros((1, 3)), np.array([1]))
        assert np.flatnonzero(found.counts[1]).tolist() == [0, 1, 49, 50]
        assert found.counts[1, [0, 1, 49, 50]].tolist() == [2, 1, 1, 2]

    def test_05_three_groups_and_the_fourth(self):
        truth = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 0], [1.0, 0, 0]])  # FD, FS, BS, BD
        category = np.array([1, 1, 0, 0])
        guess = truth + np.array([[0.3, 0, 0], [0.2, 0, 0], [0.1, 0, 0], [9.0, 0, 0]])
        found = score(guess, truth, np.zeros((4, 3)), category)
        assert found["epe_foreground_dynamic"] == pytest.approx(0.3)
        assert found["epe_foreground_static"] == pytest.approx(0.2)
        assert found["epe_background_static"] == pytest.approx(0.1)
        assert found["three_way_epe"] == pytest.approx(0.2)  # moving background is not scored

    def test_05_a_group_without_points_is_left_out(self):
        still = np.zeros((3, 3))
        found = score(still + 0.1, still, still, np.array([0, 0, 1]))
        assert found["epe_foreground_dynamic"] is None
        assert found["three_way_epe"] == pytest.approx(0.1 * 3**0.5)
        assert found["dynamic_bucket_epe"] is None
        assert all(value is None or isinstance(value, int | dict)
                   for key, value in FlowScore().compute().items() if key != "num_points")

    def test_accuracies_by_hand(self):
        truth = np.array([[10.0, 0, 0], [0.1, 0, 0], [0.1, 0, 0], [1.0, 0, 0]])
        guess = truth + np.array([[0.4, 0, 0], [0.04, 0, 0], [0.09, 0, 0], [0.35, 0, 0]])
        found = score(guess, truth, np.zeros_like(truth), np.ones(4, dtype=int))
        assert found["accuracy_strict"] == 0.5  # 4 % of 10 m; 4 cm
        assert found["accuracy_relaxed"] == 0.75
        assert found["outliers"] == 1.0  # each: above 0.3 m, or above 10 %

    def test_pairs_add_up(self):
        one, two = street(0), street(1, 90)
        both = FlowScore()
        for truth, rigid, category in (one, two):
            both.add(rigid, truth, rigid, category)
        joined = [np.concatenate(each) for each in zip(one, two, strict=True)]
        assert both.compute()["epe"] == pytest.approx(
            score(joined[1], joined[0], *joined[1:])["epe"])

    def test_scans_at_another_rate(self):
        truth, rigid, category = street()
        guess = truth + np.random.default_rng(1).normal(size=truth.shape) * 0.08
        slow = FlowScore(interval_s=0.2)
        slow.add(2 * guess, 2 * truth, 2 * rigid, category)
        assert slow.compute()["dynamic_bucket_epe"] == pytest.approx(
            score(guess, truth, rigid, category)["dynamic_bucket_epe"])


class TestInput:
    def test_points_without_truth_do_not_count(self):
        truth, rigid, category = street()
        truth[:100] = np.nan
        found = score(np.where(np.isnan(truth), 5.0, truth), truth, rigid, category)
        assert found["num_points"] == 400 and found["epe"] == 0

    def test_only_scored_points_count(self):
        truth, rigid, category = street()
        guess = truth.copy()
        guess[0] = np.nan
        scored = np.arange(len(truth)) > 0
        assert score(guess, truth, rigid, category, scored=scored)["epe"] == 0
        with pytest.raises(InputError):
            score(guess, truth, rigid, category)

    def test_lengths(self):
        truth, rigid, category = street()
        with pytest.raises(ShapeError):
            score(truth[1:], truth, rigid, category)

    def test_meta_classes(self):
        names = ["NONE", "REGULAR_VEHICLE", "BOX_TRUCK", "PEDESTRIAN", "BICYCLIST", "SIGN", "road",
                 "car", "person", "bicycle"]
        found = [META_CLASSES[k] if k >= 0 else None for k in meta_classes(names)]
        assert found == ["BACKGROUND", "CAR", "OTHER_VEHICLES", "PEDESTRIAN", "WHEELED_VRU", None,
                         "BACKGROUND", "CAR", "PEDESTRIAN", "WHEELED_VRU"]

    def test_the_box_is_square(self):
        xyz = np.array([[34.9, 34.9, 9], [35.0, 0, 0], [0, -35.1, 0], [-34, 0, 90]], dtype=float)
        assert is_close(xyz).tolist() == [True, False, False, True]
