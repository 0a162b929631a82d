"""Rigid motions as 4x4 matrices `T_target_source`: fitting, exponential, composition, application.

Points are rows: a point p of the source frame is R p + t in the target frame. All functions take
any leading shape, float32 or float64, and can be differentiated twice.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.errors import InputError, ShapeError
from pcinv.geometry.features import safe_norm
from pcinv.geometry.orthogonal import project_to_so3
from pcinv.geometry.rotation import axis_angle_to_matrix, hat, matrix_to_axis_angle

UNDETERMINED = ("everything", "rotation", "rotation about an axis", "nothing")
"""Which part of the motion the points leave open, by `RigidFit.rank`."""

_RIDGE = 1e-10  # share of the identity that picks the smallest of many equally good rotations
_ROUNDING = 32.0


@dataclass(frozen=True)
class RigidFit:
    """The rigid motion that best carries one set of points to another, and how firmly.

    T_target_source : (..., 4, 4).
    rmse : (...,) weighted root mean square distance after the motion.
    rank : (...,) 3 the motion is unique; 2 the rotation about `axis` is open (collinear points, or
        a mirror image that many rotations fit equally well); 1 the whole rotation is open
        (coincident points); 0 nothing is known (no weight). The smallest of equally good rotations
        is returned.
    condition : (...,) float64, of the rotation: how much more firmly it is held about its best axis
        than about its worst one; inf where `rank` is below 3.
    axis : (..., 3) unit vector in the target frame about which the rotation is least determined.
    """

    T_target_source: Float[Tensor, "*batch 4 4"]
    rmse: Float[Tensor, "*batch"]
    rank: Int[Tensor, "*batch"]
    condition: Float[Tensor, "*batch"]
    axis: Float[Tensor, "*batch 3"]

    @property
    def undetermined(self) -> list[str]:
        """What is left open, of `UNDETERMINED`, one entry for each fit of the batch."""
        return [UNDETERMINED[rank] for rank in self.rank.reshape(-1).tolist()]


def kabsch(
    source: Float[Tensor, "*batch n 3"],
    target: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"] | None = None,
) -> RigidFit:
    """Fit the rotation and translation that minimise sum_i w_i |R source_i + t - target_i|^2.

    Never a reflection. Computed in float64 and returned in the type of `source`; the gradient of
    the motion is finite for every input.

    source, target : (..., N, 3), row i of one belongs to row i of the other.
    weights : (..., N) >= 0; equal where not given.

    Raises ShapeError for other shapes, InputError for negative weights or values that are not
    finite.
    Source: Kabsch 1976; Umeyama 1991.
    """
    w, p, q = _check_pairs(source, target, weights)
    total = w.sum(-1, keepdim=True)
    share = (w / torch.where(total > 0, total, torch.ones_like(total))).unsqueeze(-1)
    p_base, q_base = p[..., :1, :].detach(), q[..., :1, :].detach()  # so that means keep digits
    p_mean, q_mean = (share * (p - p_base)).sum(-2, True), (share * (q - q_base)).sum(-2, True)
    p_local, q_local = p - p_base - p_mean, q - q_base - q_mean
    covariance = (share * q_local).mT @ p_local
    counts = share > 0
    noise = [_rounding_of(source, counts), _rounding_of(target, counts)]
    rank, condition, axis = _determination(covariance, p_local, q_local, share, noise)
    rank = torch.where(total.squeeze(-1) > 0, rank, 0)
    eye = torch.eye(3, dtype=torch.float64, device=source.device)
    ridge = _RIDGE * covariance.detach().abs().amax((-2, -1), keepdim=True) * eye
    degrees = rank[..., None, None]
    covariance = torch.where(degrees == 3, covariance, covariance + ridge)
    rotation = project_to_so3(torch.where(degrees < 2, eye, covariance))
    moved = p_local @ rotation.mT
    root = torch.where(counts, share, torch.ones_like(share)).sqrt() * counts
    rmse = safe_norm((root * (moved - q_local)).flatten(-2))
    translation = (q_base + q_mean - (p_base + p_mean) @ rotation.mT).squeeze(-2)
    translation = torch.where(total > 0, translation, torch.zeros_like(translation))
    dtype = source.dtype
    transform = make_transform(rotation, translation).to(dtype)
    return RigidFit(transform, rmse.to(dtype), rank, condition, axis.to(dtype))


def _rounding_of(points: Tensor, counts: Tensor) -> Tensor:
    """Return the length that rounding of the given coordinates may fake: (...,) float64."""
    largest = torch.where(counts, points.detach().double().abs(), 0.0).amax((-2, -1))
    return _ROUNDING * torch.finfo(points.dtype).eps * largest


def _check_pairs(
    source: Tensor, target: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, source and target in float64, checked."""
    shape = tuple(source.shape)
    if len(shape) < 2 or shape[-1] != 3 or shape[-2] == 0:
        raise ShapeError(f"expected (..., N, 3) with N >= 1, got {shape}", where="source",
                         hint="points are rows of x, y, z")
    if shape != target.shape:
        raise ShapeError(f"expected shape {shape} like the source, got {tuple(target.shape)}",
                         where="target", hint="row i of the source belongs to row i of the target")
    if weights is None:
        weights = torch.ones_like(source[..., 0])
    if weights.shape != source.shape[:-1]:
        raise ShapeError(f"expected weights {tuple(source.shape[:-1])}, got {tuple(weights.shape)}",
                         where="weights", hint="one weight for each pair")
    for name, values in (("source", source), ("target", target), ("weights", weights)):
        if not torch.isfinite(values).all():
            raise InputError("not all values are finite", where=name, hint="drop these pairs first")
    if (weights < 0).any():
        raise InputError(f"the smallest weight is {float(weights.min()):g}", where="weights",
                         hint="weights are 0 or more")
    return weights.double(), source.double(), target.double()


