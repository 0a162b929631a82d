"""Lengths, angles and pair features that rotations leave alone, with finite gradients everywhere.

Norms are taken of rescaled vectors, so that neither tiny nor huge ones under- or overflow, and have
gradient zero at the zero vector. Angles come from atan2 of the cross and the dot product: acos has
an infinite slope at 0 and 180 degrees. All functions can be differentiated twice.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def _rescale(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return v over its largest entry, that entry (constant to autograd), and where v is zero."""
    size = v.detach().abs().amax(-1, keepdim=True)
    zero = size <= torch.finfo(v.dtype).tiny ** 0.5  # shorter ones have derivatives that overflow
    size = torch.where(zero, torch.ones_like(size), size)
    return v / size, size, zero


def safe_norm(v: Float[Tensor, "*batch c"], *, keepdim: bool = False) -> Tensor:
    """Return the length of each vector; its gradient at the zero vector is zero.

    v : (..., C) float.  Returns (...,), or (..., 1) with `keepdim`.
    """
    unit_size, size, zero = _rescale(v)
    unit_size = torch.where(zero, torch.ones_like(v), unit_size)
    length = torch.linalg.vector_norm(unit_size, dim=-1, keepdim=True) * size
    length = torch.where(zero, torch.zeros_like(length), length)
    return length if keepdim else length.squeeze(-1)


def safe_normalize(v: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch c"]:
    """Return v over its length; the zero vector stays zero, with gradient zero.

    v : (..., C) float.
    """
    unit_size, _, zero = _rescale(v)
    unit_size = torch.where(zero, torch.ones_like(v), unit_size)
    unit = unit_size / torch.linalg.vector_norm(unit_size, dim=-1, keepdim=True)
    return torch.where(zero, torch.zeros_like(v), unit)


def _atan2(y: Tensor, x: Tensor, undefined: Tensor) -> Tensor:
    """Return atan2(y, x), and 0 with gradient 0 where `undefined`."""
    x = torch.where(undefined, torch.ones_like(x), x)
    return torch.atan2(torch.where(undefined, torch.zeros_like(y), y), x)


def angle(a: Float[Tensor, "*#batch 3"], b: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*shape"]:
    """Return the angle between a and b in [0, pi]; 0 where one of them is the zero vector.

    a, b : (..., 3) float, of any length.  Returns (...,) radians.
    """
    a, _, a_zero = _rescale(a)
    b, _, b_zero = _rescale(b)
    cross, dot = torch.linalg.cross(a, b), (a * b).sum(-1)
    return _atan2(safe_norm(cross), dot, (a_zero | b_zero).squeeze(-1))


def signed_angle(
    a: Float[Tensor, "*#batch 3"], b: Float[Tensor, "*#batch 3"], axis: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*shape"]:
    """Return the angle from a to b, seen against `axis`, in (-pi, pi]: counter-clockwise positive.

    Both are first projected onto the plane orthogonal to `axis`. 0 where that leaves nothing of one
    of them, for then there is no angle.

    a, b, axis : (..., 3) float, of any length.  Returns (...,) radians.
    """
    a, b = safe_normalize(a), safe_normalize(b)
    axis = safe_normalize(axis)
    y = (axis * torch.linalg.cross(a, b)).sum(-1)
    x = (a * b).sum(-1) - (a * axis).sum(-1) * (b * axis).sum(-1)
    # x^2 + y^2 is the squared product of the projected lengths: below rounding it means nothing
    undefined = torch.hypot(x, y).detach() <= 16 * torch.finfo(x.dtype).eps
    return _atan2(y, x, undefined | ~axis.detach().any(-1))


def point_pair_features(
    p1: Float[Tensor, "*#batch 3"],
    n1: Float[Tensor, "*#batch 3"],
    p2: Float[Tensor, "*#batch 3"],
    n2: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*shape 4"]:
    """Return |d|, angle(n1, d), angle(n2, d), angle(n1, n2) with d = p2 - p1.

    p1, p2 : (..., 3) points.  n1, n2 : (..., 3) their normals.
    Invariant under every rigid motion, reflections too. Source: Drost et al., CVPR 2010, eq. 1.
    """
    d = p2 - p1
    return torch.stack([safe_norm(d), angle(n1, d), angle(n2, d), angle(n1, n2)], dim=-1)


def informative_features(
    point: Float[Tensor, "*#batch 3"],
    axis: Float[Tensor, "*#batch 3"],
    neighbour: Float[Tensor, "*#batch 3"],
    neighbour_axis: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*shape 4"]:
    """Return |d|, angle(axis, d), angle(neighbour_axis, d) and the dihedral angle about d.

    The dihedral angle runs from `axis` to `neighbour_axis`, signed, so that with the length and the
    two angles it fixes the pair up to a rotation and a shift: a mirror image flips its sign.

    point, neighbour : (..., 3) points.  axis, neighbour_axis : (..., 3) their axes.
    Source: after the informative features of RIConv++, Zhang et al., IJCV 2022, section 3.
    """
    d = neighbour - point
    dihedral = signed_angle(axis, neighbour_axis, d)
    return torch.stack([safe_norm(d), angle(axis, d), angle(neighbour_axis, d), dihedral], dim=-1)
