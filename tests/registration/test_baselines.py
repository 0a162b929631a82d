"""Methods to compare with: the pose is found, twice the same, and what is missing is said."""

import functools
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from helpers.surfaces import body_view, motion, moved, pose_error

from pcinv.errors import DependencyError, UnknownNameError
from pcinv.registration.baselines import BASELINES, baseline_poses
from pcinv.registration.prepare import VOXEL, Prepared, prepare, to_prepared
from pcinv.registration.scale import choose_voxel
from pcinv.registration.search import Matched, match
from pcinv.registration.sight import sights

OPEN3D = ("ransac", "fgr")


@pytest.fixture(params=BASELINES)
def method(request):
    if request.param == "kiss":
        pytest.importorskip("kiss_matcher", reason="kiss_matcher is not installed")
    else:
        request.getfixturevalue("open3d")
    return request.param


@functools.cache
def seen(seed: int = 0) -> tuple[Prepared, Prepared, tuple[Matched, ...], np.ndarray]:
    """A body prepared from two sides, 20 degrees apart, its matches, and the pose between."""
    (a, pose_a), (b, pose_b) = (body_view(angle, seed=seed) for angle in (-10.0, 10.0))
    voxel = choose_voxel(a, b)
    source, target = next(sights((prepare(a, voxel), prepare(b, voxel)), "origin")).prepared()
    matches = match(source, target)
    return source, target, matches, to_prepared(pose_b @ np.linalg.inv(pose_a), source, target)


def matched(share: float, count: int = 400) -> tuple[Matched, np.ndarray]:
    """Matches in a room of 4, a share of them right to a tenth of a voxel, and their pose."""
    rng, pose = np.random.default_rng(0), motion(0)
    x = rng.uniform(-2, 2, (count, 3))
    y = moved(x, pose) + 0.1 * VOXEL * rng.normal(size=x.shape)
    wrong = rng.random(count) > share
    y[wrong] = moved(rng.uniform(-2, 2, (int(wrong.sum()), 3)), pose)
    return Matched(x, y), pose


@pytest.mark.parametrize("seed", [0, 1])
def test_the_pose_is_found(method, seed):
    source, target, matches, truth = seen(seed)
    (pose,) = baseline_poses(method, source, target, matches)
    angle, shift = pose_error(pose, truth)
    assert angle < 5 and shift < VOXEL, (angle, shift)


@pytest.mark.parametrize("method, share", [("ransac", 0.05), ("fgr", 0.1)])
def test_wrong_matches_are_withstood(open3d, method, share):
    matches, truth = matched(share)
    (pose,) = baseline_poses(method, *seen()[:2], [matches])
    angle, shift = pose_error(pose, truth)
    assert angle < 1 and shift < 0.5 * VOXEL, (angle, shift)
    assert np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() < 1e-14
    assert pose[3].tobytes() == np.array([0.0, 0, 0, 1]).tobytes()
    assert np.linalg.det(pose[:3, :3]) > 0


