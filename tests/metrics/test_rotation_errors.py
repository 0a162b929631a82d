"""Angles of estimated rotations, and figures from their histogram, against numpy."""

import numpy as np
import pytest
import torch

from pcinv.geometry.rotation import axis_angle_to_matrix, random_rotation
from pcinv.metrics import rotation_errors as m
from pcinv.metrics.pose_errors import rotation_error_deg


def some_angles(count=501, seed=0):
    values = 180 * torch.rand(count, generator=torch.Generator().manual_seed(seed)).double() ** 3
    return values


def test_angles_agree_with_those_of_registration():
    a, b = random_rotation(2, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = m.rotation_errors_deg(a.view(4, 10, 3, 3), b.view(4, 10, 3, 3))
    T, T_true = np.tile(np.eye(4), (2, 40, 1, 1))
    T[:, :3, :3], T_true[:, :3, :3] = a, b
    expected = [rotation_error_deg(*pair) for pair in zip(T, T_true, strict=True)]
    assert found.shape == (4, 10) and found.dtype == torch.float64
    np.testing.assert_allclose(found.flatten(), expected, atol=1e-9)


def test_what_is_not_quite_a_rotation_is_made_one_first():
    true = random_rotation(20, generator=torch.Generator().manual_seed(1))
    assert m.rotation_errors_deg(3 * true, true).max() < 1e-3
    assert m.rotation_errors_deg(-true, true).max() <= 180
    assert torch.isfinite(m.rotation_errors_deg(torch.zeros(20, 3, 3), true)).all()


@pytest.mark.parametrize("count", [1, 2, 500, 501])
def test_figures_are_those_of_numpy_to_half_a_bin(count):
    angle = some_angles(count)
    histogram = m.angle_histogram(angle)
    assert int(histogram.sum()) == count
    half = 0.5 / m.BINS_PER_DEG + 1e-9
    middle = np.quantile(angle.numpy(), 0.5, method="lower")
    assert abs(m.median_deg(histogram) - middle) <= half
    assert abs(m.max_deg(histogram) - float(angle.max())) <= half
    for limit in (5, 10):
        assert m.share_below(histogram, limit) == float((angle < limit).double().mean())


def test_histograms_of_parts_add_up_to_that_of_the_whole():
    angle = some_angles()
    parts = m.angle_histogram(angle[:200]) + m.angle_histogram(angle[200:])
    assert torch.equal(parts, m.angle_histogram(angle))


def test_the_ends_of_the_range_and_nothing_at_all():
    histogram = m.angle_histogram(torch.tensor([180.0, 180.0 + 1e-9]).double())
    assert m.median_deg(histogram) == m.max_deg(histogram) == 180.0
    assert m.share_below(histogram, 180) == 0.0
    zero = m.angle_histogram(torch.zeros(3))
    assert m.max_deg(zero) == 0.005 and m.share_below(zero, 5) == 1.0
    nothing = torch.zeros(m.BINS, dtype=torch.int64)
    assert m.median_deg(nothing) == m.max_deg(nothing) == m.share_below(nothing, 5) == 0.0


def test_a_known_turn_has_its_angle():
    turn = axis_angle_to_matrix(torch.tensor([0.0, np.pi / 6, 0.0], dtype=torch.float64))
    assert float(m.rotation_errors_deg(turn, torch.eye(3))) == pytest.approx(30, abs=1e-12)
