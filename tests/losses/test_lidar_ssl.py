"""Must hold 17 (the rule of gamma), 18, 19: objectives of pretraining LiDAR scans."""

import math

import pytest
import torch

from pcinv.losses.lidar_ssl import (
    COLLAPSED,
    TEMPERATURE,
    cell_regression,
    ema_gamma,
    feature_spread,
    point_contrast,
    rotation_bin,
)


@pytest.mark.parametrize("count", [2, 17, 300])
def test_19_contrast_of_equal_features(count):
    same = torch.ones(count, 8, dtype=torch.float64)
    found = point_contrast(same, same, reduction="sum")
    assert float(found) == pytest.approx(count * math.log(count), rel=1e-12)
    assert float(point_contrast(same, same)) == pytest.approx(math.log(count), rel=1e-12)


@pytest.mark.parametrize("temperature", [TEMPERATURE, 0.2, 1.0])
def test_19_contrast_of_orthogonal_features(temperature):
    count = 12
    x = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0][:count] * 3.0
    found = point_contrast(x, x, temperature=temperature, reduction="sum")
    wanted = count * math.log(1 + (count - 1) * math.exp(-1 / temperature))
    assert float(found) == pytest.approx(wanted, rel=1e-9)


def test_19_the_temperature_is_the_stated_one():
    assert TEMPERATURE == 0.07
    x, y = torch.randn(2, 9, 5)
    assert torch.equal(point_contrast(x, y), point_contrast(x, y, temperature=0.07))


def test_contrast_is_lower_for_matches():
    x = torch.randn(64, 16)
    assert point_contrast(x, x + 0.1 * torch.randn(64, 16)) < point_contrast(x, x.roll(1, 0)) - 5


def test_18_bins_cover_the_half_turn_without_a_gap():
    yaw = torch.linspace(-math.pi / 2, math.pi / 2, 20_001, dtype=torch.float64)[:-1]
    bins = rotation_bin(yaw)
    assert bins.unique().tolist() == list(range(10)) and bool((bins.diff() >= 0).all())
    assert (torch.bincount(bins) - 2000).abs().max() <= 1


def test_18_the_middle_of_a_bin_is_in_it():
    middle = torch.deg2rad(-90 + 18 * (torch.arange(10, dtype=torch.float64) + 0.5))
    assert rotation_bin(middle).tolist() == list(range(10))
    for off in (-8.9, 8.9):
        assert rotation_bin(middle + math.radians(off)).tolist() == list(range(10))
    assert rotation_bin(middle.float()).tolist() == list(range(10))


def test_18_shuffled_labels_are_right_one_time_in_ten():
    g = torch.Generator().manual_seed(0)
    bins = rotation_bin((torch.rand(50_000, generator=g) - 0.5) * math.pi)
    shuffled = bins[torch.randperm(len(bins), generator=g)]
    assert float((bins == shuffled).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_17_gamma_goes_from_its_base_to_one():
    assert ema_gamma(0, 100, 0.999) == pytest.approx(0.999)
    assert ema_gamma(100, 100, 0.999) == 1.0
    assert ema_gamma(50, 100, 0.99) == pytest.approx(0.995)
    values = [ema_gamma(k, 100, 0.9) for k in range(101)]
    assert values == sorted(values)


def test_regression_of_cells():
    y, z = torch.randn(2, 30, 8)
    assert float(cell_regression(y, 5 * y)) == pytest.approx(0, abs=1e-5)
    assert float(cell_regression(y, -y)) == pytest.approx(4, abs=1e-5)
    assert float(cell_regression(y, z, cells=300)) == pytest.approx(
        float(cell_regression(y, z)) / 10)
    assert float(cell_regression(torch.zeros(0, 8), torch.zeros(0, 8))) == 0


def test_spread_of_features():
    assert feature_spread(torch.ones(100, 16)) < 1e-6 < COLLAPSED
    assert feature_spread(torch.randn(5000, 16)) == pytest.approx(1, abs=0.02)
    assert feature_spread(torch.ones(100, 16) + 0.1 * torch.randn(100, 16)) < COLLAPSED
    assert feature_spread(torch.ones(1, 16)) == 0
