"""`pcinv.check` of matchers: descriptors turn with the cloud, and what does not is found out."""

import pytest
import torch

import pcinv
from pcinv.engine.check_matching import answers_of
from pcinv.errors import InputError
from pcinv.metrics.invariance import measure_invariance
from pcinv.models.cylinder_patch import CylinderPatch
from pcinv.models.point_patch import PointPatch
from pcinv.models.registry import weights_file
from pcinv.models.roitr import RoITr
from pcinv.models.roitr_sizes import Hyper

SMALL = {"widths": (16, 16, 16), "layers": (1, 1, 1), "neighbours": (8, 8, 8), "width": 16,
         "blocks": 1, "length": 16}


def draw(i, count=200):
    g = torch.Generator().manual_seed(100 + i)
    xyz = torch.randn(count, 3, generator=g)
    normal = torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=1)
    return xyz / xyz.norm(dim=1).max(), normal, 0


def measured(model, dtype=torch.float64, **options):
    answers = answers_of(model, draw(-1)[:2]).to(dtype)
    return measure_invariance(answers, draw, rotations=8, num_clouds=2, with_normals=(True,),
                              **options)


@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("make", [CylinderPatch, PointPatch, lambda: RoITr(Hyper(**SMALL))])
def test_descriptors_keep_their_promise(make, dtype, most):
    torch.manual_seed(0)
    report = measured(make(), dtype)
    assert report.passed and report.max_error < most and report.task == "matching"
    assert set(report.errors) == {"rotation", "translation", "permutation", "batch"}


def test_by_name_and_by_file():
    report = pcinv.check(weights_file("cylinder_patch"), rotations=2, dtype="float64")
    assert report.passed and report.backbone == "cylinder_patch"


def test_sampling_in_the_order_of_the_points_is_found_out():
    torch.manual_seed(0)
    report = measured(RoITr(Hyper(**SMALL, compat="official")))
    assert not report.passed and report.errors["permutation"] > 1e-3


@pytest.mark.parametrize("spoilt", ["offset", "size"])
def test_a_matcher_that_sees_the_pose_is_found_out(spoilt):
    class Spoilt(RoITr):
        def survey(self, xyz, normal):
            if spoilt == "offset":  # a normal that does not turn
                normal = torch.nn.functional.normalize(
                    normal + 1e-3 * normal.new_tensor([1.0, 0.0, 0.0]), dim=1)
            else:
                xyz = xyz * xyz.new_tensor([1.001, 1.0, 1.0])
            return super().survey(xyz, normal)

    torch.manual_seed(0)
    report = measured(Spoilt(Hyper(**SMALL)))
    assert not report.passed and report.errors["rotation"] > 1e-6


def test_other_networks_match_nothing():
    with pytest.raises(InputError, match="Linear matches nothing"):
        answers_of(torch.nn.Linear(3, 3), draw(0)[:2])
