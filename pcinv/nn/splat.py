"""Small pictures of clouds, drawn of their points alone: how near each is, and how it faces us.

A point is a disc whose edge fades over one pixel, and what is behind the front fades too, so a
picture is a continuous function of the points: rounding can change a pixel by rounding, and never
by a whole point. Of discs that meet in a pixel the largest value wins, whatever their order.

Letters: B batch, N points, V views, H pixels a side, K pixels under a disc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pcinv.errors import unknown_name
from pcinv.nn.fused import array, chunks, is_fused
from pcinv.ops.threads import in_shares

CHANNELS = 2
"""Nearness, 0.1 at the far side of the unit ball to 1 at the near one, and facing; 0 is empty."""
SURFACE = 0.1
"""What lies behind the front by this much nearness is hidden."""
FAINT = 0.1
"""A pixel covered by less than about this much shows its facing faintly."""
_FAR = 0.1
_CHUNK = 2**21
"""Pixels under discs that are worked on at a time, without compiled loops."""

_GOLD = (1 + math.sqrt(5)) / 2
_DIRECTIONS = {
    6: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    12: ((0, 1, _GOLD), (1, _GOLD, 0), (_GOLD, 0, 1)),
    20: ((1, 1, 1), (-1, -1, -1), (0, 1 / _GOLD, _GOLD), (1 / _GOLD, _GOLD, 0),
         (_GOLD, 0, 1 / _GOLD)),
}
"""Directions on the faces of a cube, the corners of an icosahedron and of a dodecahedron, of which
half turns about the coordinate axes make all the others."""


def cameras(count: int) -> Float[Tensor, "c 3 3"]:
    """Return cameras, float64 with their right, their up and the way back to them as columns.

    Seen from the four frames that differ by proper signs they look from 6, 12 or 20 directions, the
    6 with two ways up each. These frames only change the order of the pictures among themselves.

    Raises UnknownNameError for another count.
    """
    if count not in _DIRECTIONS:
        raise unknown_name("number of cameras", str(count), map(str, _DIRECTIONS), where="cameras")
    back = torch.tensor(_DIRECTIONS[count], dtype=torch.float64)
    back = back / back.norm(dim=-1, keepdim=True)
    axis = torch.nn.functional.one_hot(back.abs().argmin(-1), 3).double()
    up = axis - (axis * back).sum(-1, keepdim=True) * back
    up = up / up.norm(dim=-1, keepdim=True)
    return torch.stack([torch.linalg.cross(up, back), up, back], dim=-1)


def splat(
    xyz: Float[Tensor, "b n 3"],
    normal: Float[Tensor, "b n 3"],
    axes: Float[Tensor, "b v 3 3"],
    *,
    pixels: int,
    radius: float = 1.5,
) -> Float[Tensor, "b v 2 h h"]:
    """Draw each cloud from each side by parallel rays; a constant to autograd.

    xyz : points about the centre of the picture, in the unit ball; what lies outside is cut off.
    normal : unit vectors of either sign.  axes : right, up and back of each view as columns.
    pixels : H, a side.  radius : of a point, in pixels, to the outer edge; 1 or more.

    A pixel at distance d of the point's centre is covered by w = min(1, radius - d), or not at all.
    With v the nearness of a point, the first channel is D = max w v over all points, the second
    sum f |n . back| / (sum f + `FAINT`) with f = w max(0, 1 - (D - w v) / `SURFACE`).
    Returns the type of `normal`.
    """
    b, v, n = len(axes), axes.shape[1], xyz.shape[1]
    exact = axes.detach().double()
    place = (xyz.detach().double()[:, None] @ exact).flatten(0, 1)  # (BV, N, 3)
    shade = (normal.detach().double()[:, None] @ exact[..., 2:]).abs().view(b * v, n).to(normal)
    centre = (place[..., :2] + 1) / 2 * (pixels - 1)  # (BV, N, 2), right and up
    nearest = centre.round()
    offset = (centre - nearest).to(normal)  # small, and so exact enough in single precision
    near = (_FAR + (1 - _FAR) / 2 * (place[..., 2] + 1)).to(normal)
    reach = math.ceil(radius - 0.5) if radius > 0.5 else 0
    out = normal.new_zeros(b * v, CHANNELS, pixels, pixels)
    nearest = nearest.clamp(-reach - 1, pixels + reach).int()
    if is_fused(normal):
        _draw_compiled(offset, nearest, near, shade, radius, reach, out)
    else:
        step = max(1, _CHUNK // (n * (2 * reach + 1) ** 2))
        for part in chunks(b * v, step):
            out[part] = _draw(offset[part], nearest[part], near[part], shade[part], radius, reach,
                              pixels)
    return out.view(b, v, CHANNELS, pixels, pixels)


def _draw(
    offset: Tensor, nearest: Tensor, near: Tensor, shade: Tensor, radius: float, reach: int,
    pixels: int,
) -> Float[Tensor, "g 2 h h"]:
    """Draw by scattering; any device."""
    g = len(offset)
    side = torch.arange(-reach, reach + 1, device=offset.device)
    step = torch.cartesian_prod(side, side).view(-1, 2)
    away = (offset[:, :, None] - step.to(offset)).norm(dim=-1)  # (G, N, K)
    column, row = (nearest[:, :, None].long() + step).unbind(-1)
    is_inside = (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)
    cover = (radius - away).clamp(0, 1) * is_inside
    index = ((pixels - 1 - row) * pixels + column).clamp(0, pixels**2 - 1).flatten(1)
    value = (cover * near[..., None]).flatten(1)
    empty = value.new_zeros(g, pixels**2)
    front = empty.scatter_reduce(1, index, value, "amax")
    shown = cover.flatten(1) * (1 - (front.gather(1, index) - value) / SURFACE).clamp_min(0)
    total = empty.scatter_add(1, index, shown)
    facing = empty.scatter_add(1, index, shown * shade[..., None].expand_as(cover).flatten(1))
    return torch.stack([front, facing / (total + FAINT)], dim=1).view(g, CHANNELS, pixels, pixels)


def _draw_compiled(
    offset: Tensor, nearest: Tensor, near: Tensor, shade: Tensor, radius: float, reach: int,
    out: Tensor,
) -> None:
    from pcinv.nn.splat_kernels import draw

    arrays = [array(t) for t in (offset, nearest, near, shade)]

    def work(share: Sequence[slice]) -> None:
        for part in share:
            draw(*(a[part] for a in arrays), radius, reach, SURFACE, FAINT, out[part].numpy())

    in_shares(work, chunks(len(out), 16))
