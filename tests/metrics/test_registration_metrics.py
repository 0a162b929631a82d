"""Errors of motions against scipy and hand-made values; recall tables against published ones."""

import json
import math

import numpy as np
import pytest
from beartype import beartype
from helpers.fake_threedmatch import information_of, random_motion
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from scipy.spatial.transform import Rotation

from pcinv.errors import InputError, ShapeError, UnknownNameError
from pcinv.metrics import registration
from pcinv.metrics.registration import (
    PairResult,
    feature_matching_recall,
    information_rmse,
    inlier_ratio,
    is_registered,
    judge_pair,
    point_rmse,
    recall_table,
    rotation_error_deg,
    translation_error,
)

SEEDS = st.integers(0, 2**32 - 1)
EYE = np.eye(4)


def motion(rotvec=(0, 0, 0), shift=(0, 0, 0)):
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    T[:3, 3] = shift
    return T


def random_case(seed):
    """Two motions that differ by up to 180 degrees, and the information of random points."""
    rng = np.random.default_rng(seed)
    return random_motion(rng), random_motion(rng), information_of(rng.normal(size=(30, 3))), rng


@given(SEEDS)
def test_errors_equal_those_of_scipy(seed):
    T, T_true, information, _ = random_case(seed)
    E = np.linalg.inv(T_true) @ T
    relative = Rotation.from_matrix(E[:3, :3])
    assert rotation_error_deg(T, T_true) == pytest.approx(np.degrees(relative.magnitude()))
    assert translation_error(T, T_true) == pytest.approx(math.dist(T[:3, 3], T_true[:3, 3]))
    xi = np.concatenate([E[:3, 3], relative.as_quat(canonical=True)[:3]])
    wanted = math.sqrt(xi @ information @ xi / information[0, 0])
    assert information_rmse(T, T_true, information) == pytest.approx(wanted, rel=1e-9)
    cosine = (np.trace(T[:3, :3].T @ T_true[:3, :3]) - 1) / 2  # the papers' form
    assert rotation_error_deg(T, T_true) == pytest.approx(
        np.degrees(np.arccos(np.clip(cosine, -1, 1))), abs=1e-5)


@pytest.mark.parametrize("degrees", [0, 1e-7, 1e-3, 5, 90, 179.9999, 180])
def test_angles_near_both_ends(degrees):
    T_true = random_motion(np.random.default_rng(3))
    turn = motion(np.radians(degrees) * np.array([0.6, 0, 0.8]))
    assert rotation_error_deg(T_true @ turn, T_true) == pytest.approx(degrees, rel=1e-6, abs=1e-12)


@given(SEEDS)
def test_the_true_motion_has_no_error(seed):
    T, _, information, rng = random_case(seed)
    T[:3, :3] += rng.uniform(-5e-4, 5e-4, (3, 3))  # as skew as the poses of 3DMatch
    assert rotation_error_deg(T, T) < 1e-9 and translation_error(T, T) == 0
    assert information_rmse(T, T, information) < 1e-9
    assert point_rmse(T, T, rng.normal(size=(9, 3))) == 0
    assert is_registered(T, T, information)


@given(SEEDS)
def test_a_pure_shift_is_its_length(seed):
    T_true, _, information, rng = random_case(seed)
    shift = rng.normal(size=3)
    T = T_true.copy()
    T[:3, 3] += shift
    information[:3, 3:] = information[3:, :3] = 0  # points around the origin
    assert information_rmse(T, T_true, information) == pytest.approx(np.linalg.norm(shift))
    assert translation_error(T, T_true) == pytest.approx(np.linalg.norm(shift))
    assert point_rmse(T, T_true, rng.normal(size=(9, 3))) == pytest.approx(np.linalg.norm(shift))


@pytest.mark.parametrize("angle, half", [(10, 5), (90, 45), (180, 90), (200, 80), (350, 5)])
def test_hand_made_rotation_errors(angle, half):
    information = np.diag([50.0, 50, 50, 200, 8, 2])
    T = motion((np.radians(angle), 0, 0))
    wanted = 2 * math.sin(math.radians(half))  # sqrt(200 / 50) |sin(angle / 2)|
    assert information_rmse(T, EYE, information) == pytest.approx(wanted)
    T = motion((0, np.radians(angle), 0), (0.3, 0, 0))
    wanted = math.hypot(0.3, 0.4 * math.sin(math.radians(half)))
    assert information_rmse(T, EYE, information) == pytest.approx(wanted)


