"""Rotations against scipy, near 0 and 180 degrees, and by their statistics.

Numbers in names are those of the list of promises.
"""

import math

import numpy as np
import pytest
import torch
from helpers.clouds import rotations
from hypothesis import given, settings
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck, gradgradcheck

from pcinv.errors import UnknownNameError
from pcinv.geometry import rotation as r

ANGLES = [0.0, 1e-12, 1e-8, 1e-4, 9e-3, 0.5, math.pi / 2, 3.0,
          math.pi - 1e-4, math.pi - 1e-8, math.pi]


def by_axis_angle(angles, dtype, seed=0):
    """Return (A, 16, 3, 3) rotations of these angles about 16 axes, and the axes."""
    rng = np.random.default_rng(seed)
    axes = np.concatenate([rng.normal(size=(13, 3)), np.eye(3)])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    vectors = np.asarray(angles)[:, None, None] * axes
    matrices = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)
    return torch.as_tensor(matrices, dtype=dtype), torch.as_tensor(axes, dtype=dtype)


def haar_statistics(rotation):
    """Return |mean trace| and the distance of the angles' distribution from (t - sin t) / pi."""
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = r.geodesic_angle(rotation, torch.eye(3, dtype=rotation.dtype)).sort().values
    expected = (angle - angle.sin()) / math.pi
    found = (torch.arange(len(angle)) + 0.5) / len(angle)
    return abs(float(trace.mean())), float((expected - found).abs().max())


class TestSampling:
    def test_3_random_rotation_is_haar(self, generator):
        drawn = r.random_rotation(20_000, generator=generator, dtype=torch.float64)
        assert r.is_rotation(drawn, tolerance=1e-12).all()
        mean, distance = haar_statistics(drawn)
        assert mean < 0.05 and distance < 0.02

    def test_3_uniform_euler_angles_are_not_haar(self, generator):
        angles = 2 * math.pi * torch.rand(20_000, 3, generator=generator, dtype=torch.float64)
        _, distance = haar_statistics(r.euler_to_matrix(angles))
        assert distance > 0.02

    def test_3_a_fixed_rotation_does_not_change_the_distribution(self, generator):
        drawn = r.random_rotation(20_000, generator=generator, dtype=torch.float64)
        fixed = r.random_rotation(generator=generator, dtype=torch.float64)
        assert haar_statistics(drawn @ fixed)[1] < 0.02

    def test_about_z_keeps_z_and_covers_the_circle(self, generator):
        drawn = r.random_rotation_z(4_000, generator=generator)
        assert torch.equal(drawn[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(4_000, 3))
        turn = torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0])
        assert torch.histc(turn, 8, -math.pi, math.pi).min() > 400

    def test_shapes_and_one_seed_for_both_types(self):
        assert r.random_rotation().shape == (3, 3)
        assert r.random_rotation(2, 5).shape == (2, 5, 3, 3)
        assert r.random_rotation(0).shape == (0, 3, 3)
        for draw in (r.random_rotation, r.random_rotation_z):
            single, double = (draw(4, generator=torch.Generator().manual_seed(3), dtype=d)
                              for d in (torch.float32, torch.float64))
            assert torch.equal(single, double.float())
            assert not torch.equal(draw(4), draw(4))


class TestGeodesicAngle:
    def test_4_exact_at_0_90_180_degrees(self, dtype, tol):
        matrices, _ = by_axis_angle(ANGLES, dtype)
        found = r.geodesic_angle(matrices, torch.eye(3, dtype=dtype))
        expected = torch.tensor(ANGLES, dtype=dtype)[:, None].expand_as(found)
        # the matrix of an angle within rounding of pi holds it only to rounding
        assert (found - expected).abs().max() < max(tol, 1e-7)

    def test_4_symmetric_and_invariant(self, dtype, tol, generator):
        a, b, c = r.random_rotation(3, 50, generator=generator, dtype=dtype)
        angle = r.geodesic_angle(a, b)
        assert (angle - r.geodesic_angle(b, a)).abs().max() < tol
        assert (angle - r.geodesic_angle(c @ a, c @ b)).abs().max() < 10 * tol
        assert (angle - r.geodesic_angle(a, c)).abs().max() > 0.1

    @pytest.mark.parametrize("angle", [0.0, 1e-9, math.pi - 1e-9, math.pi])
    def test_4_gradient_is_finite_at_0_and_180_degrees(self, angle, dtype):
        matrices, _ = by_axis_angle([angle], dtype)
        matrices.requires_grad_()
        r.geodesic_angle(matrices, torch.eye(3, dtype=dtype)).sum().backward()
        assert torch.isfinite(matrices.grad).all()
        assert matrices.grad.abs().max() < 10

    def test_4_acos_would_fail_there(self):
        eye = torch.eye(3, dtype=torch.float64, requires_grad=True)
        torch.acos((eye.trace() - 1) / 2).backward()
        assert not torch.isfinite(eye.grad).all()


