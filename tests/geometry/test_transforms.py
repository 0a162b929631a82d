"""Protocols and augmentations: seeded, pure, and doing what they say."""

import math

import pytest
import torch
from helpers.clouds import clouds
from hypothesis import given, settings

from pcinv.errors import InputError, ShapeError, UnknownNameError
from pcinv.geometry import transforms as t
from pcinv.geometry.rotation import is_rotation


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def xyz(dtype):
    return torch.rand(200, 3, generator=seeded(9), dtype=torch.float64).to(dtype)


AUGMENTATIONS = {
    "rotate so3": lambda x, g: t.rotate(x, None, "so3", g)[0],
    "rotate z": lambda x, g: t.rotate(x, None, "z", g)[0],
    "scale": t.scale,
    "shift": t.shift,
    "jitter": t.jitter,
    "dropout": lambda x, g: t.dropout_points(x, generator=g)[0],
    "shuffle": lambda x, g: t.shuffle(x, generator=g)[0],
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_are_pure_and_seeded(name, xyz):
    before = xyz.clone()
    one, again, other = (AUGMENTATIONS[name](xyz, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(xyz, before)
    assert one.dtype == xyz.dtype and one.shape == xyz.shape
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert not torch.equal(one, xyz)


class TestProtocol:
    @pytest.mark.parametrize("name", t.PROTOCOLS)
    def test_all_names_in_any_case(self, name):
        train, test = name.split("/")
        for text in (name, name.upper(), f" {name} "):
            protocol = t.parse_protocol(text)
            assert (protocol.train, protocol.test, str(protocol)) == (train, test, name)
        assert train in t.ROTATION_KINDS and test in t.ROTATION_KINDS

    @pytest.mark.parametrize("name", ["", "z", "so3/z", "z/so4", "z//so3"])
    def test_unknown_names(self, name):
        with pytest.raises(UnknownNameError) as caught:
            t.parse_protocol(name)
        assert caught.value.where == "protocol" and caught.value.hint

    def test_nearest_name_is_offered(self):
        with pytest.raises(UnknownNameError, match="z/so3"):
            t.parse_protocol("z/SO(3)")


class TestRotate:
    def test_none_leaves_everything(self, xyz):
        rotated, normal = t.rotate(xyz, xyz, "none")
        assert torch.equal(rotated, xyz) and torch.equal(normal, xyz)

    @pytest.mark.parametrize("kind", ["z", "so3"])
    def test_normals_turn_with_the_points(self, kind, xyz, tol):
        rotated, normal = t.rotate(xyz, 2 * xyz, kind, seeded())
        assert (normal - 2 * rotated).abs().max() < tol
        assert (rotated.norm(dim=1) - xyz.norm(dim=1)).abs().max() < tol
        keeps_z = bool((rotated[:, 2] - xyz[:, 2]).abs().max() < tol)
        assert keeps_z is (kind == "z")
        assert t.rotate(xyz, None, kind, seeded())[1] is None

    def test_kinds_of_rotation(self):
        about_z, any_axis = (torch.stack([t.draw_rotation(kind, seeded(i)) for i in range(50)])
                             for kind in ("z", "so3"))
        assert is_rotation(about_z).all() and is_rotation(any_axis).all()
        assert (about_z[:, 2, 2] == 1).all() and any_axis[:, 2, 2].min() < -0.8
        assert torch.equal(t.draw_rotation("none"), torch.eye(3).double())

    def test_bad_input(self, xyz):
        with pytest.raises(UnknownNameError, match="so4"):
            t.rotate(xyz, None, "so4")
        with pytest.raises(ShapeError):
            t.rotate(xyz, xyz[1:], "z")
        with pytest.raises(ShapeError):
            t.rotate(xyz[None], None, "z")


class TestAugmentations:
    def test_scale_is_one_factor_in_range(self, xyz):
        factors = torch.stack([(t.scale(xyz, seeded(i)) / xyz).flatten() for i in range(50)])
        assert (factors.std(1) < 1e-6).all()
        assert factors.min() >= 0.8 - 1e-6 and factors.max() <= 1.25 + 1e-6
        assert factors.min() < 0.85 and factors.max() > 1.2

    def test_shift_is_one_vector_in_range(self, xyz):
        moves = torch.stack([t.shift(xyz, seeded(i), extent=0.5) - xyz for i in range(50)])
        assert moves.std(1).max() < 1e-6
        assert moves.abs().max() <= 0.5 + 1e-6 and moves.min() < -0.4 and moves.max() > 0.4

    def test_jitter_is_clipped(self, xyz):
        noise = t.jitter(xyz, seeded(), sigma=0.1, clip=0.12) - xyz
        assert noise.abs().max() <= 0.12 + 1e-6
        assert 0.05 < noise.std() < 0.1

    def test_dropped_rows_become_copies_of_a_kept_row(self, xyz):
        label = torch.arange(200)
        for seed in range(20):
            points, none, kept = t.dropout_points(xyz, None, label, generator=seeded(seed))
            assert none is None and torch.equal(points, xyz[kept])
            changed = kept != label
            first = int((~changed).nonzero()[0])
            assert (kept[changed] == first).all()
        kept = [t.dropout_points(label, generator=seeded(s))[0] for s in range(200)]
        ratios = [(index != label).float().mean() for index in kept]
        assert min(ratios) < 0.1 and 0.8 < max(ratios) < 0.95

    def test_dropout_keeps_at_least_one_point(self):
        for count in (1, 2, 3):
            points = torch.arange(count)
            for seed in range(30):
                (dropped,) = t.dropout_points(points, generator=seeded(seed), max_ratio=1.0)
                assert len(dropped) == count
        assert t.dropout_points(torch.zeros(0, 3))[0].shape == (0, 3)

    def test_shuffle_moves_all_arrays_alike(self, xyz):
        label = torch.arange(200)
        points, none, order = t.shuffle(xyz, None, label, generator=seeded())
        assert none is None and torch.equal(points, xyz[order])
        assert torch.equal(order.sort().values, label) and not torch.equal(order, label)

    def test_arrays_of_different_lengths(self, xyz):
        for function in (t.shuffle, t.dropout_points):
            with pytest.raises(InputError, match="199"):
                function(xyz, xyz[1:])

    def test_bad_range(self, xyz):
        for low, high in ((2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)):
            with pytest.raises(InputError, match="draw"):
                t.scale(xyz, low=low, high=high)


class TestUnitBall:
    def test_centre_and_radius(self, xyz, tol):
        unit, centre, radius = t.normalize_unit_ball(xyz)
        assert unit.dtype == xyz.dtype and centre.dtype == radius.dtype == torch.float64
        assert unit.mean(0).abs().max() < tol
        assert unit.norm(dim=1).max().item() == pytest.approx(1, abs=tol)
        assert (unit * radius + centre - xyz).abs().max() < tol

    def test_batches(self):
        xyz = torch.rand(2, 4, 10, 3)
        unit, centre, radius = t.normalize_unit_ball(xyz)
        assert centre.shape == (2, 4, 3) and radius.shape == (2, 4)
        assert torch.equal(unit[1, 2], t.normalize_unit_ball(xyz[1, 2])[0])

    @pytest.mark.parametrize("at", [0.0, 0.1, 1e6 + 0.1])
    @pytest.mark.parametrize("count", [1, 7])
    def test_equal_points_give_zeros(self, at, count, dtype):
        xyz = torch.full((count, 3), at, dtype=dtype)
        unit, centre, radius = t.normalize_unit_ball(xyz)
        assert radius == 0 and (unit == 0).all()
        assert torch.equal(centre, xyz[0].double())

    def test_bad_input(self):
        with pytest.raises(InputError):
            t.normalize_unit_ball(torch.zeros(0, 3))
        with pytest.raises(InputError, match="finite"):
            t.normalize_unit_ball(torch.full((2, 3), torch.inf))
        with pytest.raises(ShapeError):
            t.normalize_unit_ball(torch.zeros(4, 2))

    @settings(max_examples=40, deadline=None)
    @given(clouds())
    def test_hostile_clouds_fit_the_ball(self, xyz):
        unit, centre, radius = t.normalize_unit_ball(torch.from_numpy(xyz))
        assert torch.isfinite(unit).all() and unit.norm(dim=1).max() <= 1 + 1e-12
        back = unit * radius + centre
        assert (back - torch.from_numpy(xyz)).abs().max() <= 1e-12 * max(1e-300, abs(xyz).max())
