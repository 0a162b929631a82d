"""Rotations out of 5, 6 and 9 free numbers. Numbers in names are those of the list of promises."""

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck, gradgradcheck

from pcinv.geometry import orthogonal as o
from pcinv.geometry.rotation import is_rotation, random_rotation

FORMULAS = ("gram-schmidt", "cross")


def hostile_sixd(dtype):
    """Return 6D inputs by name: well and badly conditioned, tiny, huge, and without an answer."""
    a = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    near = torch.cat([a[:, :3], 2 * a[:, :3] + 1e-4 * a[:, 3:]], dim=1)
    zero = torch.zeros(40, 3).double()
    cases = {
        "random": a, "near parallel": near, "tiny": 1e-12 * a, "huge": 1e12 * a,
        "parallel": torch.cat([a[:, :3], -3 * a[:, :3]], 1), "zero": torch.zeros(40, 6).double(),
        "first zero": torch.cat([zero, a[:, 3:]], 1), "second zero": torch.cat([a[:, :3], zero], 1),
    }
    return {name: value.to(dtype) for name, value in cases.items()}


class TestSixD:
    def test_1_decode_encode_is_identity(self, dtype, generator):
        matrix = random_rotation(6, 50, generator=generator, dtype=dtype)
        for formula in FORMULAS:
            back = o.sixd_to_matrix(o.matrix_to_sixd(matrix), formula)
            assert (back - matrix).abs().max() < 1e-6

    @pytest.mark.parametrize("formula", FORMULAS)
    @pytest.mark.parametrize("case", hostile_sixd(torch.float64))
    def test_1_output_is_a_rotation_with_finite_gradient(self, case, formula, dtype, tol):
        sixd = hostile_sixd(dtype)[case].requires_grad_()
        matrix = o.sixd_to_matrix(sixd, formula)
        assert is_rotation(matrix, tolerance=tol).all()
        (matrix * torch.arange(9.0, dtype=dtype).view(3, 3)).sum().backward()
        assert torch.isfinite(sixd.grad).all()

    def test_1_both_formulas_agree(self, dtype):
        for case, sixd in hostile_sixd(dtype).items():
            first, second = (o.sixd_to_matrix(sixd, formula) for formula in FORMULAS)
            # near parallel directions leave float32 about 1e-7 / 1e-4 of the answer
            is_rough = case in ("near parallel", "parallel") and dtype == torch.float32
            limit = 1e-2 if is_rough else 1e-6
            assert (first - second).abs().max() < limit, case

    def test_first_column_keeps_its_direction_and_length_does_not_matter(self, generator):
        sixd = torch.randn(20, 6, generator=generator, dtype=torch.float64)
        matrix = o.sixd_to_matrix(sixd)
        assert torch.linalg.cross(matrix[..., 0], sixd[:, :3]).abs().max() < 1e-12
        assert (o.sixd_to_matrix(7 * sixd) - matrix).abs().max() < 1e-12
        swapped = o.sixd_to_matrix(sixd.roll(3, 1))
        assert (swapped - matrix).abs().max() > 0.1

    def test_1_one_pass_of_gram_schmidt_would_not_be_orthonormal(self):
        a1, a2 = hostile_sixd(torch.float32)["near parallel"].split(3, dim=1)
        b1 = torch.nn.functional.normalize(a1, dim=1)
        b2 = torch.nn.functional.normalize(a2 - (b1 * a2).sum(1, True) * b1, dim=1)
        matrix = torch.stack([b1, b2, torch.linalg.cross(b1, b2)], -1)
        assert not is_rotation(matrix, tolerance=1e-5).all()


class TestFiveD:
    def test_2_decode_encode_is_identity(self, dtype, generator):
        matrix = random_rotation(3, 400, generator=generator, dtype=dtype)
        assert (o.fived_to_matrix(o.matrix_to_fived(matrix)) - matrix).abs().max() < 1e-5

    def test_axes_too(self, dtype):
        matrix = torch.as_tensor(Rotation.create_group("O").as_matrix(), dtype=dtype)
        assert (o.fived_to_matrix(o.matrix_to_fived(matrix)) - matrix).abs().max() < 1e-5

    @pytest.mark.parametrize("size", [0.0, 1e-12, 1e-5, 1.0, 1e12])
    def test_any_input_gives_a_rotation_with_finite_gradient(self, size, dtype, tol, generator):
        fived = (size * torch.randn(30, 5, generator=generator, dtype=dtype)).requires_grad_()
        matrix = o.fived_to_matrix(fived)
        assert is_rotation(matrix, tolerance=tol).all()
        (matrix * torch.arange(9.0, dtype=dtype).view(3, 3)).sum().backward()
        assert torch.isfinite(fived.grad).all()