@torch.no_grad()
def _determination(
    covariance: Tensor, p: Tensor, q: Tensor, share: Tensor, noise: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rank of `RigidFit`, its condition, and its least determined axis.

    With singular values s1 >= s2 >= s3 of the covariance, s3 signed like its determinant, the
    rotation is held about its three axes by s1 + s2, s1 + s3 and s2 + s3.
    """
    u, s, vt = torch.linalg.svd(covariance)
    s2, s3 = s[..., 1], s[..., 2] * torch.linalg.det(u @ vt).sign()
    weakest, strongest = s2 + s3, s[..., 0] + s2
    # noise e of points that lie d off the line adds e^2 to s2 and s3, and moves each by e d
    fake = noise[0] * noise[1] + _ROUNDING * torch.finfo(torch.float64).eps * s[..., 0]
    fake = fake + torch.where(s3 < 0, (noise[0] + noise[1]) * s2.sqrt(), 0.0)
    spread = [(share * x * x).sum((-2, -1)).sqrt() for x in (p, q)]
    is_point = (spread[0] <= noise[0]) | (spread[1] <= noise[1]) | (strongest == 0)
    rank = torch.where(is_point, 1, torch.where(weakest <= fake, 2, 3))
    safe = torch.where(rank == 3, weakest, torch.ones_like(weakest))
    return rank, torch.where(rank == 3, strongest / safe, torch.inf), u[..., 0]


def make_transform(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Return the 4x4 matrix of p -> R p + t."""
    top = torch.cat([rotation, translation.unsqueeze(-1)], dim=-1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device)
    return torch.cat([top, bottom.expand(*top.shape[:-2], 1, 4)], dim=-2)


def compose(
    T_c_b: Float[Tensor, "*#batch 4 4"], T_b_a: Float[Tensor, "*#batch 4 4"]
) -> Float[Tensor, "*shape 4 4"]:
    """Return T_c_a: first from a to b, then from b to c."""
    return T_c_b @ T_b_a


def invert(T_target_source: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Return T_source_target of a rigid motion, exactly rigid: R^T and -R^T t."""
    back = T_target_source[..., :3, :3].mT
    return make_transform(back, -(back @ T_target_source[..., :3, 3:]).squeeze(-1))


def transform_points(
    T_target_source: Float[Tensor, "*#batch 4 4"], xyz: Float[Tensor, "*#batch n 3"]
) -> Float[Tensor, "*shape n 3"]:
    """Return R p + t of each point.

    xyz : (..., N, 3).
    """
    return xyz @ T_target_source[..., :3, :3].mT + T_target_source[..., None, :3, 3]


def transform_normals(
    T_target_source: Float[Tensor, "*#batch 4 4"], normal: Float[Tensor, "*#batch n 3"]
) -> Float[Tensor, "*shape n 3"]:
    """Return R n of each normal; directions do not move.

    normal : (..., N, 3).
    """
    return normal @ T_target_source[..., :3, :3].mT


def se3_exp(twist: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """Return the rigid motion with rotation vector w and translation V(w) v, for twist = (v, w).

    Source: Barfoot, State Estimation for Robotics, 2017, eq. 7.85.
    """
    v, w = twist[..., :3], twist[..., 3:]
    translation = (_left_jacobian(w) @ v.unsqueeze(-1)).squeeze(-1)
    return make_transform(axis_angle_to_matrix(w), translation)


def se3_log(T_target_source: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6"]:
    """Return the twist (v, w) whose `se3_exp` is this rigid motion, with |w| <= pi.

    At |w| = pi there are two; one is returned.
    """
    w = matrix_to_axis_angle(T_target_source[..., :3, :3])
    v = torch.linalg.solve(_left_jacobian(w), T_target_source[..., :3, 3:])
    return torch.cat([v.squeeze(-1), w], dim=-1)


def _left_jacobian(w: Tensor) -> Tensor:
    """Return V(w) = I + (1 - cos a) / a^2 hat(w) + (a - sin a) / a^3 hat(w)^2 with a = |w|."""
    cross, square = hat(w), (w * w).sum(-1)[..., None, None]
    small = square < 0.25
    x = torch.where(small, torch.ones_like(square), square)
    a = x.sqrt()
    first = torch.where(small, _series(square, 2), (1 - a.cos()) / x)
    second = torch.where(small, _series(square, 3), (a - a.sin()) / (x * a))
    eye = torch.eye(3, dtype=w.dtype, device=w.device)
    return eye + first * cross + second * (cross @ cross)


def _series(square: Tensor, order: int) -> Tensor:
    """Return sum_n (-square)^n / (2 n + order)!, to rounding for square < 0.25."""
    total = torch.ones_like(square)
    for n in range(6, 0, -1):
        total = 1 - square / ((2 * n + order - 1) * (2 * n + order)) * total
    return total / (2 if order == 2 else 6)