class TestQuaternion:
    def test_against_scipy(self, dtype, tol, generator):
        matrices = r.random_rotation(200, generator=generator, dtype=dtype)
        found = r.matrix_to_quaternion(matrices)
        expected = Rotation.from_matrix(matrices.double().numpy()).as_quat(canonical=True)
        assert np.abs(found.numpy() - expected[:, [3, 0, 1, 2]]).max() < tol
        assert (r.quaternion_to_matrix(found) - matrices).abs().max() < tol

    def test_every_angle_comes_back(self, dtype, tol):
        matrices, _ = by_axis_angle(ANGLES, dtype)
        q = r.matrix_to_quaternion(matrices)
        assert (r.quaternion_to_matrix(q) - matrices).abs().max() < tol
        assert (q.norm(dim=-1) - 1).abs().max() < tol
        assert (q[..., 0] >= 0).all()

    def test_half_turns_have_one_sign(self):
        half = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]]))
        q = r.matrix_to_quaternion(half)
        assert torch.equal(q, torch.eye(4)[1:])

    def test_length_does_not_matter_and_zero_is_identity(self, dtype, tol):
        q = torch.tensor([[0.1, -0.2, 0.3, 0.4]], dtype=dtype)
        expected = r.quaternion_to_matrix(q)
        for size in (1e-12, 1e12, -3.0):
            assert (r.quaternion_to_matrix(size * q) - expected).abs().max() < tol
        zero = torch.zeros(4, dtype=dtype, requires_grad=True)
        matrix = r.quaternion_to_matrix(zero)
        assert torch.equal(matrix, torch.eye(3, dtype=dtype))
        matrix.sum().backward()
        assert torch.isfinite(zero.grad).all()


class TestAxisAngle:
    def test_every_angle_comes_back(self, dtype, tol):
        matrices, axes = by_axis_angle(ANGLES, dtype)
        vectors = r.matrix_to_axis_angle(matrices)
        assert (r.axis_angle_to_matrix(vectors) - matrices).abs().max() < tol
        angles = torch.tensor(ANGLES, dtype=dtype)
        # a matrix holds its angle only to rounding where the angle is at pi
        assert (vectors.norm(dim=-1) - angles[:, None]).abs().max() < max(tol, 1e-7)
        middle = slice(3, 8)  # here the axis has a sign
        assert (vectors[middle] - angles[middle, None, None] * axes).abs().max() < 10 * tol

    def test_tiny_angles_keep_their_digits(self, dtype):
        eps = torch.finfo(dtype).eps
        vector = torch.tensor([3e-20, -4e-20, 1e-21], dtype=dtype)
        back = r.matrix_to_axis_angle(r.axis_angle_to_matrix(vector))
        assert ((back - vector) / vector).abs().max() < 8 * eps

    def test_near_half_turn_the_axis_is_exact(self, dtype, tol):
        for gap in (1e-3, 1e-5, 1e-7):
            matrices, axes = by_axis_angle([math.pi - gap], dtype)
            vectors = r.matrix_to_axis_angle(matrices)[0]
            assert torch.linalg.cross(vectors, axes).abs().max() < 4 * tol

    def test_series_and_closed_form_agree_where_they_meet(self):
        for at in (0.01, 2e-3):
            around = [[at * (1 - 1e-9), 0, 0], [at * (1 + 1e-9), 0, 0]]
            vectors = torch.tensor(around, dtype=torch.float64)
            q = r.axis_angle_to_quaternion(vectors)
            assert (q[1] - q[0])[1] == pytest.approx(at * 1e-9, rel=1e-5)
            assert (r.quaternion_to_axis_angle(q) - vectors).abs().max() < 1e-17


