"""Rigid motions: the fit against scipy and on degenerate sets; exponential, inverse, use."""

import math

import numpy as np
import pytest
import torch
from helpers.clouds import clouds, rotations
from hypothesis import given, settings
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck, gradgradcheck

from pcinv.errors import InputError, ShapeError
from pcinv.geometry import rigid as rg
from pcinv.geometry.rotation import axis_angle_to_matrix, is_rotation, random_rotation

MIRROR = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)


def a_motion(generator, dtype=torch.float64, count=None):
    shape = () if count is None else (count,)
    translation = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    rotation = random_rotation(*shape, generator=generator, dtype=torch.float64)
    return rg.make_transform(rotation, translation).to(dtype)


class TestKabsch:
    def test_recovers_a_motion(self, dtype, tol, generator):
        source = torch.randn(5, 40, 3, generator=generator, dtype=dtype)
        motion = a_motion(generator, dtype, 5)
        fit = rg.kabsch(source, rg.transform_points(motion, source))
        assert (fit.T_target_source - motion).abs().max() < 10 * tol
        assert fit.rmse.max() < tol and fit.rmse.dtype == dtype
        assert fit.rank.tolist() == [3] * 5 and fit.undetermined == ["nothing"] * 5
        assert (fit.condition >= 1).all() and (fit.condition < 5).all()

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_against_scipy_with_noise_and_weights(self, mirrored, generator):
        for _ in range(20):
            source = torch.randn(30, 3, generator=generator, dtype=torch.float64)
            target = rg.transform_points(a_motion(generator), source)
            target = target + 0.3 * torch.randn(30, 3, generator=generator)
            target = target * MIRROR if mirrored else target
            weights = torch.rand(30, generator=generator, dtype=torch.float64)
            share = (weights / weights.sum())[:, None]
            p, q = source - (share * source).sum(0), target - (share * target).sum(0)
            expected, rssd = Rotation.align_vectors(q, p, weights=weights.numpy())
            fit = rg.kabsch(source, target, weights)
            rotation = fit.T_target_source[:3, :3]
            assert np.abs(rotation.numpy() - expected.as_matrix()).max() < 1e-10
            assert fit.rmse.item() == pytest.approx(rssd / float(weights.sum()) ** 0.5, rel=1e-9)
            assert is_rotation(rotation, tolerance=1e-12)

    def test_mirror_image_is_fitted_by_a_rotation_and_not_well(self, generator):
        source = torch.randn(50, 3, generator=generator, dtype=torch.float64)
        fit = rg.kabsch(source, source * MIRROR)
        assert is_rotation(fit.T_target_source[:3, :3], tolerance=1e-12)
        assert fit.rmse > 0.3
        assert rg.kabsch(source, source).rmse < 1e-14

    def test_zero_weight_takes_a_pair_out(self, generator):
        source = torch.randn(20, 3, generator=generator, dtype=torch.float64)
        motion = a_motion(generator)
        target = rg.transform_points(motion, source)
        target[0], target[3] = 1e7, -50.0
        weights = torch.ones(20).double()
        weights[[0, 3]] = 0
        fit = rg.kabsch(source, target, weights)
        assert (fit.T_target_source - motion).abs().max() < 1e-8
        assert (rg.kabsch(source, target).T_target_source - motion).abs().max() > 1

    def test_swap_inverts(self, generator):
        a, b = torch.randn(2, 30, 3, generator=generator, dtype=torch.float64)
        there, back = rg.kabsch(a, b).T_target_source, rg.kabsch(b, a).T_target_source
        assert (there - rg.invert(back)).abs().max() < 1e-10

    def test_far_from_the_origin(self, generator):
        source = torch.randn(30, 3, generator=generator, dtype=torch.float64) + 5e6
        motion = a_motion(generator)
        target = rg.transform_points(motion, source)
        fit = rg.kabsch(source, target)
        assert (fit.T_target_source[:3, :3] - motion[:3, :3]).abs().max() < 1e-8
        assert fit.rmse < 1e-8 and fit.undetermined == ["nothing"]


