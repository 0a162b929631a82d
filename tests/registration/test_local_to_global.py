"""Motions from groups of correspondences: against a loop, exactness, and what must not help."""

import numpy as np
import pytest
import torch
from helpers.clouds import haar

from pcinv.errors import InputError, ShapeError
from pcinv.registration.local_to_global import LocalToGlobal, local_to_global


def scene(groups=12, size=8, right=4, noise=0.0, seed=0):
    """Groups of which `right` are right; the others are wrong in themselves."""
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = haar(rng), rng.normal(size=3)
    x = rng.uniform(-1, 1, (groups, 1, 3)) + 0.2 * rng.normal(size=(groups, size, 3))
    y = x @ pose[:3, :3].T + pose[:3, 3] + noise * rng.normal(size=x.shape)
    for g in range(right, groups):
        y[g] = y[g] @ haar(rng).T + rng.normal(size=3)
    group = np.repeat(np.arange(groups), size)
    confidence = rng.uniform(0.1, 1, groups * size)
    made = [torch.from_numpy(v) for v in (x.reshape(-1, 3), y.reshape(-1, 3), confidence, group)]
    return made, torch.from_numpy(pose)


def by_loop(x, y, weight, group, distance=0.1, rounds=5):
    """The published procedure, one weighted fit after the other by numpy."""
    x, y, weight, group = (t.numpy() for t in (x, y, weight, group))

    def fit(w):
        w = w / w.sum()
        a, b = (w[:, None] * x).sum(0), (w[:, None] * y).sum(0)
        u, _, vt = np.linalg.svd((w[:, None] * (x - a)).T @ (y - b))
        r = vt.T @ np.diag([1, 1, np.linalg.det(vt.T @ u.T)]) @ u.T
        return r, b - r @ a

    def near(r, t):
        return np.linalg.norm(x @ r.T + t - y, axis=1) < distance

    poses = [fit(weight * (group == g)) for g in np.unique(group) if (group == g).sum() >= 3]
    r, t = max(poses, key=lambda p: near(*p).sum())
    for _ in range(rounds):
        r, t = fit(weight * near(r, t))
    return r, t, near(r, t)


@pytest.mark.parametrize("seed", range(4))
def test_against_a_loop(seed):
    given, _ = scene(noise=0.02, seed=seed)
    r, t, near = by_loop(*given)
    got = local_to_global(*given)
    assert np.abs(got.T_target_source[:3, :3].numpy() - r).max() < 1e-9
    assert np.abs(got.T_target_source[:3, 3].numpy() - t).max() < 1e-9
    assert np.array_equal(got.inliers.numpy(), near)


@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_right_groups_are_found_exactly(dtype, bound):
    (x, y, w, group), pose = scene()
    got = local_to_global(x.to(dtype), y.to(dtype), w.to(dtype), group)
    assert isinstance(got, LocalToGlobal) and got.is_determined and got.rank == 3
    assert got.T_target_source.dtype == torch.float64
    assert float((got.T_target_source - pose).abs().max()) < bound
    assert got.inliers[:32].all() and got.group in range(4)


def test_one_fit_to_all_does_not_find_them():
    """Negative control: the groups are what makes it work."""
    (x, y, w, group), pose = scene()
    got = local_to_global(x, y, w, group * 0, refinements=5)
    assert got.group == 0 and float((got.T_target_source - pose).abs().max()) > 0.1


def test_motions_of_the_clouds_and_orders_change_nothing_else():
    given, _ = scene(noise=0.02)
    base, rng = local_to_global(*given), np.random.default_rng(7)
    a, b = np.eye(4), np.eye(4)
    for m in (a, b):
        m[:3, :3], m[:3, 3] = haar(rng), rng.normal(size=3)
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    x, y, w, group = given
    moved = local_to_global(x @ a[:3, :3].T + a[:3, 3], y @ b[:3, :3].T + b[:3, 3], w, group)
    expected = b @ base.T_target_source @ torch.linalg.inv(a)
    assert float((moved.T_target_source - expected).abs().max()) < 1e-9
    assert torch.equal(moved.inliers, base.inliers)
    p = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    names = torch.tensor([5, 40, 1, 0, 77, 6, 3, 2, 11, 8, 9, 4])
    other = local_to_global(x[p], y[p], w[p], names[group[p]])
    assert float((other.T_target_source - base.T_target_source).abs().max()) < 1e-9
    assert torch.equal(other.inliers, base.inliers[p]) and other.group == names[base.group]