class TestEuler:
    @pytest.mark.parametrize("convention", r.EULER_CONVENTIONS)
    def test_against_scipy(self, convention, dtype, tol, generator):
        matrices = r.random_rotation(100, generator=generator, dtype=dtype)
        angles = r.matrix_to_euler(matrices, convention)
        expected = Rotation.from_matrix(matrices.double().numpy()).as_euler(convention)
        assert np.abs(angles.numpy() - expected).max() < 100 * tol  # near gimbal lock
        assert (r.euler_to_matrix(angles, convention) - matrices).abs().max() < tol
        there = Rotation.from_euler(convention, angles.double().numpy()).as_matrix()
        assert np.abs(there - matrices.numpy()).max() < tol

    @pytest.mark.parametrize("convention", r.EULER_CONVENTIONS)
    def test_gimbal_lock_still_gives_the_rotation(self, convention, dtype, tol):
        middles = [0.0, math.pi] if convention[0] == convention[2] else [-math.pi / 2, math.pi / 2]
        for middle in middles:
            given_angles = torch.tensor([[0.3, middle, 0.8], [-2.0, middle, 2.9]], dtype=dtype)
            matrix = r.euler_to_matrix(given_angles, convention)
            found = r.matrix_to_euler(matrix, convention)
            assert (r.euler_to_matrix(found, convention) - matrix).abs().max() < tol
            assert found[:, 2].abs().max() < tol
            assert (found <= math.pi + tol).all() and (found >= -math.pi - tol).all()

    def test_convention_is_intrinsic_and_named(self):
        angles = torch.tensor([math.pi / 2, 0.0, 0.0])
        about_z, about_x = (r.euler_to_matrix(angles, name) for name in ("ZYX", "XYZ"))
        assert torch.allclose(about_z[:, 0], torch.tensor([0.0, 1, 0]), atol=1e-6)
        assert torch.allclose(about_x[:, 1], torch.tensor([0.0, 0, 1]), atol=1e-6)
        with pytest.raises(UnknownNameError, match="ZYZZ"):
            r.euler_to_matrix(angles, "ZYZZ")
        with pytest.raises(UnknownNameError, match="zyx"):
            r.matrix_to_euler(torch.eye(3), "zyx")


@settings(max_examples=60, deadline=None)
@given(rotations())
def test_all_representations_return_hostile_rotations(matrix):
    matrix = torch.from_numpy(matrix)
    for there, back in (
        (r.matrix_to_quaternion, r.quaternion_to_matrix),
        (r.matrix_to_axis_angle, r.axis_angle_to_matrix),
        (r.matrix_to_euler, r.euler_to_matrix),
    ):
        assert (back(there(matrix)) - matrix).abs().max() < 1e-11


def test_is_rotation():
    matrix = r.random_rotation(dtype=torch.float64)
    stack = torch.stack([f * matrix for f in (1, -1, 1.001, 0, torch.nan)])
    assert r.is_rotation(stack).tolist() == [True, False, False, False, False]


def test_hat_is_the_cross_product(dtype, tol, generator):
    a, b = torch.randn(2, 7, 3, generator=generator, dtype=dtype)
    assert ((r.hat(a) @ b[..., None])[..., 0] - torch.linalg.cross(a, b)).abs().max() < tol
    assert torch.equal(r.vee(r.hat(a)), a)


@pytest.mark.parametrize("function,shape", [
    (r.quaternion_to_matrix, (3, 4)), (r.axis_angle_to_quaternion, (3, 3)),
    (r.axis_angle_to_matrix, (3, 3)), (r.euler_to_matrix, (3, 3)),
])
def test_derivatives_of_decoders(function, shape, generator):
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(function, x) and gradgradcheck(function, x)


def test_derivatives_of_encoders(generator):
    vector = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    second = r.random_rotation(4, generator=generator, dtype=torch.float64)
    for encode in (r.matrix_to_quaternion, r.matrix_to_axis_angle, r.matrix_to_euler,
                   lambda m: r.geodesic_angle(m, second)):
        def function(v, encode=encode):
            return encode(r.axis_angle_to_matrix(v))
        assert gradcheck(function, vector) and gradgradcheck(function, vector)


@pytest.mark.parametrize("angle", [0.0, 1e-10, 1e-3, 1e-2])
def test_derivatives_at_small_angles(angle):
    vector = torch.tensor([[angle, 0, 0]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(r.axis_angle_to_matrix, vector)
    assert gradgradcheck(r.axis_angle_to_matrix, vector)
    there_and_back = torch.autograd.functional.jacobian(
        lambda v: r.matrix_to_axis_angle(r.axis_angle_to_matrix(v)), vector[0].detach())
    assert (there_and_back - torch.eye(3).double()).abs().max() < 1e-9
