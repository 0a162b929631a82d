"""The scale between clouds of unknown units: found, refined, and doubted where it should be."""

from pathlib import Path

import numpy as np
import pytest
from helpers.clouds import axis_angle
from helpers.surfaces import body, box, motion, moved, plane, pose_error, two_views

import pcinv
from pcinv.errors import InputError, ShapeError
from pcinv.registration.similarity import candidate_scales, estimate_scale
from pcinv.registration.similarity_fit import fit_similarity, refine_similarity, scale_of

SAMPLES = Path(__file__).parents[2] / "data/samples"


def scaled(pose, factor):
    """The similarity from clouds divided by `factor` that `pose` is between the clouds."""
    pose = np.array(pose)
    pose[:3, :3] *= factor
    return pose


def rigid(T):
    pose = np.array(T)
    pose[:3, :3] /= scale_of(T)
    return pose


def bent(T, centre, factor, angle_deg):
    """A similarity beside T: larger by a factor, and turned, about a point of the source."""
    change = np.eye(4)
    change[:3, :3] = factor * axis_angle(np.array([1.0, 2, 3]), np.radians(angle_deg))
    change[:3, 3] = centre - change[:3, :3] @ centre
    return T @ change


def test_matches_give_their_similarity():
    rng = np.random.default_rng(0)
    x, T = rng.normal(size=(20, 3)), scaled(motion(4, 10.0), 0.3)
    y = x @ T[:3, :3].T + T[:3, 3]
    weight = np.where(np.arange(20) < 15, 1.0, 0.0)
    y[15:] += 5  # without weight
    assert np.abs(fit_similarity(x, y, weight) - T).max() < 1e-12
    y[:15] += 0.1 * rng.normal(size=(15, 3))
    there, back = fit_similarity(x, y, weight), fit_similarity(y, x, weight)
    assert np.abs(there @ back - np.eye(4)).max() < 1e-12 and abs(scale_of(there) - 0.3) < 0.03
    mirrored = fit_similarity(x, x * [1, 1, -1], np.ones(20))
    assert np.linalg.det(mirrored[:3, :3]) > 0
    assert scale_of(fit_similarity(np.ones((4, 3)), x[:4], np.ones(4))) == 1


@pytest.mark.parametrize("factor, angle_deg", [(1.03, 2.0), (0.97, 1.0)])
def test_surfaces_give_the_scale(factor, angle_deg):
    rng = np.random.default_rng(1)
    a, b = (body(20_000, seed=0)[part] for part in (slice(0, 8000), slice(8000, 20_000)))
    T = scaled(motion(7, 3.0), 40.0)
    target = (b + 0.004 * rng.normal(size=b.shape)) @ T[:3, :3].T + T[:3, 3]
    source = a + 0.004 * rng.normal(size=a.shape)
    found = refine_similarity(source, target, bent(T, a.mean(0), factor, angle_deg))
    assert abs(found.scale / 40 - 1) < 0.002 and found.uncertainty < 0.002
    assert found.scale == pytest.approx(scale_of(found.T_target_source), rel=1e-12)
    assert pose_error(rigid(found.T_target_source), rigid(T))[0] < 0.3
    # from the other side it is the inverse
    back = refine_similarity(target, source, np.linalg.inv(found.T_target_source))
    assert back.scale * found.scale == pytest.approx(1, abs=0.001)


def test_noise_makes_no_cloud_smaller():
    """Points of the source alone, held against the target, would shrink it into the noise."""
    rng = np.random.default_rng(2)
    points = body(30_000, seed=1)
    source, target = points[:15_000], points[15_000:]
    source = source + 0.03 * rng.normal(size=source.shape)
    target = target + 0.03 * rng.normal(size=target.shape)
    assert abs(refine_similarity(source, target, np.eye(4)).scale - 1) < 0.004


def test_a_plane_has_no_scale():
    a, b = plane(4000, 0), plane(4000, 1)
    start = scaled(np.eye(4), 1.01)
    found = refine_similarity(a, b, start)
    assert np.isinf(found.uncertainty) and np.array_equal(found.T_target_source, start)
    lifted = np.eye(4)
    lifted[2, 3] = 1
    two = [np.concatenate([side, moved(side, lifted)]) for side in (a, b)]
    found = refine_similarity(*two, bent(np.eye(4), two[0].mean(0), 1.01, 0))
    assert abs(found.scale - 1) < 0.003 and found.uncertainty < 0.01  # two have their distance
    far = refine_similarity(a, b + 100, np.eye(4))
    assert np.isinf(far.uncertainty) and far.scale == 1


