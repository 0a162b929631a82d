"""The loss of rotations: its value by angle, and symmetric objects."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from pcinv.geometry.rotation import axis_angle_to_matrix, geodesic_angle, random_rotation
from pcinv.losses.pose import rotation_matrix_loss, symmetric_rotation_loss


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.3, math.pi / 2, math.pi])
def test_the_loss_of_two_rotations_is_a_function_of_their_angle(angle):
    g = torch.Generator().manual_seed(0)
    true = random_rotation(20, generator=g, dtype=torch.float64)
    axis = torch.nn.functional.normalize(torch.randn(20, 3, generator=g, dtype=torch.float64),
                                         dim=-1)
    found = rotation_matrix_loss(true @ axis_angle_to_matrix(angle * axis), true)
    assert (found - 8 / 9 * math.sin(angle / 2) ** 2).abs().max() < 1e-14


def test_its_gradient_is_finite_where_that_of_the_angle_by_acos_is_not():
    true = torch.eye(3, dtype=torch.float64)
    estimated = true.clone().requires_grad_()
    rotation_matrix_loss(estimated, true).backward()
    assert torch.equal(estimated.grad, torch.zeros(3, 3, dtype=torch.float64))
    torch.acos(((estimated.mT @ true).trace() - 1) / 2).backward()
    assert not torch.isfinite(estimated.grad).all()


def square_turns():
    turn = math.pi / 2 * torch.arange(4, dtype=torch.float64)[:, None]
    return axis_angle_to_matrix(turn * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))


def test_symmetric_objects_have_several_right_answers():
    g = torch.Generator().manual_seed(1)
    true = random_rotation(6, generator=g, dtype=torch.float64)
    group = square_turns()
    for turn in group:
        assert symmetric_rotation_loss(true @ turn, true, group).max() < 1e-28
    assert symmetric_rotation_loss(true @ group[1].mT @ group[1], true, group[:1]).max() < 1e-28
    # without the group the same answer is wrong, and a turn that is none of them stays wrong
    assert rotation_matrix_loss(true @ group[1], true).min() > 0.4
    tilt = axis_angle_to_matrix(torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64))
    assert symmetric_rotation_loss(true @ tilt, true, group).min() > 0.01


def test_the_least_is_the_angle_to_the_nearest_right_answer():
    g = torch.Generator().manual_seed(2)
    true, estimated = random_rotation(2, 50, generator=g, dtype=torch.float64)
    group = square_turns()
    least = geodesic_angle(estimated[:, None], true[:, None] @ group).amin(1)
    found = symmetric_rotation_loss(estimated, true, group)
    assert (found - 8 / 9 * (least / 2).sin() ** 2).abs().max() < 1e-14
    matrix = estimated[:2].clone().requires_grad_()
    assert gradcheck(lambda m: symmetric_rotation_loss(m, true[:2], group), matrix)