class TestDegeneracy:
    @pytest.mark.parametrize("name,expected", [
        ("octahedron", "nothing"), ("lattice", "nothing"), ("doubled", "nothing"),
        ("coplanar", "nothing"), ("collinear", "rotation about an axis"),
        ("coincident", "rotation"), ("zeros", "rotation"), ("one", "rotation"),
    ])
    def test_says_what_is_open(self, name, expected, dtype, tol, generator, degenerate_sets):
        source = degenerate_sets[name].to(dtype)
        for _ in range(5):
            motion = a_motion(generator, dtype)
            target = rg.transform_points(motion, source)
            fit = rg.kabsch(source, target)
            assert fit.undetermined == [expected]
            assert is_rotation(fit.T_target_source[:3, :3], tolerance=tol)
            moved = rg.transform_points(fit.T_target_source, source)
            assert (moved - target).abs().max() < max(100 * tol, 1e-8)
            assert torch.isinf(fit.condition) if expected != "nothing" else fit.condition < 10

    def test_open_axis_is_the_line(self, dtype, tol, generator, degenerate_sets):
        source = degenerate_sets["collinear"].to(dtype)
        motion = a_motion(generator, dtype)
        axis = rg.kabsch(source, rg.transform_points(motion, source)).axis
        line = motion[:3, :3] @ source[1]
        assert torch.linalg.cross(axis, line / line.norm()).norm() < 10 * tol

    def test_smallest_of_equally_good_rotations(self, generator, degenerate_sets):
        line = degenerate_sets["collinear"].double()
        turned = line @ axis_angle_to_matrix(0.7 * line[1] / line[1].norm()).T  # about itself
        fit = rg.kabsch(line, turned + 1)
        assert (fit.T_target_source[:3, :3] - torch.eye(3)).abs().max() < 1e-6
        point = rg.kabsch(torch.ones(4, 3), torch.zeros(4, 3)).T_target_source
        assert torch.equal(point[:3, :3], torch.eye(3))
        assert torch.equal(point[:3, 3], -torch.ones(3))

    def test_symmetric_mirror_image_has_no_single_answer(self, dtype, degenerate_sets):
        cube = degenerate_sets["lattice"].to(dtype)
        fit = rg.kabsch(cube, cube * torch.tensor([2.0, 1.0, -1.0], dtype=dtype))
        assert fit.undetermined == ["rotation about an axis"]

    def test_thin_sets_are_not_called_lines(self, generator):
        thin = torch.randn(50, 3, generator=generator, dtype=torch.float64)
        thin = (thin * torch.tensor([1.0, 1e-4, 1e-5])).float()
        fit = rg.kabsch(thin, thin @ random_rotation(generator=generator).T)
        assert fit.undetermined == ["nothing"] and fit.condition > 1e6

    def test_no_weight_at_all(self):
        fit = rg.kabsch(torch.rand(2, 4, 3), torch.rand(2, 4, 3), torch.zeros(2, 4))
        assert fit.undetermined == ["everything"] * 2
        assert torch.equal(fit.T_target_source, torch.eye(4).expand(2, 4, 4))
        assert (fit.rmse == 0).all()

    def test_finite_gradients(self, degenerate, dtype, generator):
        source = degenerate.to(dtype).requires_grad_()
        target = rg.transform_points(a_motion(generator, dtype), source.detach()).requires_grad_()
        weights = torch.ones(len(source), dtype=dtype, requires_grad=True)
        fit = rg.kabsch(source, target, weights)
        (fit.T_target_source.sum() + fit.rmse).backward()
        assert all(torch.isfinite(x.grad).all() for x in (source, target, weights))


@settings(max_examples=40, deadline=None)
@given(clouds(min_size=1, max_size=64), rotations())
def test_hostile_clouds_are_carried_over(xyz, rotation):
    source, rotation = torch.from_numpy(xyz), torch.from_numpy(rotation)
    fit = rg.kabsch(source, source @ rotation.T)
    assert is_rotation(fit.T_target_source[:3, :3], tolerance=1e-12)
    assert fit.rmse <= 1e-8 * source.abs().max()
    if fit.rank == 3 and fit.condition < 1e6:
        spread = (source - source.mean(0)).norm(dim=1).mean()
        error = (fit.T_target_source[:3, :3] - rotation).abs().max()
        assert error < 1e-12 * fit.condition * (1 + source.abs().max() / spread)


