"""Corruptions: seeded, with the counts they promise, blind to the pose, safe on hostile clouds."""

import math

import pytest
import torch
from helpers.clouds import clouds
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.errors import InputError, ShapeError, UnknownNameError
from pcinv.geometry import corruptions as c
from pcinv.geometry.corruptions import CORRUPTIONS, Points, corrupt
from pcinv.geometry.transforms import normalize_unit_ball

KINDS = list(CORRUPTIONS)
LOSING = ("dropout", "partial", "density")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tagged(count=200, dtype=torch.float64):
    """A cloud in the unit ball whose part labels count the points, with its radii as normals."""
    xyz = torch.rand(count, 3, generator=seeded(9), dtype=torch.float64)
    xyz = normalize_unit_ball(xyz)[0].to(dtype)
    return Points(xyz, xyz / xyz.norm(dim=1, keepdim=True), torch.arange(count))


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_severity_zero_leaves_the_cloud_as_it_is(self, kind, dtype):
        points = tagged(dtype=dtype)
        for result in (corrupt(kind, points, 0.0, seeded()),
                       CORRUPTIONS[kind].apply(points, 0.0, seeded(), 1)):
            assert all(torch.equal(a, b) for a, b in zip(result, points, strict=True))

    def test_pure_and_seeded(self, kind, dtype):
        points, severity = tagged(dtype=dtype), CORRUPTIONS[kind].severities[2]
        before = Points(*(array.clone() for array in points))
        one, again, other = (corrupt(kind, points, severity, seeded(s)) for s in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(points, before, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
        assert not torch.equal(one.xyz, other.xyz)
        assert one.xyz.dtype == one.normal.dtype == dtype and one.part.dtype == torch.int64

    def test_in_the_unit_ball_again(self, kind, dtype, tol):
        for severity in CORRUPTIONS[kind].severities[1:]:
            xyz = corrupt(kind, tagged(dtype=dtype), severity, seeded()).xyz
            assert xyz.mean(0).norm() < tol and abs(xyz.norm(dim=1).max() - 1) < tol
            raw = CORRUPTIONS[kind].apply(tagged(dtype=dtype), severity, seeded(), 1).xyz
            assert torch.equal(normalize_unit_ball(raw)[0], xyz)

    def test_what_goes_along_is_optional_and_changes_nothing(self, kind):
        points, severity = tagged(), CORRUPTIONS[kind].severities[-1]
        whole = corrupt(kind, points, severity, seeded())
        alone = corrupt(kind, Points(points.xyz), severity, seeded())
        assert torch.equal(alone.xyz, whole.xyz) and alone.normal is None and alone.part is None
        assert len(whole.xyz) == len(whole.normal) == len(whole.part)

    def test_usual_severities_rise_from_the_clean_cloud(self, kind):
        row = CORRUPTIONS[kind].severities
        assert len(row) == 5 and row[0] == 0 and sorted(set(row)) == list(row)
        for severity in row:
            c.check_severity(kind, severity)

    @pytest.mark.parametrize("severity", [-0.1, math.nan, math.inf, -math.inf])
    def test_severities_that_are_none(self, kind, severity):
        with pytest.raises(InputError, match="severity is") as caught:
            corrupt(kind, tagged(), severity)
        assert caught.value.where == "severity" and caught.value.hint
        with pytest.raises(InputError):
            CORRUPTIONS[kind].apply(tagged(), severity, None, 1)

    def test_arrays_that_do_not_belong_together(self, kind):
        xyz, normal, part = tagged()
        for severity in (0.0, CORRUPTIONS[kind].severities[1]):
            for wrong in (Points(xyz, normal[1:]), Points(xyz, None, part[1:]), Points(xyz[:, :2])):
                with pytest.raises(ShapeError):
                    corrupt(kind, wrong, severity)
            for bad in (Points(xyz[:0]), Points(torch.full((4, 3), math.nan))):
                with pytest.raises(InputError):
                    corrupt(kind, bad, severity)
        with pytest.raises(InputError, match="min_points"):
            corrupt(kind, tagged(), 0.1, None, 0)

    def test_degenerate_clouds(self, kind, degenerate):
        xyz = normalize_unit_ball(degenerate)[0]
        for severity in CORRUPTIONS[kind].severities:
            result = corrupt(kind, Points(xyz, xyz, torch.arange(len(xyz))), severity, seeded())
            assert len(result.xyz) >= 1 and torch.isfinite(result.xyz).all()
            assert result.xyz.norm(dim=1).max() < 1 + 1e-9

    @given(clouds(max_size=64), st.integers(0, 99), st.integers(1, 40))
    @settings(max_examples=25)
    def test_hostile_clouds(self, kind, xyz, seed, least):
        xyz = normalize_unit_ball(torch.from_numpy(xyz))[0].float()
        for severity in CORRUPTIONS[kind].severities[1:]:
            result = corrupt(kind, Points(xyz), severity, seeded(seed), least)
            assert torch.isfinite(result.xyz).all()
            assert min(least, len(xyz)) <= len(result.xyz) <= len(xyz)


def test_unknown_kinds_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        corrupt("outlier", tagged(), 0.1)
    assert "outliers" in caught.value.hint


@pytest.mark.parametrize("kind", ["dropout", "partial", "outliers"])
def test_shares_end_below_one(kind):
    with pytest.raises(InputError, match="below 1"):
        corrupt(kind, tagged(), 1.0)


@pytest.mark.parametrize("kind", LOSING)
@pytest.mark.parametrize("count", [1, 2, 7, 200])
@pytest.mark.parametrize("least", [1, 4])
def test_so_many_points_are_left(kind, count, least):
    points = tagged(count) if count > 1 else Points(torch.zeros(1, 3))
    for severity in CORRUPTIONS[kind].severities[1:]:
        share = 0.5 if kind == "density" else severity
        left = max(count - round(share * count), min(least, count))
        assert len(corrupt(kind, points, severity, seeded(), least).xyz) == left


@pytest.mark.parametrize("kind", LOSING)
def test_points_that_are_left_are_the_old_ones_in_their_order(kind):
    points = tagged()
    result = CORRUPTIONS[kind].apply(points, 0.5, seeded(), 1)
    assert torch.equal(result.part, result.part.sort().values)
    assert len(result.part.unique()) == len(result.part) == 100
    assert torch.equal(result.xyz, points.xyz[result.part])
    assert torch.equal(result.normal, points.normal[result.part])


@pytest.mark.parametrize("kind", ["dropout", "partial"])
def test_what_is_lost_stays_lost(kind):
    kept = [set(corrupt(kind, tagged(), severity, seeded(3)).part.tolist())
            for severity in (0.1, 0.3, 0.6, 0.9)]
    assert kept[0] > kept[1] > kept[2] > kept[3]
    other = set(corrupt(kind, tagged(), 0.3, seeded(4)).part.tolist())
    assert not kept[0] > other  # of another seed other ones are lost


class TestNoise:
    def test_its_standard_deviation(self):
        points = Points(torch.zeros(50_000, 3))
        moved = c.noise(points, 0.04, seeded()).xyz
        assert abs(moved.std() / 0.04 - 1) < 0.01 and moved.mean().abs() < 1e-3
        assert (moved.abs() > 3 * 0.04).double().mean() == pytest.approx(0.0027, abs=5e-4)

    def test_it_goes_the_same_way_further(self):
        points = tagged()
        one, two = (c.noise(points, s, seeded()).xyz - points.xyz for s in (0.01, 0.02))
        assert torch.allclose(2 * one, two)

    def test_normals_know_nothing_of_it(self):
        points = tagged()
        assert torch.equal(corrupt("noise", points, 0.08, seeded()).normal, points.normal)


class TestPartial:
    def test_a_plane_divides_what_stays_from_what_goes(self):
        points = tagged()
        kept = c.partial(points, 0.3, seeded(5)).part
        way = torch.randn(3, generator=seeded(5), dtype=torch.float64)
        depth = points.xyz @ way
        lost = torch.ones(200, dtype=torch.bool)
        lost[kept] = False
        assert lost.sum() == 60 and depth[~lost].max() < depth[lost].min()

    def test_directions_differ_in_all_ways(self):
        """The middle of what stays points away from the cut: over many seeds to all sides."""
        ball = torch.randn(400, 3, generator=seeded(), dtype=torch.float64)
        points = normalize_unit_ball(ball / ball.norm(dim=1, keepdim=True))[0]
        ways = torch.stack([c.partial(Points(points), 0.5, seeded(s)).xyz.mean(0)
                            for s in range(300)])
        ways = ways / ways.norm(dim=1, keepdim=True)
        assert ways.mean(0).norm() < 0.12
        assert (torch.linalg.eigvalsh(ways.T @ ways / 300) - 1 / 3).abs().max() < 0.08


class TestDensity:
    def line(self, count=20_000):
        """Points along the direction that seed 2 draws, and where each lies, from 0 to 1."""
        way = torch.randn(3, generator=seeded(2), dtype=torch.float64)
        place = torch.linspace(0, 1, count, dtype=torch.float64)
        return Points((2 * place[:, None] - 1) * way / way.norm()), place

    def test_half_are_left_and_fewer_the_farther(self):
        points, place = self.line()
        means = []
        for severity in (0.01, 1.0, 2.0, 4.0, 8.0):
            kept = c.density(points._replace(part=torch.arange(20_000)), severity, seeded(2)).part
            assert len(kept) == 10_000
            means.append(float(place[kept].mean()))
        assert means[0] == pytest.approx(0.5, abs=0.02) and means == sorted(means, reverse=True)

    def test_the_odds_are_exponential(self):
        """That a point stays has the chance 1 - e^(-t e^(-s x)), of one t for all points."""
        points, place = self.line()
        kept = c.density(points._replace(part=torch.arange(20_000)), 4.0, seeded(2)).part
        share = torch.zeros(20_000, dtype=torch.float64)
        share[kept] = 1
        share, place = share.reshape(10, -1).mean(1), place.reshape(10, -1).mean(1)
        rate = -torch.log1p(-share[2:])  # nearly all of the first ones stay
        slope = ((rate.log() - rate.log().mean()) * (place[2:] - place[2:].mean())).sum() / (
            (place[2:] - place[2:].mean()).square().sum())
        assert slope == pytest.approx(-4, abs=0.25)


class TestOutliers:
    def test_so_many_are_moved_and_the_others_stay(self):
        points = tagged()
        for share in (0.02, 0.2):
            result = c.outliers(points, share, seeded())
            moved = (result.xyz != points.xyz).any(1)
            assert moved.sum() == round(200 * share)
            assert torch.equal((result.normal != points.normal).any(1), moved)
            assert torch.equal(result.part, points.part)
            assert torch.allclose(result.normal.norm(dim=1), torch.ones(200).double())

    def test_they_fill_the_ball_evenly(self):
        points = Points(torch.zeros(20_000, 3), torch.zeros(20_000, 3))
        result = c.outliers(points, 0.99, seeded())
        moved = result.xyz.norm(dim=1) > 0
        radius = result.xyz[moved].norm(dim=1)
        assert radius.max() <= 1 and (radius ** 3).mean() == pytest.approx(0.5, abs=0.01)
        assert result.xyz.mean(0).norm() < 0.02 and result.normal.mean(0).norm() < 0.03
        assert (result.xyz[moved] * result.normal[moved]).sum(1).mean().abs() < 0.02

    def test_least_points_stay_where_they_are(self):
        points = tagged(10)
        result = c.outliers(points, 0.9, seeded(), 4)
        assert (result.xyz == points.xyz).all(1).sum() == 4


def test_a_damage_that_follows_the_axes_would_be_seen():
    """What `TestPartial` relies on: a cut along x alone is not spread to all sides."""
    ways = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).repeat(150, 1)
    assert (torch.linalg.eigvalsh(ways.T @ ways / 300) - 1 / 3).abs().max() > 0.3
