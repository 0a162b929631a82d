"""Patches, frames and pose features of PaRot, and its layers over patches and over pairs of them.

A frame is a rotation whose rows are the axes x, y, z: O p are the coordinates of p in it. What
turns the cloud by R makes R p of p and O R^T of O, and leaves O p and O_a O_b^T alone.

Letters: B batch, N points, S patches of a cloud, M = B S, K points of a patch or neighbours, C
channels, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.geometry.features import safe_norm, safe_normalize
from pcinv.geometry.orthogonal import sixd_to_matrix
from pcinv.geometry.rotation import random_rotation
from pcinv.nn.fused import chunks, is_fused
from pcinv.nn.heads import activated
from pcinv.nn.pooling import linear_norm_relu_max
from pcinv.nn.rows import LinearNorm, norm_affine
from pcinv.ops import farthest_point_sample, gather, knn, record_margin
from pcinv.ops.margins import tracking
from pcinv.ops.threads import in_shares

SLOPE = 0.2
"""Negative slope of the activations that are not plain ReLU."""
CACHED_ROWS = 4096
"""Rows worked on at a time in evaluation."""
_RIDGE = 1e-3
"""Share of the trace that is added to the covariance of a patch before it is inverted."""


class Patches(NamedTuple):
    """The patches of each cloud, float64.

    centre : (B, S, 3).  near : (B, S, K, 3) the nearest points of each centre, less the centre.
    whole : (B, S, G, 3) the same few points of the whole cloud for all centres, less the centre.
    """

    centre: Float[Tensor, "b s 3"]
    near: Float[Tensor, "b s k 3"]
    whole: Float[Tensor, "b s g 3"]


def extract_patches(
    xyz: Float[Tensor, "b n 3"], patches: int, near: int, whole: int, *,
    random_start: bool = False,
) -> Patches:
    """Cut clouds into patches around farthest point samples, as many as there are points for.

    random_start : begin to sample anywhere, as published; else at the outermost point.
    """
    n = xyz.shape[1]
    s, k, g = (min(count, n) for count in (patches, near, whole))
    if random_start:
        order, far = _farthest_from_anywhere(xyz, s), _farthest_from_anywhere(xyz, g)
        far = order if g == s else far
    else:  # farthest point samples are nested
        order = farthest_point_sample(xyz, max(s, g))
        order, far = order[:, :s], order[:, :g]
    centre = gather(xyz, order)
    index = knn(centre, xyz, k).index
    around = gather(xyz, index) - centre[:, :, None]
    return Patches(centre, around, gather(xyz, far)[:, None] - centre[:, :, None])


def _farthest_from_anywhere(xyz: Float[Tensor, "b n 3"], count: int) -> Int[Tensor, "b m"]:
    exact = xyz.detach()
    found = [torch.randint(xyz.shape[1], (len(xyz),), device=xyz.device)]
    nearest2 = torch.full_like(exact[..., 0], torch.inf)
    batch = torch.arange(len(xyz), device=xyz.device)
    for _ in range(count - 1):
        last = exact[batch, found[-1]][:, None]
        nearest2 = torch.minimum(nearest2, (exact - last).square().sum(-1))
        found.append(nearest2.argmax(1))
    return torch.stack(found, dim=1)


def exact_frames(patches: Patches) -> tuple[Float[Tensor, "b s 3 3"], Float[Tensor, "b s 3 3"]]:
    """Return frames of the near and the whole patches that turn with the cloud; no gradient.

    With o the centre of a patch, seen from the mean of the cloud, C its covariance and m its mean,
    both weighted by nearness to the centre, and n = (C / tr C + ridge)^-1 o:

        near: x along n, y towards m        whole: x along o, y towards n + m / radius

    n is close to the normal of the surface on its outer side. A principal axis has no sign, and a
    sign that is chosen for it jumps where the reason for the choice passes through zero, for flat
    patches everywhere; n moves continuously, and so do the frames, but where one of the vectors
    vanishes or two are parallel. How near the closest patch is to that is recorded as a margin.
    """
    with torch.no_grad():
        out, near = patches.centre.detach(), patches.near.detach()
        tiny = torch.finfo(near.dtype).tiny
        distance = near.norm(dim=-1)  # (B, S, K)
        radius = distance.amax(-1, keepdim=True)
        weight = radius - distance
        weighted = near * (weight / weight.sum(-1, keepdim=True).clamp_min(tiny))[..., None]
        mean = weighted.sum(2) / radius.clamp_min(tiny)
        spread = weighted.mT @ near  # (B, S, 3, 3)
        trace = spread.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        ridge = _RIDGE * torch.eye(3, dtype=near.dtype, device=near.device)
        a, b, c = (spread / trace.clamp_min(tiny) + ridge).unbind(-2)
        # the inverse of a symmetric matrix is its cofactors over a positive number
        cofactors = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], dim=-2)
        size = out.norm(dim=-1).amax(-1)[:, None, None].clamp_min(tiny)
        out = out / size
        normal = safe_normalize((cofactors @ out[..., None])[..., 0])
        found = []
        for first, second in ((normal, mean), (out, normal + mean)):
            if tracking():
                aside = _cross(safe_normalize(first), second).norm(dim=-1)
                record_margin(float(torch.minimum(first.norm(dim=-1), aside).amin()))
            found.append(sixd_to_matrix(torch.cat([first, second], dim=-1)).mT)
        return found[0], found[1]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.cross(a, b)


def predicted_frames(
    directions: Float[Tensor, "*m 2 3"], *, raw: bool = False
) -> Float[Tensor, "*m 3 3"]:
    """Return frames of two directions: a rotation by Gram-Schmidt.

    raw : both as they are, and the direction across them, as published: no rotation unless the
        two happen to be orthogonal.
    """
    if not raw:
        return sixd_to_matrix(directions.flatten(-2)).mT
    across = safe_normalize(_cross(directions[..., 0, :], directions[..., 1, :]))
    return torch.cat([directions, across[..., None, :]], dim=-2)


def in_frame(
    frame: Float[Tensor, "*#batch 3 3"], vector: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*shape 3"]:
    """Return the coordinates of vectors; no matrix product, so autocast leaves it alone."""
    return (frame * vector[..., None, :]).sum(-1)


def pose_relation(
    a: Float[Tensor, "*#batch 3 3"], b: Float[Tensor, "*#batch 3 3"],
    offset: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*shape 16"]:
    """Return [A B^T (9), A t^ (3), B t^ (3), |t| (1)] of two frames and an offset t = |t| t^."""
    length, unit = _polar(offset)
    turn = (a[..., :, None, :] * b[..., None, :, :]).sum(-1)
    return torch.cat((turn.flatten(-2), in_frame(a, unit), in_frame(b, unit), length), dim=-1)


def neighbour_poses(
    centre: Float[Tensor, "b s 3"], frame: Float[Tensor, "b s 3 3"], index: Int[Tensor, "b s k"]
) -> Float[Tensor, "b s k 16"]:
    """Return [O_j O_i^T, O_i t^, O_j t^, |t|] for the neighbours j of each patch i, t = c_j - c_i.

    As `pose_relation`, with one product for all neighbours of a patch.
    """
    both = gather(torch.cat((frame.flatten(2), centre), dim=-1), index)  # (B, S, K, 12)
    length, unit = _polar(both[..., 9:] - centre[:, :, None])
    other = both[..., :9].unflatten(-1, (3, 3))
    rows = torch.cat((other, unit[..., None, :]), dim=-2).flatten(2, 3)  # (B, S, 4 K, 3)
    with torch.autocast(centre.device.type, enabled=False):
        seen = (rows @ frame.mT).view(*index.shape, 12)
    return torch.cat((seen, in_frame(other, unit), length), dim=-1)


def point_poses(
    points: Float[Tensor, "b n 3"], centre: Float[Tensor, "b s 3"],
    frames: Sequence[Float[Tensor, "b s 3 3"]], index: Int[Tensor, "b n k"],
) -> Float[Tensor, "b n k 7"]:
    """Return [|q - c|, O u, O' u] for points q and the patches that they hear, u = unit(q - c)."""
    length, unit = _polar(points[:, :, None] - gather(centre, index))
    seen = [in_frame(gather(o.flatten(2), index).unflatten(-1, (3, 3)), unit) for o in frames]
    return torch.cat((length, *seen), dim=-1)


def _polar(offset: Float[Tensor, "*m 3"]) -> tuple[Float[Tensor, "*m 1"], Float[Tensor, "*m 3"]]:
    """Return length and direction, zero for the zero vector."""
    length = safe_norm(offset, keepdim=True)
    return length, offset / torch.where(length > 0, length, 1.0)


class _Unbiased(nn.Linear):
    """A linear map whose bias is zero and no parameter."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, bias=False)
        del self.bias
        self.register_buffer("bias", torch.zeros(width_out), persistent=False)


class LinearMax(nn.Module):
    """Linear map, batch normalisation, ReLU, maximum over the K of a group: (G, K, E) -> (G, C)."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.linear = _Unbiased(width_in, width_out)
        self.norm = nn.BatchNorm1d(width_out)

    def frozen(self) -> Callable[[Tensor], Tensor]:
        """Return the layer as one function."""
        pool = linear_norm_relu_max(self.linear, self.norm)
        return lambda x: pool(x, None, None)


def _in_pieces(
    work: Callable[[slice], Tensor], groups: int, rows: int, like: Tensor, *, training: bool
) -> Tensor:
    """Return what `work` makes of all groups, in evaluation of a few thousand rows at a time."""
    pieces = [slice(0, groups)]
    if not training and not torch.is_grad_enabled():
        pieces = chunks(groups, max(1, CACHED_ROWS // rows))

    def run(share: Sequence[slice]) -> list[Tensor]:
        return [work(piece) for piece in share]

    if len(pieces) > 1 and is_fused(like):
        return torch.cat([part for share in in_shares(run, pieces) for part in share])
    return torch.cat(run(pieces))


class DisentangleNet(nn.Module):
    """A small PointNet on patches: content (M, C), and two directions (M, 2, 3) where it has them.

    widths : of the layers on points.  directions : of the hidden layers of a direction, none where
        frames are not predicted.
    """

    def __init__(
        self, widths: tuple[int, ...], content_layers: int, directions: tuple[int, ...] | None
    ) -> None:
        super().__init__()
        *inner, width = widths
        self.points = layers_of((3, *inner))
        self.top = LinearMax(inner[-1], width)
        self.content = layers_of((width,) * (content_layers + 1))
        self.hidden, self.last = nn.ModuleList(), nn.ModuleList()
        if directions is not None:
            self.hidden.extend(layers_of((width, *directions)) for _ in range(2))
            self.last.extend(nn.Linear(directions[-1], 3, bias=False) for _ in range(2))

    def forward(self, patch: Float[Tensor, "m k 3"]) -> tuple[Tensor, Tensor | None]:
        m, k, _ = patch.shape
        layers = [layer.frozen(relu=True) for layer in self.points]
        pool = self.top.frozen()

        def describe(piece: slice) -> Tensor:
            rows = patch[piece].flatten(0, 1)  # (G K, 3)
            for layer in layers:
                rows = layer(rows)
            return pool(rows.view(piece.stop - piece.start, k, -1))

        f = _in_pieces(describe, m, k, patch, training=self.training)  # (M, C)
        z = f
        for layer in self.content:
            z = activated(layer, z, 0.0)
        if not len(self.last):
            return z, None
        found = []
        for hidden, last in zip(self.hidden, self.last, strict=True):
            d = f
            for layer in hidden:
                d = activated(layer, d, 0.0)
            found.append(safe_normalize(last(d).to(patch.dtype)))
        return z, torch.stack(found, dim=1)


def layers_of(widths: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(
        LinearNorm(before, width, bias=False) for before, width in pairwise(widths))


def siamese(
    network: nn.Module, patch: Float[Tensor, "m k 3"], weights: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return content and directions of patches as seen turned, and the loss that ties the branches.

    Each patch is turned at random twice. Directions are turned back; those of the first branch
    are returned, with the weighted sum of
        MSE(d1, d2 R2^T R1), MSE(x . y, 0) and MSE(z1, z2).

    weights : of these three.
    """
    m = len(patch)
    turns = [random_rotation(m, dtype=patch.dtype, device=patch.device) for _ in range(2)]
    (z1, d1), (z2, d2) = (network((patch[:, :, None] * turn.mT[:, None]).sum(-1))
                          for turn in turns)  # rows p R
    back1, back2 = ((d[:, :, None] * turn[:, None]).sum(-1)
                    for d, turn in zip((d1, d2), turns, strict=True))  # rows d R^T
    across = (back1[:, 0] * back1[:, 1]).sum(-1)
    # turning both directions by R1 changes no distance
    loss = weights[0] * F.mse_loss(back1, back2) + weights[1] * across.square().mean()
    if weights[2]:
        loss = loss + weights[2] * F.mse_loss(z1, z2)
    return z1, back1, loss


class PairNet(nn.Module):
    """Layers on pairs of a patch and what is near it, then the maximum or sum over its neighbours.

    A pair carries [features of the neighbour, features of its own, embedded pose]. The first map
    is linear: the parts of the features are taken once a patch and not once a pair, by the caller.

    pose : numbers that tell how the two lie.  embed : width of their embedding.
    carried : channels of the features.  slope : of the embedding's activation.
    pool : "max" or "sum".
    """

    def __init__(
        self, pose: int, embed: int, carried: int, widths: tuple[int, ...], slope: float,
        pool: Literal["max", "sum"],
    ) -> None:
        super().__init__()
        self.carried, self.slope = carried, slope
        self.embed = LinearNorm(pose, embed, bias=False)
        self.first = LinearNorm(carried + embed, widths[0], bias=False)
        self.inner = layers_of(widths[:-1])
        self.top: LinearMax | LinearNorm = LinearMax(*widths[-2:])
        if pool == "sum":
            self.top = LinearNorm(*widths[-2:], bias=False)

    def columns(self) -> tuple[Tensor, Tensor]:
        """Return the columns of the first map for the features, and those for the pose."""
        weight = self.first.linear.weight
        return weight[:, : self.carried], weight[:, self.carried :]

    def forward(
        self, pose: Float[Tensor, "m k p"], index: Int[Tensor, "m k"],
        theirs: Float[Tensor, "r d"], own: Float[Tensor, "m d"],
    ) -> Float[Tensor, "m c"]:
        """Return the features of each centre of pairs.

        index : rows of `theirs`, of the neighbours.  theirs, own : parts of the first map.
        """
        m, k, _ = pose.shape
        weight = self.columns()[1]
        norm, training = self.first.norm, self.training
        if not training:
            scale, shift = norm_affine(norm)
            weight, theirs = weight * scale[:, None], theirs * scale
            own = torch.addcmul(shift, own, scale)
        embed = self.embed.frozen(relu=self.slope == 0)
        inner = [layer.frozen(relu=True) for layer in self.inner]
        pool = self.top.frozen() if isinstance(self.top, LinearMax) else _sum_of(self.top)

        def describe(piece: slice) -> Tensor:
            e = embed(pose[piece].flatten(0, 1))
            if self.slope:
                e = F.leaky_relu(e, self.slope, inplace=not training)
            x = F.linear(e, weight).view(-1, k, len(weight))
            x += F.embedding(index[piece], theirs)
            x += own[piece, None]
            x = x.flatten(0, 1)
            x = F.relu(norm(x) if training else x, inplace=True)
            for layer in inner:
                x = layer(x)
            return pool(x.view(piece.stop - piece.start, k, -1))

        return _in_pieces(describe, m, k, pose, training=training)


def _sum_of(layer: LinearNorm) -> Callable[[Tensor], Tensor]:
    activate = layer.frozen(relu=True)
    return lambda x: activate(x.flatten(0, 1)).view(*x.shape[:2], -1).sum(1)