def test_the_official_error_counts_a_small_rotation_half():
    points = np.random.default_rng(0).normal(size=(500, 3))
    T = motion((1e-4, 2e-4, -1e-4))
    official = information_rmse(T, EYE, information_of(points))
    assert official == pytest.approx(point_rmse(T, EYE, points) / 2, rel=1e-3)


@given(SEEDS)
def test_what_a_common_motion_of_a_frame_changes(seed):
    T, T_true, information, rng = random_case(seed)
    G, points = random_motion(rng), rng.normal(size=(20, 3))
    errors = (rotation_error_deg(T, T_true), translation_error(T, T_true),
              information_rmse(T, T_true, information), point_rmse(T, T_true, points))
    moved = (G @ T, G @ T_true)  # another target frame changes nothing
    assert errors == pytest.approx((
        rotation_error_deg(*moved), translation_error(*moved),
        information_rmse(*moved, information), point_rmse(*moved, points)), abs=1e-9)
    inverse = np.linalg.inv(G)  # another source frame changes neither angle nor point distances
    moved = (T @ inverse, T_true @ inverse)
    assert rotation_error_deg(*moved) == pytest.approx(errors[0], abs=1e-6)
    assert point_rmse(*moved, points @ G[:3, :3].T + G[:3, 3]) == pytest.approx(errors[3], abs=1e-9)


def test_another_source_frame_changes_the_other_two():
    T, T_true, information, rng = random_case(1)
    inverse = np.linalg.inv(random_motion(rng, 5.0))
    for error in (translation_error, lambda a, b: information_rmse(a, b, information)):
        assert abs(error(T @ inverse, T_true @ inverse) - error(T, T_true)) > 0.1


@pytest.mark.parametrize("T", [
    np.zeros((4, 4)), np.diag([1.0, 1, -1, 1]), np.diag([1.2, 1.2, 1.2, 1]), -np.eye(4),
    np.full((4, 4), np.nan), motion(shift=(np.inf, 0, 0)), np.ones((4, 4)),
], ids=["zeros", "mirror", "scale", "minus", "nan", "inf", "ones"])
def test_what_is_no_motion_never_counts(T):
    information = information_of(np.eye(3))
    assert rotation_error_deg(T, EYE) == translation_error(T, EYE) == math.inf
    assert information_rmse(T, EYE, information) == point_rmse(T, EYE, np.eye(3)) == math.inf
    body = registration.Body((0.0, 0.0, 0.0), 1.0)
    for rule in registration.RULES:
        assert not is_registered(T, EYE, information, rule=rule, body=body)
        assert is_registered(EYE, EYE, information, rule=rule, body=body)  # the control


def test_a_wrong_pose_fails_the_official_rule():
    information = information_of(np.random.default_rng(0).normal((0, 0, 2), 0.5, (400, 3)))
    for T in (motion(shift=(0.25, 0, 0)), motion((0, 0, 3.0)), motion((0.5, 0, 0))):
        assert not is_registered(T, EYE, information)
        assert not is_registered(np.linalg.inv(T), EYE, information)
    for T in (motion(shift=(0.15, 0, 0)), motion((0.0, 0, 0.05))):
        assert is_registered(T, EYE, information)