def test_the_uncertainty_grows_with_the_noise():
    told = []
    for noise in (0.002, 0.02):
        rng = np.random.default_rng(3)
        points = body(12_000, seed=0)
        points += noise * rng.normal(size=points.shape)
        found = refine_similarity(points[::2], points[1::2], np.eye(4))
        told.append(found.uncertainty)
        assert abs(found.scale - 1) < max(5 * found.uncertainty, 0.001)
    assert told[1] > 1.5 * told[0] > 0


@pytest.mark.parametrize("factor", [0.001, 2.6])
def test_two_views_of_any_units(factor):
    views = two_views(count=2500)
    found = estimate_scale(views.source / factor, views.target)
    assert abs(found.scale / factor - 1) < 0.02
    assert found.scale == pytest.approx(scale_of(found.T_target_source), rel=1e-9)
    angle, shift = pose_error(rigid(found.T_target_source), views.T_target_source)
    assert angle < 1.5 and shift < 0.05
    assert found.runner_up < 0.5 and found.uncertainty < 0.01


@pytest.mark.parametrize("name, factor", [("room", 0.37), ("part", 25.4)])
def test_the_sample_pairs(name, factor):
    a, b = (pcinv.read(SAMPLES / f"{name}_{which}.ply").absolute() for which in "ab")
    truth = np.loadtxt(SAMPLES / f"{name}_truth.txt")
    found = estimate_scale(a / factor, b)
    assert abs(found.scale / factor - 1) < 0.005
    angle, shift = pose_error(rigid(found.T_target_source), truth)
    assert angle < 1 and shift < 0.01 * np.ptp(b, axis=0).max()
    assert found.runner_up < 0.5


def test_units_change_nothing_else():
    """All decisions are the same; 1024 and not 1000, for that makes no rounding error."""
    views = two_views(count=1500)
    one, other = (estimate_scale(views.source / unit, views.target) for unit in (1.0, 2.0**10))
    assert other.scale == pytest.approx(one.scale * 2**10, rel=1e-9)
    assert other.inliers == one.inliers and other.score == pytest.approx(one.score, rel=1e-6)
    assert other.uncertainty == pytest.approx(one.uncertainty, rel=1e-6)
    assert np.abs(one.T_target_source[:3, 3] - other.T_target_source[:3, 3]).max() < 1e-9


def test_what_does_not_meet_has_a_low_score():
    views = two_views(count=2000)
    right = estimate_scale(views.source, 30 * views.target)
    wrong = estimate_scale(views.source, 30 * box(2000, 0))
    assert abs(right.scale / 30 - 1) < 0.02
    assert wrong.score < 0.5 * right.score and wrong.runner_up > right.runner_up


def test_the_scales_that_are_tried():
    source = body(3000)
    tried = candidate_scales(source, 7 * source)
    ratios = tried[1:] / tried[:-1]
    assert np.allclose(ratios, ratios[0]) and 1.05 < ratios[0] < 1.2  # one grid, no holes
    assert tried[0] <= 7 / 4 and tried[-1] >= 7 * 4 and np.abs(np.log(tried / 7)).min() < 1e-9
    # a thing and 64 like it: the extent is 8 or more times as large, the spacing is the same
    places = np.stack(np.meshgrid(range(16), range(4), [0]), -1).reshape(-1, 1, 3)
    many = (source + 3 * places).reshape(-1, 3)
    tried = candidate_scales(source, many)
    assert np.abs(np.log(tried)).min() < np.log(1.07)
    assert tried[-1] > 4 * 8


@pytest.mark.parametrize("source, error", [
    (np.zeros((30, 2)), ShapeError), (np.zeros(30), ShapeError), (np.ones((5, 3)), InputError),
    (np.ones((50, 3)), InputError), (np.full((50, 3), np.nan), InputError),
    (np.array([["a", "b", "c"]] * 20), ShapeError)])
def test_what_is_no_cloud_is_named(source, error):
    for pair, name in (((source, body(200)), "source"), ((body(200), source), "target")):
        with pytest.raises(error) as caught:
            estimate_scale(*pair)
        assert name in caught.value.where and caught.value.hint