def test_swapping_the_clouds_inverts_the_motion():
    (x, y, w, group), pose = scene()
    back = local_to_global(y, x, w, group).T_target_source
    assert float((back @ pose - torch.eye(4)).abs().max()) < 1e-9


def test_refinements_come_nearer():
    errors = []
    for seed in range(5):
        given, pose = scene(noise=0.02, seed=seed)
        errors.append([float((local_to_global(*given, refinements=r).T_target_source
                              - pose).abs().max()) for r in (0, 5)])
    rough, fine = np.mean(errors, axis=0)
    assert fine < 0.7 * rough


def test_a_mirror_image_gets_no_reflection():
    (x, y, w, group), _ = scene(right=12)
    got = local_to_global(x, y * torch.tensor([1.0, 1.0, -1.0]).double(), w, group)
    assert float(torch.linalg.det(got.T_target_source[:3, :3])) == pytest.approx(1, abs=1e-9)
    assert not got.inliers.all()


@pytest.mark.parametrize("what", ["none", "two", "a point", "a line", "no confidence"])
def test_what_determines_no_motion_says_so(what):
    (x, y, w, group), _ = scene(right=12)
    count = {"none": 0, "two": 2}.get(what, 20)
    x, y, w, group = x[:count], y[:count], w[:count], group[:count]
    if what == "a point":
        x, y = x * 0, y * 0 + 1
    elif what == "a line":
        x = torch.linspace(0, 1, 20).double()[:, None] * torch.tensor([1.0, 2, 3]).double()
        y = x + 1
    elif what == "no confidence":
        w = w * 0
    got = local_to_global(x, y, w, group)
    assert not got.is_determined and got.rank < 3 and torch.isfinite(got.T_target_source).all()


def test_without_a_group_of_three_all_are_fit_together():
    (x, y, w, _), pose = scene(right=12)
    got = local_to_global(x, y, w, torch.arange(len(x)))
    assert got.group == -1 and got.is_determined
    assert float((got.T_target_source - pose).abs().max()) < 1e-9


def test_parts_of_the_residuals_change_nothing(monkeypatch):
    from pcinv.registration import local_to_global as module

    given, _ = scene(noise=0.02)
    base = local_to_global(*given)
    monkeypatch.setattr(module, "_BLOCK", 1)
    assert torch.equal(local_to_global(*given).T_target_source, base.T_target_source)


def test_bad_arguments_are_named():
    (x, y, w, group), _ = scene()
    for error, where, call in (
        (ShapeError, "src", lambda: local_to_global(x[:, :2], y, w, group)),
        (ShapeError, "tgt", lambda: local_to_global(x, y[:3], w, group)),
        (InputError, "tgt", lambda: local_to_global(x, y * torch.nan, w, group)),
        (ShapeError, "confidence", lambda: local_to_global(x, y, w[:3], group)),
        (InputError, "confidence", lambda: local_to_global(x, y, -w, group)),
        (ShapeError, "group", lambda: local_to_global(x, y, w, group[:3])),
        (InputError, "group", lambda: local_to_global(x, y, w, group - 1)),
        (InputError, "group", lambda: local_to_global(x, y, w, group.double())),
        (InputError, "inlier_distance", lambda: local_to_global(x, y, w, group, inlier_distance=0)),
        (InputError, "refinements", lambda: local_to_global(x, y, w, group, refinements=-1)),
        (InputError, "least", lambda: local_to_global(x, y, w, group, least=2)),
    ):
        with pytest.raises(error) as caught:
            call()
        assert caught.value.where == where and caught.value.hint