class TestGroup:
    def test_exp_against_the_matrix_exponential(self, dtype, tol, generator):
        for size in (0.0, 1e-8, 1e-3, 0.49, 0.51, 1.0, 3.0, math.pi):
            twist = torch.randn(6, generator=generator, dtype=torch.float64)
            twist[3:] *= size / twist[3:].norm()
            v, w = twist[:3].numpy(), twist[3:].numpy()
            matrix = np.zeros((4, 4))
            matrix[:3, :3] = np.cross(np.eye(3), w)
            matrix[:3, 3] = v
            found = rg.se3_exp(twist.to(dtype))
            assert np.abs(found.numpy() - expm(matrix)).max() < tol
            if size < math.pi:
                assert (rg.se3_log(found) - twist).abs().max() < 30 * tol

    def test_log_comes_back_at_every_angle(self, dtype, tol, generator):
        motion = a_motion(generator, dtype, 200)
        half = motion.clone()
        half[:, :3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=dtype))
        for m in (motion, half, torch.eye(4, dtype=dtype)):
            assert (rg.se3_exp(rg.se3_log(m)) - m).abs().max() < 30 * tol

    def test_compose_and_invert(self, dtype, tol, generator):
        T_c_b, T_b_a = a_motion(generator, dtype, 2)
        xyz = torch.randn(9, 3, generator=generator, dtype=dtype)
        step_by_step = rg.transform_points(T_c_b, rg.transform_points(T_b_a, xyz))
        assert (rg.transform_points(rg.compose(T_c_b, T_b_a), xyz) - step_by_step).abs().max() < tol
        assert (rg.compose(T_c_b, rg.invert(T_c_b)) - torch.eye(4, dtype=dtype)).abs().max() < tol
        assert (rg.compose(T_c_b, T_b_a) - rg.compose(T_b_a, T_c_b)).abs().max() > 0.01

    def test_normals_turn_and_do_not_move(self, generator):
        motion = a_motion(generator, count=3)
        a, b = torch.randn(2, 3, 7, 3, generator=generator, dtype=torch.float64)
        moved = rg.transform_points(motion, a + b) - rg.transform_points(motion, a)
        assert (rg.transform_normals(motion, b) - moved).abs().max() < 1e-12

    @pytest.mark.parametrize("size", [0.0, 1e-9, 0.3, 0.6, 2.0])
    def test_derivatives(self, size, generator):
        twist = torch.randn(6, generator=generator, dtype=torch.float64)
        twist[3:] *= size / twist[3:].norm()
        twist.requires_grad_()
        assert gradcheck(rg.se3_exp, twist) and gradgradcheck(rg.se3_exp, twist)
        jacobian = torch.autograd.functional.jacobian(
            lambda x: rg.se3_log(rg.se3_exp(x)), twist.detach())
        assert (jacobian - torch.eye(6).double()).abs().max() < 1e-8


def test_derivatives_of_the_fit(generator):
    source, target = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(5, generator=generator, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (source, target, weights)]

    def motion_and_error(*inputs):
        fit = rg.kabsch(*inputs)
        return fit.T_target_source, fit.rmse

    assert gradcheck(motion_and_error, inputs)
    assert gradgradcheck(motion_and_error, inputs)


def test_bad_input():
    good = torch.rand(4, 3)
    for source, target, weights, text in (
        (good, torch.rand(5, 3), None, "source"), (good[:, :2], good[:, :2], None, "N >= 1"),
        (good[:0], good[:0], None, "N >= 1"), (good, good, torch.ones(3), "weights"),
    ):
        with pytest.raises(ShapeError, match=text):
            rg.kabsch(source, target, weights)
    for source, weights, text in (
        (good * torch.nan, None, "finite"), (good, -torch.ones(4), "-1"),
        (good, torch.ones(4) / 0, "finite"),
    ):
        with pytest.raises(InputError, match=text):
            rg.kabsch(source, good, weights)