def singular_cases():
    """Return 3x3 matrices whose singular values coincide, vanish, or belong to a mirror image."""
    g = torch.Generator().manual_seed(2)
    a, b = random_rotation(2, generator=g, dtype=torch.float64)
    values = {
        "all equal": [1, 1, 1], "two equal": [2, 1, 1], "two equal above": [2, 2, 1],
        "distinct": [3, 2, 1], "planar": [2, 1, 0], "planar equal": [1, 1, 0],
        "mirror": [3, 2, -1], "mirror two equal": [2, 2, -1],
    }
    turned = {k: a @ torch.diag(torch.tensor(v).double()) @ b for k, v in values.items()}
    return {"eye": 2 * torch.eye(3).double(), **turned}


def lost_cases():
    g = torch.Generator().manual_seed(3)
    a, b = random_rotation(2, generator=g, dtype=torch.float64)
    values = {
        "zero": [0, 0, 0], "line": [1, 0, 0], "mirror equal": [2, 1, -1], "mirror eye": [1, 1, -1],
    }
    return {k: a @ torch.diag(torch.tensor(v).double()) @ b for k, v in values.items()} | {
        "minus eye": -torch.eye(3).double()}


class TestProjection:
    def test_2_reflections_give_det_plus_one(self, dtype, tol, generator):
        matrix = random_rotation(50, generator=generator, dtype=dtype) @ torch.diag(
            torch.tensor([1.0, 1.0, -1.0], dtype=dtype))
        assert is_rotation(o.project_to_so3(matrix), tolerance=tol).all()

    def test_rotations_stay(self, dtype, tol, generator):
        matrix = random_rotation(2, 50, generator=generator, dtype=dtype)
        assert (o.project_to_so3(matrix) - matrix).abs().max() < tol
        assert (o.project_to_so3(3 * matrix) - matrix).abs().max() < tol

    def test_is_the_nearest_of_many_rotations(self, generator):
        matrix = torch.randn(20, 1, 3, 3, generator=generator, dtype=torch.float64)
        best = (o.project_to_so3(matrix) - matrix).flatten(-2).norm(dim=-1)
        others = random_rotation(1, 2_000, generator=generator, dtype=torch.float64)
        assert ((others - matrix).flatten(-2).norm(dim=-1) >= best).all()

    def test_turns_with_its_input(self, generator):
        matrix = torch.randn(20, 3, 3, generator=generator, dtype=torch.float64)
        left, right = random_rotation(2, 20, generator=generator, dtype=torch.float64)
        moved = o.project_to_so3(left @ matrix @ right)
        assert (moved - left @ o.project_to_so3(matrix) @ right).abs().max() < 1e-9

    @pytest.mark.parametrize("case", singular_cases())
    def test_derivatives_with_equal_singular_values(self, case):
        matrix = singular_cases()[case].requires_grad_()
        assert gradcheck(o.project_to_so3, matrix)
        assert gradgradcheck(o.project_to_so3, matrix)

    def test_derivative_of_svd_itself_fails_there(self):
        matrix = singular_cases()["all equal"].requires_grad_()
        u, _, vt = torch.linalg.svd(matrix)
        (u @ vt)[0, 1].backward()
        assert not torch.isfinite(matrix.grad).all()

    @pytest.mark.parametrize("case", lost_cases())
    def test_without_a_unique_answer_still_finite(self, case, dtype, tol):
        matrix = lost_cases()[case].to(dtype).requires_grad_()
        rotation = o.project_to_so3(matrix)
        assert is_rotation(rotation, tolerance=tol)
        rotation.sum().backward()
        assert torch.isfinite(matrix.grad).all()


@pytest.mark.parametrize("decode,width", [
    (o.fived_to_matrix, 5), (lambda x: o.sixd_to_matrix(x, "gram-schmidt"), 6),
    (lambda x: o.sixd_to_matrix(x, "cross"), 6),
])
def test_derivatives_of_decoders(decode, width, generator):
    x = torch.randn(4, width, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(decode, x) and gradgradcheck(decode, x)


def test_derivatives_of_encoders(generator):
    matrix = random_rotation(4, generator=generator, dtype=torch.float64).requires_grad_()
    assert gradcheck(o.matrix_to_sixd, matrix) and gradcheck(o.matrix_to_fived, matrix)
