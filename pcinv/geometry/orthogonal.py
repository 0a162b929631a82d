"""Rotations out of unconstrained numbers, for the output of a network: 5, 6 or 9 of them.

No representation in four dimensions or fewer has a continuous inverse; these have. Source: Zhou et
al., CVPR 2019; for the projection of nine numbers, Levinson et al., NeurIPS 2020.
All functions take any leading shape, float32 or float64, and can be differentiated twice.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pcinv.geometry.features import safe_norm, safe_normalize
from pcinv.geometry.rotation import hat, vee

_PARALLEL = 1e-6  # sine of the angle between two directions below which they span no plane
_STEREO = (1 + math.sqrt(2), 1 + math.sqrt(2), math.sqrt(2))


def matrix_to_sixd(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """Return the first two columns of a rotation, one after the other."""
    return torch.cat([matrix[..., 0], matrix[..., 1]], dim=-1)


def sixd_to_matrix(
    sixd: Float[Tensor, "*batch 6"], formula: Literal["gram-schmidt", "cross"] = "gram-schmidt"
) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation [b1 b2 b3] with b1 along a1 and b2 in the plane of a1 and a2.

    formula : the one of the paper, b2 = unit(a2 - (b1.a2) b1), b3 = b1 x b2, or the one of its
    code, b3 = unit(b1 x a2), b2 = b3 x b1: the same basis. A zero a1 counts as the x axis; an a2
    that spans no plane with a1 counts as the coordinate axis farthest from it.
    """
    a1, a2 = sixd[..., :3], sixd[..., 3:]
    b1 = safe_normalize(a1)
    x_axis = torch.tensor([1.0, 0.0, 0.0], dtype=sixd.dtype, device=sixd.device)
    b1 = torch.where(b1.detach().any(-1, keepdim=True), b1, x_axis)
    a2 = safe_normalize(a2)
    parallel = torch.linalg.cross(b1, a2).norm(dim=-1, keepdim=True).detach() < _PARALLEL
    farthest = b1.detach().abs().argmin(-1)
    fallback = torch.nn.functional.one_hot(farthest, 3).to(sixd.dtype)
    a2 = torch.where(parallel, fallback, a2)
    if formula == "cross":
        b3 = _away_from(b1, _away_from(b1, torch.linalg.cross(b1, a2)))
        return torch.stack([b1, torch.linalg.cross(b3, b1), b3], dim=-1)
    b2 = _away_from(b1, _away_from(b1, a2))  # once leaves rounding over the sine of their angle
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2)], dim=-1)


def _away_from(unit: Tensor, v: Tensor) -> Tensor:
    """Return the direction of the part of v orthogonal to `unit`."""
    return safe_normalize(v - (unit * v).sum(-1, keepdim=True) * unit)


def matrix_to_fived(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 5"]:
    """Return five numbers: two of the first column, and a stereographic map of the rest of 6D.

    The third entry of the first column and the second column, normalised, are a point of the
    3-sphere that is never near the pole of the map.
    """
    first, second = matrix[..., 0], matrix[..., 1]
    length = torch.sqrt(1 + first[..., 2:] ** 2)
    scale = torch.tensor(_STEREO, dtype=matrix.dtype, device=matrix.device)
    mapped = (second / length) / (1 - first[..., 2:] / length)
    return torch.cat([first[..., :2], mapped / scale], dim=-1)


def fived_to_matrix(fived: Float[Tensor, "*batch 5"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation of five numbers: the inverse stereographic map, then that of 6D.

    With s the length of the three scaled numbers a, the point of the 3-sphere is (s^2 - 1, 2 a) /
    (s^2 + 1); over the length of its last three entries that is (s - 1/s) / 2 and a / s. The pole,
    s = 0, has no rotation: it gives what the fallback axes of `sixd_to_matrix` give.
    """
    scaled = fived[..., 2:] * torch.tensor(_STEREO, dtype=fived.dtype, device=fived.device)
    s = safe_norm(scaled, keepdim=True).clamp_min(_PARALLEL)
    third = (s - 1 / s) / 2
    return sixd_to_matrix(torch.cat([fived[..., :2], third, scaled / s], dim=-1))


def project_to_so3(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation nearest to a matrix (least squares): U diag(1, 1, det(U V^T)) V^T.

    Reflections give a rotation too. The gradient is that of the polar factor and not of the
    singular vectors, so equal singular values do no harm. Where the nearest rotation itself is not
    unique (rank below 2, or a mirror image whose two smaller singular values are equal) one is
    returned, with a finite gradient.
    """
    rotation: Tensor = _Project.apply(matrix)  # type: ignore[no-untyped-call]
    return rotation


class _Project(torch.autograd.Function):
    """Polar factor R of M = R S; dR = R hat(w) with (tr(S) I - S) w = vee(R^T dM - dM^T R)."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        u, s, vt = torch.linalg.svd(matrix)
        sign = torch.ones_like(s)
        sign[..., 2] = torch.linalg.det(u @ vt).sign()
        rotation: Tensor = (u * sign.unsqueeze(-2)) @ vt
        # the smallest eigenvalue of tr(S) I - S; where it vanishes R is not unique
        least = s[..., 1] + sign[..., 2] * s[..., 2]
        floor = 1e3 * torch.finfo(s.dtype).eps * s[..., 0]
        floor = torch.where(floor > 0, floor, torch.ones_like(floor))
        ridge = torch.where(least < floor, floor, torch.zeros_like(floor))
        ctx.save_for_backward(matrix, rotation, ridge)
        return rotation

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        matrix, rotation, ridge = ctx.saved_tensors
        stretch = rotation.mT @ matrix
        stretch = (stretch + stretch.mT) / 2
        eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
        trace = stretch.diagonal(dim1=-2, dim2=-1).sum(-1) + ridge
        system = trace[..., None, None] * eye - stretch
        turn = rotation.mT @ grads[0]
        solved = torch.linalg.solve(system, vee(turn - turn.mT).unsqueeze(-1)).squeeze(-1)
        gradient: Tensor = rotation @ hat(solved)
        return gradient
