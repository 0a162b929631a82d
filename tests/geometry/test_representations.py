"""Every row of the table of representations: back and forth, derivatives, continuity."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pcinv.errors import UnknownNameError
from pcinv.geometry.representations import REPRESENTATIONS, get_representation
from pcinv.geometry.rotation import axis_angle_to_matrix, is_rotation, random_rotation

NAMES = list(REPRESENTATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_1_2_decode_encode_is_identity_for_any_leading_shape(name, dtype, generator):
    row = REPRESENTATIONS[name]
    for shape in ((), (0,), (7,), (2, 3, 50)):
        matrix = random_rotation(*shape, generator=generator, dtype=dtype)
        numbers = row.encode(matrix)
        assert numbers.shape == (*shape, row.width) and numbers.dtype == dtype
        back = row.decode(numbers)
        assert back.shape == matrix.shape and back.dtype == dtype
        assert not back.numel() or (back - matrix).abs().max() < 1e-5


@pytest.mark.parametrize("size", [0.0, 1e-12, 1.0, 1e6])
@pytest.mark.parametrize("name", NAMES)
def test_any_numbers_give_a_rotation_with_finite_gradient(name, size, dtype, generator):
    row = REPRESENTATIONS[name]
    numbers = (size * torch.randn(40, row.width, generator=generator, dtype=dtype)).requires_grad_()
    matrix = row.decode(numbers)
    assert is_rotation(matrix, tolerance=1e-5).all()
    (matrix * torch.arange(9.0, dtype=dtype).view(3, 3)).sum().backward()
    assert torch.isfinite(numbers.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_of_both_orders(name, generator):
    row = REPRESENTATIONS[name]
    numbers = torch.randn(3, row.width, generator=generator, dtype=torch.float64)
    numbers.requires_grad_()
    assert gradcheck(row.decode, numbers) and gradgradcheck(row.decode, numbers)


@pytest.mark.parametrize("name", NAMES)
def test_continuity_is_what_the_table_says(name, generator):
    """Along full turns about 50 axes, from random rotations, numbers of neighbours are near."""
    row = REPRESENTATIONS[name]
    start = random_rotation(50, 1, generator=generator, dtype=torch.float64)
    axis = torch.nn.functional.normalize(
        torch.randn(50, 1, 3, generator=generator, dtype=torch.float64), dim=-1)
    angle = torch.linspace(0, 2 * math.pi, 2001, dtype=torch.float64)[:, None]
    numbers = row.encode(start @ axis_angle_to_matrix(angle * axis))  # (50, 2001, k)
    jump = float(numbers.diff(dim=1).norm(dim=-1).max())
    assert (jump < 0.05) == row.is_continuous


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        get_representation("quaternions")
    assert "quaternion" in caught.value.hint
