"""What `pcinv.check` says of networks of pairs: only an answer that turns with the cloud passes."""

import torch
from torch import nn

from pcinv.engine.check import check
from pcinv.engine.check_pose import Posed
from pcinv.geometry.frames import pca_frame
from pcinv.metrics.invariance import measure_invariance


class ByAxes(nn.Module):
    """The turn between principal axes, their signs by the third moments: exact on clear clouds."""

    def __init__(self, spoilt=False):
        super().__init__()
        self.spoilt = spoilt
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, first, second):
        answer = self.frame(second) @ self.frame(first).mT
        if self.spoilt:
            answer = answer + 1e-3 * first[:, :, :1].square().mean(1, keepdim=True)
        return answer

    def frame(self, xyz):
        found = pca_frame(xyz)
        local = (xyz - found.centre[:, None]) @ found.axes
        axes = found.axes * local.pow(3).mean(1).sign()[:, None]
        third = torch.linalg.cross(axes[..., 0], axes[..., 1])
        return torch.stack([axes[..., 0], axes[..., 1], third], -1)


def draw(i):
    g = torch.Generator().manual_seed(i)
    xyz = torch.rand(60, 3, generator=g, dtype=torch.float64)
    return xyz**2 * torch.tensor([1.0, 0.6, 0.3]), None, 0


def report(spoilt):
    network = Posed(ByAxes(spoilt), draw(99)[0])
    return measure_invariance(network, draw, rotations=12, num_clouds=2, with_normals=(False,))


def test_an_answer_that_turns_with_the_cloud_passes():
    assert report(spoilt=False).passed


def test_one_that_leaks_a_coordinate_does_not():
    found = report(spoilt=True)
    assert not found.passed and found.errors["rotation"] > 1e-6


def test_posenet_is_exact_but_for_rotations():
    found = check("posenet", dtype="float64", rotations=4)
    assert found.task == "pose" and found.errors["rotation"] > 0.1  # told, and not promised
    assert found.passed and found.max_error == max(
        found.errors[kind] for kind in ("translation", "permutation", "batch")) < 1e-9
