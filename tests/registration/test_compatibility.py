"""Motions from mostly wrong matches: recovery, brute force, invariances, degenerate input."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from scipy.spatial.transform import Rotation

from pcinv.errors import InputError, LimitError, ShapeError
from pcinv.geometry.rigid import kabsch
from pcinv.geometry.rotation import geodesic_angle, is_rotation, random_rotation
from pcinv.registration import compatibility as cp
from pcinv.registration.compatibility import estimate_poses
from pcinv.registration.correspondences import mutual_matches
from pcinv.registration.sign_free import fpfh, neighbour_table

D = torch.float64
SHARED = Path(__file__).parents[3] / "shared/data/3DMatch"


def matches(seed, count=1000, share=0.05, noise=0.01):
    """`share` of the matches obey a motion, the others are random, in a cube of 3 m."""
    g = torch.Generator().manual_seed(seed)
    x, y = 3 * torch.rand(2, count, 3, generator=g, dtype=D)
    rotation = random_rotation(generator=g, dtype=D)
    translation = torch.randn(3, generator=g, dtype=D)
    y = (y - 1.5) @ rotation.T + rotation @ torch.full((3,), 1.5, dtype=D) + translation
    right = torch.randperm(count, generator=g)[: round(share * count)]
    error = noise * torch.randn(len(right), 3, generator=g, dtype=D)
    y[right] = x[right] @ rotation.T + translation + error
    return x, y, rotation, translation


def several_motions(count=6):
    """Matches of which 30, 28, ... obey one motion each."""
    parts = [matches(seed, 150, share=(30 - 2 * seed) / 150) for seed in range(count)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), parts


def errors(found, rotation, translation, at=1.5):
    """Angle in degrees and distance at the middle of the cube, of the first motion."""
    if not len(found.inliers):
        return 180.0, math.inf
    middle = torch.full((3,), at, dtype=D)
    moved = (found.rotations[0] - rotation) @ middle + found.translations[0] - translation
    angle = geodesic_angle(found.rotations[0], rotation)
    return math.degrees(angle), float(moved.norm())


def is_right(found, rotation, translation):
    angle, shift = errors(found, rotation, translation)
    return angle < 2 and shift < 0.05


def ransac(x, y, rounds=2000, seed=0):
    """Three random matches at a time: the estimator that this one replaces."""
    g = torch.Generator().manual_seed(seed)
    three = torch.randint(len(x), (rounds, 3), generator=g)
    T = kabsch(x[three], y[three]).T_target_source
    moved = x @ T[:, :3, :3].mT + T[:, None, :3, 3]
    best = ((moved - y).norm(dim=-1) < 0.1).sum(1).argmax()
    return cp.Hypotheses(T[best, None, :3, :3], T[best, None, :3, 3], torch.ones(1))


class TestRecovery:
    @pytest.mark.parametrize("share", [0.05, 0.02])
    def test_item_4_few_right_matches_suffice(self, share):
        assert all(is_right(estimate_poses(x, y, 0.1), r, t)
                   for x, y, r, t in (matches(seed, share=share) for seed in range(15)))

    def test_item_4_random_samples_do_not_find_them(self):
        cases = [matches(seed, share=0.02) for seed in range(5)]
        assert sum(is_right(ransac(x, y), r, t) for x, y, r, t in cases) <= 1

    @pytest.mark.parametrize("count", [3, 4, 5, 10, 29, 30, 31, 100])
    def test_right_matches_alone_at_any_number(self, count):
        x, y, r, t = matches(1, count, share=1.0, noise=0.0)
        found = estimate_poses(x, y, 0.1)
        assert found.inliers[0] == count
        angle, shift = errors(found, r, t)
        assert angle < 1e-5 and shift < 1e-6

    def test_item_1_three_pairs_are_fitted_exactly(self):
        for seed in range(20):
            x, y, r, t = matches(seed, 3, share=1.0, noise=0.0)
            weight = torch.tensor([[1.0, 2.0, 3.0]], dtype=D)
            for w in (weight, 1e-8 * weight, 1e8 * weight):  # weights are free of scale
                rotation, translation = cp._fit(w, cp._moments(x, y)[None])
                assert (rotation[0] - r).abs().max() < 1e-6
                assert (translation[0] - t).abs().max() < 1e-6

    @pytest.mark.parametrize("mirror", [[1.0, 1, -1], [1.0, 1, 0]], ids=["mirrored", "planar"])
    def test_item_1_never_a_reflection(self, mirror):
        x, _, _, _ = matches(2, 40)
        y = x * torch.tensor(mirror, dtype=D)
        rotation, _ = cp._fit(torch.ones(1, 40, dtype=D), cp._moments(x, y)[None])
        assert is_rotation(rotation, tolerance=1e-12)
        for rotation in estimate_poses(x, y, 0.5).rotations:
            assert is_rotation(rotation, tolerance=1e-12)

    def test_the_fit_is_that_of_the_rigid_motions(self, generator):
        x, y, _, _ = matches(3, 200, share=0.5)
        weight = torch.rand(7, 200, generator=generator, dtype=D)
        rotation, translation = cp._fit(weight, cp._moments(x, y)[None])
        fit = kabsch(x.expand(7, -1, -1), y.expand(7, -1, -1), weight).T_target_source
        assert (rotation - fit[:, :3, :3]).abs().max() < 1e-9
        assert (translation - fit[:, :3, 3]).abs().max() < 1e-9
        moved = x @ rotation.mT + translation[:, None] - y
        square = cp._squared_residuals(rotation, translation, cp._moments(x, y))
        assert (square - moved.square().sum(-1)).abs().max() < 1e-12

    def test_refined_to_the_least_squares_of_the_inliers(self):
        x, y, _, _ = matches(4)
        found = estimate_poses(x, y, 0.1)
        r, t = found.rotations[0], found.translations[0]
        residual = (x @ r.T + t - y).norm(dim=1)
        inlier = residual < 0.1
        assert int(inlier.sum()) == int(found.inliers[0]) >= 50
        weight = 1 / (1 + (residual[inlier] / 0.1).square())
        again = kabsch(x[inlier], y[inlier], weight).T_target_source
        assert (again[:3, :3] - r).abs().max() < 1e-3 and (again[:3, 3] - t).abs().max() < 3e-3


def test_item_5_second_order_is_counting():
    x, y, _, _ = matches(5, 50, share=0.3)
    d = 0.3
    difference = (torch.cdist(x, x) - torch.cdist(y, y)).abs()
    seeds = torch.tensor([3, 0, 49, 17])
    found = cp.second_order(difference, seeds, d)
    zeros = 0
    for row, i in enumerate(seeds.tolist()):
        for j in range(50):
            count = 0
            for m in range(50):
                near = [abs(math.dist(x[a], x[m]) - math.dist(y[a], y[m])) for a in (i, j)]
                count += max(near) < d / 2
            if abs(math.dist(x[i], x[j]) - math.dist(y[i], y[j])) >= d:
                count, zeros = 0, zeros + 1
            assert found[row, j] == count
    assert 0 < zeros < 4 * 50 and found.max() > 5


class TestInvariance:
    def test_order_of_the_matches_is_no_matter(self, generator):
        x, y, _ = several_motions()
        order = torch.randperm(len(x), generator=generator)
        there, again = estimate_poses(x, y, 0.1), estimate_poses(x[order], y[order], 0.1)
        assert len(there.inliers) > 1
        for a, b in zip(there, again, strict=True):
            assert torch.equal(a, b)

    def test_repeated_coordinates_and_order(self, generator):
        """On a lattice lengths tie, and matches share points."""
        x = torch.cartesian_prod(*[torch.arange(6.0)] * 3).to(D)
        y = x[torch.randperm(len(x), generator=generator)]
        y[:80] = x[:80].roll(1, 1) + 5
        order = torch.randperm(len(x), generator=generator)
        for a, b in zip(estimate_poses(x, y, 0.2), estimate_poses(x[order], y[order], 0.2),
                        strict=True):
            assert torch.equal(a, b)

    def test_item_18_scale(self):
        x, y, _ = several_motions()
        one = estimate_poses(x, y, 0.1)
        for scale in (1e-3, 3.0, 1e4):
            found = estimate_poses(scale * x, scale * y, scale * 0.1)
            assert torch.equal(found.inliers, one.inliers)
            assert (found.rotations - one.rotations).abs().max() < 1e-4
            assert (found.translations / scale - one.translations).abs().max() < 1e-4

    def test_moving_a_cloud_moves_the_answer(self, generator):
        x, y, _ = several_motions()
        one = estimate_poses(x, y, 0.1)
        r, shift = random_rotation(generator=generator, dtype=D), torch.tensor([9.0, -4, 2]).to(D)
        found = estimate_poses(x, y @ r.T + shift, 0.1)
        assert torch.equal(found.inliers, one.inliers)
        assert (found.rotations - r @ one.rotations).abs().max() < 1e-7
        assert (found.translations - one.translations @ r.T - shift).abs().max() < 1e-7

    def test_swap_gives_the_inverse(self):
        for seed in range(5):
            x, y, r, t = matches(seed)
            back = estimate_poses(y, x, 0.1)
            rotation, translation = back.rotations[:1].mT, -(back.translations[0] @
                                                             back.rotations[0])[None]
            assert is_right(cp.Hypotheses(rotation, translation, back.inliers[:1]), r, t)

    def test_far_from_the_origin_and_in_float32(self):
        x, y, r, t = matches(9)
        far = torch.tensor([5e5, -4e6, 100.0], dtype=D)
        found = estimate_poses(x + far, y + far, 0.1)
        middle = far + 1.5
        moved = found.rotations[0] @ middle + found.translations[0] - far
        assert (moved - r @ (middle - far) - t).norm() < 0.05
        single = estimate_poses(x.float(), y.float(), 0.1)
        assert single.rotations.dtype == D and is_right(single, r, t)

    def test_autocast_changes_nothing(self):
        x, y, _, _ = matches(10, 300)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = estimate_poses(x, y, 0.1)
        assert torch.equal(inside.rotations, estimate_poses(x, y, 0.1).rotations)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_cuda_agrees(self):
        for seed in range(5):
            x, y, r, t = matches(seed, share=0.02)
            found = estimate_poses(x.cuda(), y.cuda(), 0.1)
            assert is_right(cp.Hypotheses(*(v.cpu() for v in found)), r, t)


def assert_distinct(found, middle, d=0.1):
    assert len(found.inliers)
    for i, j in itertools.combinations(range(len(found.inliers)), 2):
        angle = math.degrees(geodesic_angle(found.rotations[i], found.rotations[j]))
        places = found.rotations @ middle + found.translations
        assert angle > 15 - 1e-6 or (places[i] - places[j]).norm() > 3 * d - 1e-9


class TestDistinct:
    def test_item_10_after_refinement(self):
        x, y, parts = several_motions()
        found = estimate_poses(x, y, 0.1)
        assert 6 <= len(found.inliers) <= 20 and (found.inliers.diff() <= 0).all()
        for i, (_, _, r, t) in enumerate(parts):
            assert is_right(cp.Hypotheses(*(v[i : i + 1] for v in found)), r, t)
        assert_distinct(found, x.mean(0))

    def test_item_10_repeating_the_matches_makes_no_rival(self):
        x, y, r, t = matches(12, 400, share=0.1)
        found = estimate_poses(x.repeat(3, 1), y.repeat(3, 1), 0.1)
        assert is_right(found, r, t) and found.inliers[0] >= 120
        assert (found.inliers[1:] < 0.8 * found.inliers[0]).all()
        assert_distinct(found, x.mean(0))

    def test_a_symmetric_box_has_its_two_poses(self, generator):
        half = torch.rand(200, 3, generator=generator, dtype=D) * torch.tensor([3.0, 2, 1])
        turn = torch.from_numpy(Rotation.from_euler("z", 180, degrees=True).as_matrix())
        x = torch.cat([half, half])
        y = torch.cat([half, (half - half.mean(0)) @ turn.T + half.mean(0)])
        found = estimate_poses(x, y, 0.1)
        assert found.inliers[:2].tolist() == [200, 200]
        angle = geodesic_angle(found.rotations[0], found.rotations[1])
        assert math.degrees(angle) == pytest.approx(180, abs=1)

    def test_number_of_poses_and_seeds(self):
        x, y, ((_, _, r, t), *_) = several_motions()
        assert len(estimate_poses(x, y, 0.1, num_poses=3).inliers) == 3
        assert len(estimate_poses(x, y, 0.1, max_seeds=1).inliers) <= 1
        assert is_right(estimate_poses(x, y, 0.1, max_seeds=100), r, t)


class TestRealPairs:
    """Fragments of an RGB-D scene: features, matches and motions together."""

    def test_item_15_known_pairs_both_ways(self, fragments):
        pairs = ground_truth("7-scenes", [(0, 3), (0, 12), (1, 10), (2, 14)])
        assert len(pairs) == 4
        for i, j, expected in pairs:
            target, source = fragments("7-scenes", i), fragments("7-scenes", j)
            a, b = describe(source), describe(target)
            m = mutual_matches(a, b)
            x = torch.from_numpy(source.points)[m.source_index]
            y = torch.from_numpy(target.points)[m.target_index]
            there, back = estimate_poses(x, y, 0.1), estimate_poses(y, x, 0.1)
            rotation, translation = expected[:3, :3], expected[:3, 3]
            middle = torch.from_numpy(source.points).mean(0)
            for r, t in ((there.rotations[0], there.translations[0]),
                         (back.rotations[0].T, -back.rotations[0].T @ back.translations[0])):
                assert math.degrees(geodesic_angle(r, rotation)) < 5
                assert (r @ middle + t - rotation @ middle - translation).norm() < 0.15
            assert_distinct(there, x.mean(0))


def ground_truth(scene, pairs):
    (path,) = (SHARED / "benchmarks/3DMatch").glob(f"{scene}*/gt.log")
    rows, found = path.read_text().split("\n"), []
    for k in range(0, len(rows) - 4, 5):
        i, j = map(int, rows[k].split()[:2])
        if (i, j) in pairs:
            values = [[float(v) for v in row.split()] for row in rows[k + 1 : k + 5]]
            found.append((i, j, torch.tensor(values, dtype=D)))
    return found


def describe(cloud):
    features = fpfh(cloud.points, cloud.normals, neighbour_table(cloud.points, [(0.25, 100)]))[0]
    return torch.nn.functional.normalize(torch.from_numpy(features), dim=1).float()


class TestHostile:
    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_fewer_than_three(self, count):
        found = estimate_poses(torch.rand(count, 3), torch.rand(count, 3), 0.1)
        assert [tuple(v.shape) for v in found] == [(0, 3, 3), (0, 3), (0,)]
        assert found.rotations.dtype == D and found.inliers.dtype == torch.int64

    @pytest.mark.parametrize("name", ["one place", "line", "one target", "pairs"])
    def test_nothing_that_fixes_a_rotation(self, name):
        x = torch.ones(40, 3, dtype=D)
        if name == "line":
            x = torch.linspace(0, 5, 40, dtype=D)[:, None] * torch.tensor([1.0, 2, 2]).to(D)
        if name == "pairs":
            x[20:] += 1
        y = torch.zeros_like(x) if name == "one target" else x + 0.5
        assert len(estimate_poses(x, y, 0.1).inliers) == 0

    def test_all_wrong(self):
        x, y, _, _ = matches(14, 300, share=0.0)
        assert len(estimate_poses(x, 50 * y, 0.01).inliers) == 0  # no two lengths agree
        found = estimate_poses(x, y, 0.1)  # some agree by chance
        assert (found.inliers < 20).all()

    def test_bad_input(self):
        good = torch.rand(5, 3)
        for x, y, d, error, text in (
            (good, good[:4], 0.1, ShapeError, "row i"), (good[:, :2], good, 0.1, ShapeError, "x"),
            (good, good / 0, 0.1, InputError, "finite"), (good, good, 0.0, InputError, "distance"),
            (good, good, math.nan, InputError, "distance"),
            (good, 1e12 * good, 0.1, InputError, "apart"),
            (torch.rand(9000, 3), torch.rand(9000, 3), 0.1, LimitError, "9000"),
        ):
            with pytest.raises(error, match=text):
                estimate_poses(x, y, d)
        for name in ("max_seeds", "num_poses"):
            with pytest.raises(InputError, match=name):
                estimate_poses(good, good, 0.1, **{name: 0})
