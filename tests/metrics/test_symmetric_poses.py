"""Poses of symmetric bodies: which are right, and that the errors do not depend on frames."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcinv.errors import InputError
from pcinv.metrics.registration import (
    Body,
    Symmetry,
    body_errors,
    is_registered,
    judge_pair,
    recall_table,
)
from pcinv.metrics.symmetry import about, body_rotation_error_deg, symmetry_turns

RNG = np.random.default_rng(0)
X, Y, Z = (tuple(axis) for axis in np.eye(3).tolist())
KINDS = {
    "none": Symmetry(), "two": Symmetry(2, Z), "six with flip": Symmetry(6, Z, X),
    "any": Symmetry(0, Z), "any with flip": Symmetry(0, Z, X), "ball": Symmetry(ball=True),
}


def motion(rng=RNG, angle=None, shift=2.0):
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=rng.integers(1 << 30)).as_matrix() if angle is None \
        else Rotation.from_rotvec(np.radians(angle) * rng.normal(size=3)).as_matrix()
    T[:3, 3] = rng.uniform(-shift, shift, 3)
    return T


def turn_about(R, centre):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, centre - R @ centre
    return T


@pytest.mark.parametrize("name", KINDS)
def test_the_turns_of_a_body_are_right_and_others_are_not(name):
    symmetry, centre = KINDS[name], np.array([3.0, -1, 4])
    body, truth = Body(tuple(centre), 2.0, symmetry), motion()
    turns = symmetry_turns(symmetry)
    assert len(turns) == {"none": 1, "two": 2, "six with flip": 12, "any": 12,
                          "any with flip": 24, "ball": 36}[name]
    for S in turns:
        assert np.allclose(S @ S.T, np.eye(3)) and np.linalg.det(S) > 0
        T = truth @ turn_about(S, centre)
        rre, shift = body_errors(T, truth, body)
        assert rre < 1e-5 and shift < 1e-12
        assert is_registered(T, truth, rule="objects", body=body)
    if name != "ball":
        T = truth @ turn_about(about(X, np.radians(40)), centre)
        assert body_errors(T, truth, body)[0] == pytest.approx(40)
        assert not is_registered(T, truth, rule="objects", body=body)
    other = truth @ turn_about(about(Z, np.radians(25)), centre)
    expected = {"none": 25, "two": 25, "six with flip": 25}.get(name, 0)
    assert body_errors(other, truth, body)[0] == pytest.approx(expected, abs=1e-6)


def test_only_a_flip_makes_upside_down_right():
    upside = about(X, np.pi)
    assert body_rotation_error_deg(upside, np.eye(3), Symmetry(0, Z)) == pytest.approx(180)
    assert body_rotation_error_deg(upside, np.eye(3), Symmetry(0, Z, Y)) == pytest.approx(0)
    assert body_rotation_error_deg(upside, np.eye(3), Symmetry(4, Z)) > 90
    assert body_rotation_error_deg(upside, np.eye(3), Symmetry(4, Z, X)) < 1e-6


@pytest.mark.parametrize("angle, share, right", [
    (0, 0.04, True), (0, 0.06, False), (9, 0.0, True), (11, 0.0, False)])
def test_the_bounds_of_the_rule(angle, share, right):
    """At the centre of the body, wherever the origin of the frame is; in any units."""
    for unit in (1.0, 1000.0):
        centre = unit * np.array([5.0, 0, 0])
        body = Body(tuple(centre), unit * 2.0)
        T = turn_about(about(Y, np.radians(angle)), centre)
        T[:3, 3] += (0, 0, share * unit * 2)
        assert is_registered(T, np.eye(4), rule="objects", body=body) is right


@pytest.mark.parametrize("name", KINDS)
def test_errors_do_not_depend_on_the_frames(name):
    body, T, truth = Body((1.0, 2, 3), 1.5, KINDS[name]), motion(angle=20, shift=0.1), np.eye(4)
    A, B = motion(), motion()
    centre = A[:3, :3] @ np.array(body.centre) + A[:3, 3]
    laid = Body(tuple(centre), body.diagonal, body.symmetry.turned(A[:3, :3]))
    back = np.linalg.inv(A)
    assert np.allclose(body_errors(T, truth, body), body_errors(B @ T @ back, B @ truth @ back,
                                                                laid), atol=1e-5)


def test_what_is_no_motion_has_no_errors():
    body = Body((0.0, 0, 0), 1.0, KINDS["ball"])
    assert body_errors(np.zeros((4, 4)), np.eye(4), body) == (np.inf, np.inf)
    assert not is_registered(np.full((4, 4), np.nan), np.eye(4), rule="objects", body=body)
    with pytest.raises(InputError, match="needs the body"):
        is_registered(np.eye(4), np.eye(4), rule="objects")


def test_bodies_as_plain_values():
    for symmetry in KINDS.values():
        body = Body((1.0, 2, 3), 0.5, symmetry, hidden=not symmetry)
        told = json.loads(json.dumps(body.to_dict()))
        assert Body.from_dict(told) == body and told["symmetric"] == bool(symmetry)
        assert body.kind == ("symmetric" if symmetry else "hidden")
    assert Body((0.0, 0, 0), 1.0).kind == "plain"
    for damage in ({"diagonal": 0}, {"axis": [1, 2]}, {"centre": [1, 2, float("nan")]},
                   {"order": -1}, {"flip": "x"}):
        with pytest.raises(InputError, match="body"):
            Body.from_dict({**told, **damage})
    with pytest.raises(InputError):
        Body.from_dict({})


def test_the_table_tells_the_kinds_apart():
    plain, round_ = Body((0.0, 0, 0), 1.0), Body((0.0, 0, 0), 1.0, KINDS["any"])
    good, bad = np.eye(4), turn_about(about(Z, 1.0), np.zeros(3))
    rows = [judge_pair(T, np.eye(4), rule="objects", body=body, overlap=0.4, verdict=verdict,
                       called_open=called)
            for T, body, verdict, called in (
                (good, plain, "trusted", False), (bad, plain, "trusted", False),
                (bad, round_, "suspect", True), (None, round_, "failed", False))]
    assert recall_table(rows)["by_kind"] == {
        "plain": {"0.3-0.5": {"pairs": 2, "recall": 0.5, "not_trusted": 0, "called_open": 0,
                              "trusted_wrong": 1}},
        "symmetric": {"0.3-0.5": {"pairs": 2, "recall": 0.5, "not_trusted": 1, "called_open": 0.5,
                                  "trusted_wrong": 0}}}
    assert recall_table([judge_pair(good, good, rule="kitti")])["by_kind"] == {}