def test_two_runs_are_equal_bit_for_bit(method):
    """Whatever was drawn before, where another draw gives another answer."""
    source, target, matches, _ = seen()
    if method in OPEN3D:
        matches = (matched(0.05)[0],)
    found = []
    for draws in range(3):
        for _ in range(draws):
            baseline_poses("ransac", source, target, [matched(0.3)[0]])
        found.append(baseline_poses(method, source, target, matches)[0].tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("method", OPEN3D)
def test_another_seed_gives_another_answer(open3d, monkeypatch, method):
    """So the test above can tell."""
    found = set()
    for seed in range(4):
        monkeypatch.setattr("pcinv.registration.baselines.SEED", seed)
        (pose,) = baseline_poses(method, *seen()[:2], [matched(0.05)[0]])
        found.add(pose.tobytes())
    assert len(found) > 1


@pytest.mark.parametrize("method", OPEN3D)
def test_open3d_works_on_one_thread_and_is_left_as_it_was(open3d, monkeypatch, method):
    registration, utility = open3d.pipelines.registration, open3d.utility
    name, limits, seen_limits = f"registration_{method}_based_on_correspondence", [], []
    real, level = getattr(registration, name), utility.get_verbosity_level()

    def watched(*args, **kwargs):
        seen_limits.append(list(limits))
        return real(*args, **kwargs)

    monkeypatch.setattr(utility, "set_max_threads", limits.append)
    monkeypatch.setattr(utility, "get_max_threads", lambda: 7)
    monkeypatch.setattr(registration, name, watched)
    baseline_poses(method, *seen()[:2], [matched(0.5)[0]])
    assert seen_limits == [[1]] and limits == [1, 7]
    monkeypatch.setattr(registration, name, None)
    with pytest.raises(TypeError):
        baseline_poses(method, *seen()[:2], [matched(0.5)[0]])
    assert limits == [1, 7, 1, 7] and utility.get_verbosity_level() == level


@pytest.mark.parametrize("method", OPEN3D)
def test_a_match_of_two_supports_counts_once(open3d, method):
    matches, _ = matched(0.2)
    source, target = seen()[:2]
    (once,), (twice,) = (baseline_poses(method, source, target, [matches] * count)
                         for count in (1, 2))
    assert once.tobytes() == twice.tobytes()


@pytest.mark.parametrize("method", OPEN3D)
def test_few_matches(open3d, capfd, method):
    source, target = seen()[:2]
    matches, truth = matched(1.0, 3)
    for count in range(3):
        few = Matched(matches.x[:count], matches.y[:count])
        assert baseline_poses(method, source, target, [few]) == []
    assert baseline_poses(method, source, target, []) == []
    (pose,) = baseline_poses(method, source, target, [matches])
    angle, shift = pose_error(pose, truth)
    assert angle < 1 and shift < VOXEL, (angle, shift)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("method", OPEN3D)
def test_nothing_is_found_where_no_motion_is_rigid(open3d, capfd, method):
    x = matched(1.0)[0].x
    x = x[np.linalg.norm(x, axis=1) > 1]  # twice as large, no point keeps its place
    assert baseline_poses(method, *seen()[:2], [Matched(x, 2 * x)]) == []
    assert capfd.readouterr().out == ""


def test_kiss_leaves_alone_what_would_end_the_process():
    pytest.importorskip("kiss_matcher", reason="kiss_matcher is not installed")
    rng, full = np.random.default_rng(0), seen()[0]
    lone = prepare(rng.normal(size=(40, 3)), 1e-3)
    ten = np.concatenate([lone.points, full.points[:1] + 0.02 * rng.normal(size=(9, 3))])
    for points in (lone.points, lone.points[:1], lone.points[:0], ten):
        sparse = replace(full, points=points, view_point=None)
        assert baseline_poses("kiss", sparse, full, []) == []
        assert baseline_poses("kiss", full, sparse, []) == []


def test_kiss_takes_the_fewest_points_it_is_given():
    pytest.importorskip("kiss_matcher", reason="kiss_matcher is not installed")
    small = 0.4 * VOXEL * np.random.default_rng(1).normal(size=(10, 3))
    few = replace(seen()[0], points=small, view_point=None)
    (pose,) = baseline_poses("kiss", few, few, [])
    assert np.abs(pose - np.eye(4)).max() < 1e-6
    one = replace(few, points=0 * small)
    assert baseline_poses("kiss", one, one, []) == []


def test_kiss_sees_clouds_from_their_cameras(monkeypatch):
    """It turns normals to the origin of what it is given."""
    source, target = seen()[:2]
    source, target = replace(source, view_point=np.array([1.0, 2, 3])), replace(
        target, view_point=np.array([0.0, -1, 0.5]))
    turn, shift, handed = motion(4)[:3, :3], np.array([0.1, 0.2, 0.3]), []

    def matcher(config):
        def estimate(*clouds):
            handed.append((config, *(np.array(cloud) for cloud in clouds)))
            return SimpleNamespace(rotation=turn, translation=shift[:, None], valid=True)

        return SimpleNamespace(estimate=estimate, get_num_final_inliers=lambda: agreeing)

    module = ModuleType("kiss_matcher")
    module.KISSMatcher = matcher
    module.KISSMatcherConfig = lambda voxel, **options: (voxel, options)
    monkeypatch.setitem(sys.modules, "kiss_matcher", module)
    agreeing = 3
    (pose,) = baseline_poses("kiss", source, target, [])
    config, first, second = handed[0]
    assert config == (VOXEL, {"use_voxel_sampling": False})
    for points, cloud in ((first, source), (second, target)):
        assert points.dtype == np.float32
        assert np.abs(points + cloud.view_point - cloud.points).max() < 1e-6
    x = first[0] + source.view_point
    assert np.allclose(moved(x, pose), turn @ first[0] + shift + target.view_point)
    agreeing = 2
    assert baseline_poses("kiss", source, target, []) == []


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'ransack'.*ransac"):
        baseline_poses("ransack", *seen()[:2], [])


@pytest.mark.parametrize("method, module, hint", [
    ("kiss", "kiss_matcher", "pcinv[kiss]"), ("ransac", "open3d", "pcinv doctor"),
    ("fgr", "open3d", "pcinv doctor")])
def test_a_missing_package_is_named(monkeypatch, method, module, hint):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError, match=module) as caught:
        baseline_poses(method, *seen()[:2], [])
    assert caught.value.exit_code == 4 and hint in caught.value.hint
