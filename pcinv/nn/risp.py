"""Rotation-invariant surface properties of a neighbourhood: cyclic order and features.

RISurConv (arXiv 2408.06110) describes each neighbour of a centre, together with the one before
and the one after it in cyclic order around the centre's axis, by 14 lengths and cosines; RIConv++
(arXiv 2202.13094) by 8. Vectors are kept component first, (3, B, S, K), so that every operation
runs over contiguous memory.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.ops.margins import record_margin, tracking

_LENGTH_EPS = 1e-7
_ON_AXIS = 1e-5
"""A neighbour whose distance from the axis is below this share of the largest has no angle."""


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.addcmul(torch.addcmul(a[0] * b[0], a[1], b[1]), a[2], b[2])


def _length(a: Tensor) -> Tensor:
    # Zero vectors get the square root of the smallest number, whose gradient is finite: 0.
    return _dot(a, a).clamp_min(torch.finfo(a.dtype).tiny).sqrt()


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack((
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ))


def cyclic_angle(
    offset: Float[Tensor, "3 b s k"], axis: Float[Tensor, "3 b s"], *, centre_last: bool = True
) -> Float[Tensor, "b s k"]:
    """Return each neighbour's angle around the axis, clockwise seen from its tip.

    The neighbour farthest from the axis has angle 0; those on the axis (the centre itself) have
    none and come last: 7 plus a bounded function of the height along the axis. The published
    code puts them a quarter turn after the first: `centre_last=False`.

    offset : neighbour minus centre.  axis : unit vector of each centre.
    """
    n = axis[..., None]
    height = _dot(offset, n)
    flat = offset - height * n  # (3, B, S, K), in the plane orthogonal to the axis
    radius2 = _dot(flat, flat)
    far2, far = radius2.max(dim=-1, keepdim=True)  # (B, S, 1)
    e = flat.gather(-1, far.expand(3, *far.shape))
    e = e / far2.clamp_min(torch.finfo(far2.dtype).tiny).sqrt()
    angle = torch.atan2(_dot(flat, _cross(e, n)), _dot(flat, e))
    angle = torch.where(angle < 0, angle + 2 * math.pi, angle)
    angle.scatter_(-1, far, 0.0)  # its own cross product is rounding noise of either sign
    on_axis = radius2 <= far2 * _ON_AXIS**2
    last = 7 + torch.atan(height) if centre_last else torch.full_like(height, math.pi / 2)
    angle = torch.where(on_axis, last, angle)
    if tracking() and angle.shape[-1] > 1:
        _record_margins(angle, radius2)
    return angle


def _record_margins(angle: Tensor, radius2: Tensor) -> None:
    """Record how close two neighbours are to changing places: arc between them, or in radius."""
    radius = radius2.sqrt()
    top = radius.topk(2, dim=-1).values
    gap = (top[..., 0] - top[..., 1])[top[..., 0] > 0]
    angle, order = angle.sort(dim=-1)
    radius = radius.gather(-1, order)
    # After the last around the circle comes the first again; those on the axis have no place.
    is_next = F.pad(angle[..., 1:], (0, 1), value=torch.inf) <= 2 * math.pi
    following = torch.where(is_next, angle.roll(-1, -1), angle[..., :1] + 2 * math.pi)
    nearer = torch.minimum(radius, torch.where(is_next, radius.roll(-1, -1), radius[..., :1]))
    arc = ((following - angle) * nearer)[angle <= 2 * math.pi]
    for distance in (gap, arc):
        if distance.numel():
            record_margin(float(distance.min()))


def cyclic_order(
    offset: Float[Tensor, "3 b s k"], axis: Float[Tensor, "3 b s"], *, centre_last: bool = True
) -> tuple[Float[Tensor, "b s k"], Int[Tensor, "b s k"]]:
    """Sort neighbours clockwise around the axis; equal angles keep their order.

    Returns the sorted angles of `cyclic_angle` and the permutation.
    """
    found = cyclic_angle(offset, axis, centre_last=centre_last).sort(dim=-1, stable=True)
    return found.values, found.indices


def risp_features(
    offset: Float[Tensor, "3 b s k"],
    normal: Float[Tensor, "3 b s k"],
    axis: Float[Tensor, "3 b s"],
    stride: int = 1,
) -> Float[Tensor, "14 b s k"]:
    """Compute the 14 features of RISurConv for neighbours in cyclic order.

    offset : neighbour a minus centre p.  normal : unit vectors of the neighbours.
    axis : unit vector of each centre.  stride : how far the predecessor b and the successor c
    are away in the order. Feature 0 is a length, the others are cosines (13: a product of two
    sines and a cosine).

    Features that belong to the successor are those of the predecessor, seen from the other end:
    they are rolled instead of computed again.
    """
    length = _length(offset)  # |a|
    u = offset / (length + _LENGTH_EPS)  # u(a)
    u_b, normal_b = u.roll(stride, -1), normal.roll(stride, -1)
    edge = offset.roll(stride, -1) - offset  # b - a
    edge = edge / (_length(edge) + _LENGTH_EPS)

    at_centre = _dot(u, axis[..., None])  # u(a).n_p
    at_point = -_dot(u, normal)  # -u(a).n_a
    between = _dot(u, u_b)  # u(a).u(b)
    edge_at_a = _dot(edge, normal)  # u(b-a).n_a = -u(a-b).n_a
    edge_u_a = _dot(edge, u)
    between_c = between.roll(-stride, -1)  # u(c).u(a)
    u_c = u.roll(-stride, -1)
    # (u_c x u_a).(u_b x u_a) = (u_c.u_b)|u_a|^2 - (u_c.u_a)(u_a.u_b)
    dihedral = _dot(_cross(u_c, u), _cross(u_b, u))
    return torch.stack((
        length,  # 0  |a|
        at_centre,  # 1  u(a).n_p
        at_point,  # 2  -u(a).n_a
        between,  # 3  u(a).u(b)
        at_centre.roll(stride, -1),  # 4  u(b).n_p
        at_point.roll(stride, -1),  # 5  -u(b).n_b
        _dot(u_b, edge),  # 6  u(b).u(b-a)
        edge_at_a,  # 7  -u(a-b).n_a
        -_dot(edge, normal_b),  # 8  u(a-b).n_b
        between_c,  # 9  u(c).u(a)
        -edge_u_a.roll(-stride, -1),  # 10 u(c).u(c-a)
        -edge_at_a.roll(-stride, -1),  # 11 u(c-a).n_c, from 7 of c
        _dot(u, normal.roll(-stride, -1)),  # 12 u(a).n_c
        dihedral,  # 13
    ))


def riconv_features(
    offset: Float[Tensor, "3 b s k"],
    normal: Float[Tensor, "3 b s k"],
    axis: Float[Tensor, "3 b s"],
    angle: Float[Tensor, "b s k"],
    *,
    signed: bool = True,
) -> Float[Tensor, "8 b s k"]:
    """Compute the 8 features of RIConv++ for neighbours in cyclic order.

    angle : sorted angles of `cyclic_order`.  signed : give the two angles between normals the
    sign that the paper describes; the published weights were trained without.
    """
    length = _length(offset)
    u = offset / (length + _LENGTH_EPS)
    edge = offset - offset.roll(1, -1)  # a - b
    edge = edge / (_length(edge) + _LENGTH_EPS)
    normal_b = normal.roll(1, -1)
    axis = axis[..., None].expand_as(normal)
    # The sort key runs from 1 to -3 around the circle; a point on the axis ends it.
    cosine = torch.cos(angle)
    key = torch.where(angle <= math.pi, cosine, -2 - cosine)
    key = torch.where(angle > 2 * math.pi, torch.full_like(key, -3), key)
    turn = key - key.roll(1, -1)
    turn = torch.cat((-3 - key[..., -1:], turn[..., 1:]), dim=-1)

    u_p, u_a = _dot(u, axis), _dot(u, normal)
    e_a, e_b = _dot(edge, normal), _dot(edge, normal_b)
    to_axis, to_previous = _between(normal, axis), _between(normal, normal_b)
    if signed:
        to_axis = torch.where(u_a < u_p, to_axis, -to_axis)
        to_previous = torch.where(e_a < e_b, to_previous, -to_previous)
    return torch.stack((length, turn, u_p, u_a, to_axis, e_a, e_b, to_previous))


def _between(a: Tensor, b: Tensor) -> Tensor:
    """Angle between two vectors in [0, pi], with gradients that are finite everywhere."""
    return torch.atan2(_length(_cross(a, b)), _dot(a, b))
