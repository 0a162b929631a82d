"""The search for the worst error: it must let the invariant pass and fail everything else."""

import pytest
import torch
from torch import nn

from pcinv.engine.check import check
from pcinv.errors import InputError, UnknownNameError
from pcinv.metrics import invariance
from pcinv.metrics.invariance import measure_invariance
from pcinv.models.registry import create_model

SMALL = {"centres": (64, 32, 16, 8), "neighbours": (8, 8, 8, 8)}


def draw(i, points=160):
    g = torch.Generator().manual_seed(i)
    normal = nn.functional.normalize(torch.randn(points, 3, generator=g), dim=-1)
    xyz = normal * (0.7 + 0.3 * torch.rand(points, 1, generator=g))
    return xyz, normal, 0


class Twin(nn.Module):
    """The same network, spoilt in one way; `amount` is small beside the logits."""

    def __init__(self, model, kind, amount=1e-3):
        super().__init__()
        self.model, self.kind, self.amount = model, kind, amount
        self.task, self.num_categories = model.task, 0

    def forward(self, xyz, normal=None):
        logits = self.model(xyz, normal)
        if self.kind == "rotation":
            centred = xyz - xyz.mean(1, keepdim=True)
            leak = centred[..., 2].square().mean(1, keepdim=True)
        elif self.kind == "translation":
            leak = xyz.mean(1).norm(dim=-1, keepdim=True)
        elif self.kind == "permutation":
            leak = (xyz[:, :1] - xyz.mean(1, keepdim=True)).norm(dim=-1)
        else:
            leak = xyz.new_full((len(xyz), 1), float(len(xyz)))
        return logits + self.amount * leak


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("risurconv", preset="light", **SMALL).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_backbone_passes(model, dtype):
    report = measure_invariance(model.to(dtype), draw, rotations=24, num_clouds=2)
    assert report.passed and report.max_error <= report.tolerance
    assert set(report.errors) == {"rotation", "translation", "permutation", "batch"}
    assert report.tolerance == {torch.float32: 1e-5, torch.float64: 1e-9}[dtype]
    assert 0 < report.smallest_margin < 1
    model.float()


@pytest.mark.parametrize("kind", ["rotation", "translation", "permutation", "batch"])
def test_a_spoilt_twin_fails_where_it_is_spoilt(model, kind):
    report = measure_invariance(Twin(model, kind), draw, rotations=24, num_clouds=2)
    assert not report.passed and report.errors[kind] > report.tolerance
    others = [value for name, value in report.errors.items() if name != kind]
    assert kind in ("rotation", "batch") or min(others) <= report.tolerance


def test_the_climb_finds_more_than_a_few_random_rotations(model):
    """A leak that shows in a narrow cone of rotations only is found by climbing towards it."""
    class Cone(Twin):
        def forward(self, xyz, normal=None):
            far = xyz[torch.arange(len(xyz)), xyz.norm(dim=-1).argmax(1)]
            up = nn.functional.normalize(far, dim=-1)[:, 2]
            return self.model(xyz, normal) + 1e-2 * (up.clamp_min(0) ** 8)[:, None]

    cone = Cone(model, "cone")
    few = measure_invariance(cone, draw, rotations=8, num_clouds=2)
    assert not few.passed


def test_answers_that_are_not_numbers_fail(model):
    class Broken(Twin):
        def forward(self, xyz, normal=None):
            return self.model(xyz, normal) * torch.where(xyz[:, :1, 0] > 0, torch.nan, 1.0)

    assert not measure_invariance(Broken(model, ""), draw, rotations=16, num_clouds=2).passed


def test_lattices_are_reported_as_ties(model):
    def lattice(i):
        grid = torch.cartesian_prod(*[torch.arange(5.0)] * 3) / 8
        return grid, nn.functional.normalize(grid + 0.1, dim=-1), 0

    with pytest.raises(InputError, match="ties"):
        measure_invariance(model, lattice, rotations=8, num_clouds=2, max_draws=3)

    def mixed(i):
        return lattice(i) if i == 0 else draw(i, points=125)

    report = measure_invariance(model, mixed, rotations=8, num_clouds=2)
    assert report.tied_clouds >= 2 and report.passed


def test_check_takes_names_and_rejects_others():
    with pytest.raises(UnknownNameError):
        check("risurconv", dtype="float16")
    with pytest.raises(UnknownNameError):
        check("risurconv", task="flow")


@pytest.mark.parametrize("spoilt", [False, True])
def test_near_ties_do_not_hide_a_spoilt_twin(model, spoilt, monkeypatch):
    """With every cloud counted as near a tie, errors must still be told from ties."""
    monkeypatch.setitem(invariance._TIE_MARGINS, torch.float32, 10.0)
    network = Twin(model, "rotation") if spoilt else model
    report = measure_invariance(network, draw, rotations=16, num_clouds=2, max_draws=2)
    assert report.passed is not spoilt