def test_information_of_zeros_is_a_failure():
    assert information_rmse(EYE, EYE, np.zeros((6, 6))) == math.inf
    assert not is_registered(EYE, EYE, np.zeros((6, 6)))
    table = recall_table([judge_pair(EYE, EYE, np.zeros((6, 6))),
                          judge_pair(EYE, EYE, np.eye(6)), judge_pair(None, EYE, np.eye(6))])
    assert table["num_unjudged"] == 1 and table["recall"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("rule, shift, degrees, right", [
    ("3dmatch", 0.2, 0, True), ("3dmatch", 0.2001, 0, False),
    ("indoor", 0.29, 14.9, True), ("indoor", 0.31, 0, False), ("indoor", 0, 15.1, False),
    ("indoor", 0.3, 0, False),
    ("kitti", 1.99, 4.9, True), ("kitti", 2.0, 0, False), ("kitti", 0, 5.1, False),
    ("kitti-strict", 0.59, 4.9, True), ("kitti-strict", 0.61, 0, False),
])
def test_bounds_of_the_rules(rule, shift, degrees, right):
    T = motion((0, 0, np.radians(degrees)), (shift, 0, 0))
    assert is_registered(T, EYE, np.diag([9.0, 9, 9, 1, 1, 1]), rule=rule) is right


def test_errors_of_use():
    with pytest.raises(UnknownNameError, match="did you mean kitti"):
        is_registered(EYE, EYE, rule="kiti")
    with pytest.raises(InputError, match="needs an information matrix"):
        is_registered(EYE, EYE)
    for call in (lambda: rotation_error_deg(np.eye(3), EYE), lambda: translation_error(EYE, [1]),
                 lambda: information_rmse(EYE, EYE, np.eye(4)),
                 lambda: inlier_ratio(np.zeros((2, 3)), np.zeros((3, 3)), EYE)):
        with pytest.raises(ShapeError) as caught:
            call()
        assert caught.value.hint


def test_inlier_ratio_by_hand():
    T = motion((0, 0, np.pi / 2), (1, 0, 0))  # (x, y, z) -> (1 - y, x, z)
    source = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 3], [5, 5, 5]])
    target = np.array([[1.0, 1, 0], [-1, 0.0999, 0], [1, 0.1, 3], [0, 0, 0]])
    assert inlier_ratio(source, target, T) == 0.5  # exactly 0.1 m is out
    assert inlier_ratio(source, target, T, radius=0.11) == 0.75
    assert inlier_ratio(source, target, np.linalg.inv(T)) == 0
    assert inlier_ratio(source[:0], target[:0], T) == 0


def test_feature_matching_recall_is_strict():
    assert feature_matching_recall([0.05, 0.0501, 0.9, 0.0]) == 0.5
    assert feature_matching_recall([0.1, 0.3], threshold=0.2) == 0.5
    assert math.isnan(feature_matching_recall([]))


def result(scene="a", right=True, **more):
    return PairResult(scene, right, **{"rre_deg": 1.0, "rte": 0.1} | more)


def of_shares(shares):
    """Results with these shares of registered pairs a scene: (share, pairs)."""
    return [result(f"s{s}", k < round(share * count)) for s, (share, count) in enumerate(shares)
            for k in range(count)]


@pytest.mark.parametrize("recalls, counts, scenes, pairs, tolerance", [
    ((0.964, 1.000, 0.761, 0.978, 0.897, 0.846, 0.902, 0.800),  # CoFiNet, 3DMatch
     (449, 106, 159, 182, 78, 26, 234, 45), 0.894, 0.920, 1e-3),
    ((0.765, 0.638, 0.649, 0.813, 0.599, 0.634, 0.538, 0.739),  # CoFiNet, 3DLoMatch: its code
     (523, 282, 222, 209, 137, 41, 236, 69), 0.672, 0.686, 1e-3),  # leaves out 7 pairs
    ((0.656, 0.496, 0.572, 0.689, 0.540, 0.610, 0.407, 0.377),  # Predator, 3DLoMatch
     (523, 282, 222, 209, 137, 41, 236, 69), 0.543, 0.567, 1e-3),
])
def test_published_averages(recalls, counts, scenes, pairs, tolerance):
    table = recall_table(of_shares(zip(recalls, counts, strict=True)))
    assert table["scene_mean_recall"] == pytest.approx(scenes, abs=tolerance)
    assert table["recall"] == pytest.approx(pairs, abs=tolerance)
    assert table["recall_by_scene"]["s0"] == pytest.approx(recalls[0], abs=tolerance)
    if scenes == 0.894:
        assert table["scene_std_recall"] == pytest.approx(0.081, abs=tolerance)


def test_a_table_by_hand():
    table = recall_table([
        result("a", True, rre_deg=1, rte=0.1, overlap=0.1, verdict="trusted", inlier_ratio=0.5),
        result("a", True, rre_deg=3, rte=0.3, overlap=0.29, verdict="suspect", inlier_ratio=0.05),
        result("a", False, rre_deg=90, rte=2, overlap=0.3, verdict="trusted", inlier_ratio=0.0),
        result("a", False, rre_deg=90, rte=2, overlap=1.0, verdict="failed", inlier_ratio=0.01),
        result("b", True, rre_deg=2, rte=0.4, overlap=None, verdict="trusted", inlier_ratio=0.9),
        result("b", True, rre_deg=0, rte=0, consecutive=True, verdict="failed", inlier_ratio=0.1),
    ])
    json.dumps(table, allow_nan=False)
    assert (table["num_pairs"], table["num_counted"], table["num_unjudged"]) == (6, 5, 0)
    assert table["recall"] == 0.6 and table["recall_by_scene"] == {"a": 0.5, "b": 1.0}
    assert table["scene_mean_recall"] == 0.75 and table["scene_std_recall"] == 0.25
    assert table["rre_deg_median"] == 2 and table["rte_median"] == pytest.approx(0.3)
    assert table["rre_deg_scene_mean"] == 2 and table["rte_scene_mean"] == pytest.approx(0.3)
    assert table["recall_by_overlap"] == {
        "0.1-0.2": {"pairs": 1, "recall": 1}, "0.2-0.3": {"pairs": 1, "recall": 1},
        "0.3-0.5": {"pairs": 1, "recall": 0}, "0.7-1": {"pairs": 1, "recall": 0}}
    assert table["verdict_precision"] == pytest.approx(2 / 3)
    assert table["verdict_recall"] == pytest.approx(2 / 3)
    assert table["inlier_ratio"] == pytest.approx((0.14 + 0.5) / 2)  # consecutive ones as well
    assert table["feature_matching_recall"] == pytest.approx((0.25 + 1) / 2)


def test_what_is_undefined_is_none():
    table = recall_table([result(right=False)])
    json.dumps(table, allow_nan=False)
    assert table["recall"] == 0
    for key in ("rre_deg_median", "rte_median", "rre_deg_scene_mean", "verdict_precision",
                "verdict_recall", "inlier_ratio", "feature_matching_recall"):
        assert table[key] is None
    assert table["recall_by_overlap"] == {}
    assert recall_table([result(verdict="failed")])["verdict_recall"] == 0
    assert recall_table([result(verdict="failed")])["verdict_precision"] is None


def test_tables_that_cannot_be():
    for results in ([], [result(consecutive=True)]):
        with pytest.raises(InputError, match="pairs counts"):
            recall_table(results)
    with pytest.raises(InputError, match="verdict 'sure'"):
        recall_table([result(verdict="sure")])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1), st.randoms())
def test_the_order_of_the_pairs_does_not_matter(pairs, random):
    results = [result(scene, right) for scene, right in pairs]
    table = recall_table(results)
    random.shuffle(results)
    assert recall_table(results) == table
    assert table["recall"] == np.mean([right for _, right in pairs])


def test_judging_a_pair():
    T_true = random_motion(np.random.default_rng(5))
    T = T_true @ motion(shift=(0.1, 0, 0))
    judged = judge_pair(T, T_true, np.eye(6), scene="a", overlap=0.5, verdict="trusted")
    assert judged.registered and judged.rmse == pytest.approx(0.1)
    assert (judged.scene, judged.overlap, judged.verdict) == ("a", 0.5, "trusted")
    assert judge_pair(T, T_true, rule="kitti").rmse is None
    nothing = judge_pair(None, T_true, np.eye(6), consecutive=True)
    assert not nothing.registered and nothing.rre_deg == math.inf and nothing.consecutive
    with pytest.raises(UnknownNameError):
        judge_pair(None, T_true, rule="none")


def test_signatures_tell_the_shapes():
    checked = {name: jaxtyped(typechecker=beartype)(getattr(registration, name))
               for name in ("rotation_error_deg", "translation_error", "information_rmse",
                            "point_rmse", "is_registered", "inlier_ratio", "judge_pair")}
    points = np.zeros((5, 3))
    assert checked["rotation_error_deg"](EYE, EYE) == checked["translation_error"](EYE, EYE) == 0
    assert checked["information_rmse"](EYE, EYE, np.eye(6)) == 0
    assert checked["point_rmse"](EYE, EYE, points) == 0
    assert checked["inlier_ratio"](points, points, EYE) == 1
    assert checked["is_registered"](EYE, EYE, None, rule="kitti")
    assert checked["judge_pair"](None, EYE).registered is False
