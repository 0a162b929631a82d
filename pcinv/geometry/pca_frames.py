"""Frames of whole clouds: finite, weighted sets of rotations that turn with the cloud.

Whatever is computed of a cloud as seen from each frame, and averaged with the weights, does not
change when the cloud is turned. Principal axes give four such frames (eight with reflections), but
none where two eigenvalues coincide, and the average jumps where they cross. A frame from a pair of
points exists except where the pair spans no plane, and its weight vanishes there: an average over
pairs is continuous. `blended_frames` is the first where the axes are clear and passes over into the
second where they are not.

Sources: Puny et al., Frame Averaging, ICLR 2022 (principal axes); Dym, Lawrence, Siegel, ICML 2024
(why weights are needed); the weights are ours. Everything is computed in float64, without gradient.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pcinv.checks import check_count, check_points
from pcinv.errors import InputError, unknown_name
from pcinv.geometry.symmetric import eigh3
from pcinv.ops import farthest_point_sample

Group = Literal["SO3", "O3", "SE3", "E3"]
GROUPS = ("SO3", "O3", "SE3", "E3")
"""Rotations, with reflections; about the origin, or about the mean of the points."""

PROPER_SIGNS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
ALL_SIGNS = (*PROPER_SIGNS, (-1, -1, -1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))

TILT = 1e-2
"""Rounding tilts principal axes by its size over the gap: as a margin of a tie the gap times this.
"""


@dataclass(frozen=True)
class Frames:
    """Weighted frames of each cloud, float64, constants to autograd.

    axes : (B, F, 3, 3) orthogonal, with the axes as columns.
    centre : (B, 3) mean of the points, or zero for a group that fixes the origin.
    weight : (B, F) non-negative, of sum 1; a frame of weight 0 is none.
    gap : (B,) smallest difference of two eigenvalues over the largest, 0 where that is 0.
    is_ambiguous : (B,) True where the gap is so small that principal axes are not to be relied on.
    """

    axes: Float[Tensor, "b f 3 3"]
    centre: Float[Tensor, "b 3"]
    weight: Float[Tensor, "b f"]
    gap: Float[Tensor, "b"]
    is_ambiguous: Bool[Tensor, "b"]

    def views(self, xyz: Float[Tensor, "b n 3"]) -> Float[Tensor, "b f n 3"]:
        """Return each cloud as seen from each frame: (x - centre) axes."""
        return self.turn(xyz.double() - self.centre[:, None]).to(xyz.dtype)

    def turn(self, local: Float[Tensor, "b n 3"]) -> Float[Tensor, "b f n 3"]:
        """Return centred clouds, float64, as seen from each frame, in one product a cloud."""
        b, f = self.weight.shape
        columns = self.axes.transpose(1, 2).reshape(b, 3, f * 3)
        return (local @ columns).view(b, local.shape[1], f, 3).transpose(1, 2)

    def back(self, vectors: Float[Tensor, "b f n 3"]) -> Float[Tensor, "b f n 3"]:
        """Return directions seen from each frame in the coordinates of the cloud."""
        turned: Tensor = vectors.double() @ self.axes.mT
        return turned.to(vectors.dtype)


def pca_frames(
    xyz: Float[Tensor, "b n 3"],
    mask: Bool[Tensor, "b n"] | None = None,
    *,
    group: Group = "SO3",
    order: Literal["desc", "asc"] = "desc",
    min_gap: float = 1e-3,
) -> Frames:
    """Return the principal axes with all their signs: four frames of det +1, eight for O3 and E3.

    mask : True where a row is a point.  order : of the eigenvalues along the axes.
    min_gap : relative gap of eigenvalues below which a cloud counts as ambiguous.

    Raises ShapeError, InputError for other shapes, values that are not finite or a cloud without
    points; UnknownNameError for another group or order.
    """
    local, centre = _local(xyz, mask, group)
    if order not in ("desc", "asc"):
        raise unknown_name("order", order, ("desc", "asc"))
    values, axes = eigh3(local.mT @ local / xyz.shape[1])
    if order == "desc":
        values, axes = values.flip(-1), axes.flip(-1)
    largest = values.amax(-1).clamp_min(0)
    gap = values.diff(dim=-1).abs().amin(-1)
    gap = torch.where(largest > 0, gap / torch.where(largest > 0, largest, 1.0), 0.0)
    third = torch.linalg.cross(axes[..., 0], axes[..., 1])  # det +1
    axes = torch.stack([axes[..., 0], axes[..., 1], third], dim=-1)
    signs = axes.new_tensor(ALL_SIGNS if group in ("O3", "E3") else PROPER_SIGNS)  # (F, 3)
    weight = axes.new_full((len(axes), len(signs)), 1 / len(signs))
    return Frames(axes[:, None] * signs[:, None], centre, weight, gap, gap < min_gap)


def weighted_pair_frames(
    xyz: Float[Tensor, "b n 3"],
    mask: Bool[Tensor, "b n"] | None = None,
    *,
    group: Group = "SO3",
    anchors: int | None = None,
    power: float = 2.0,
    min_gap: float = 1e-3,
) -> Frames:
    """Return a frame for each ordered pair of points, the pair (i, i) of weight 0 among them.

    e1 = unit(x_i), e2 = unit(a_ij) with a_ij = x_j - (x_j . e1) e1, e3 = e1 x e2 (and -e3 for O3
    and E3), of weight |x_i|^power |a_ij|^power / sum_k |a_ik|^power. So it vanishes where e1 or e2
    is undefined, but for points on one line, where e2 is any direction across: what is seen from
    there does not depend on e2, and of a cloud that is nearly a line hardly.

    anchors : take the pairs among so many points, farthest point samples, instead of all. Then the
        average is continuous but for where the choice of these changes. Not with a mask.

    Raises as `pca_frames`.
    """
    local, centre = _local(xyz, mask, group)
    gap = pca_frames(xyz, mask, group=group, min_gap=min_gap).gap
    if anchors is not None:
        check_count(anchors, "anchors")
        if mask is not None:
            raise InputError("anchors are not chosen among padded points", where="anchors",
                             hint="leave the mask or the anchors away")
        if anchors < xyz.shape[1]:
            chosen = farthest_point_sample(local, anchors)
            local = local.gather(1, chosen[..., None].expand(-1, -1, 3))
    radius = local.norm(dim=-1).amax(1)
    points = local / torch.where(radius > 0, radius, 1.0)[:, None, None]  # (B, M, 3)
    length = points.norm(dim=-1)
    first = points / torch.where(length > 0, length, 1.0)[..., None]
    first = torch.where((length > 0)[..., None], first, points.new_tensor([1.0, 0.0, 0.0]))
    i, j = first[:, :, None], points[:, None]
    rough = j - (i * j).sum(-1, keepdim=True) * i  # (B, M, M, 3)
    across = rough - (i * rough).sum(-1, keepdim=True) * i  # once leaves rounding over its length
    away = across.norm(dim=-1)  # (B, M, M)
    away = torch.where(_differ(points) & (2 * away > rough.norm(dim=-1)), away, 0.0)
    across = torch.where((away > 0)[..., None], across, _any_across(first)[:, :, None])
    second = across / across.norm(dim=-1, keepdim=True)
    third = torch.linalg.cross(i.expand_as(second), second)
    axes = torch.stack([i.expand_as(second), second, third], dim=-1).flatten(1, 2)

    largest = away.amax(2, keepdim=True)
    share = (away / torch.where(largest > 0, largest, 1.0)).pow(power)  # of 0 to 1: no underflow
    share = torch.where(largest > 0, share, 1.0)
    of_first = torch.where(radius[:, None] > 0, length.pow(power), 1.0)
    weight = of_first[..., None] * share / share.sum(2, keepdim=True)
    weight = (weight / weight.sum((1, 2), keepdim=True)).flatten(1, 2)
    if group in ("O3", "E3"):
        axes = torch.cat([axes, axes * axes.new_tensor([1.0, 1.0, -1.0])], dim=1)
        weight = torch.cat([weight, weight], dim=1) / 2
    return Frames(axes, centre, weight, gap, gap < min_gap)


def blended_frames(
    xyz: Float[Tensor, "b n 3"],
    mask: Bool[Tensor, "b n"] | None = None,
    *,
    group: Group = "SO3",
    order: Literal["desc", "asc"] = "desc",
    min_gap: float = 1e-3,
    anchors: int | None = 8,
) -> Frames:
    """Return principal axes, and pairs of points for the share of weight that these cannot carry.

    The axes have the share min(1, gap / min_gap): clouds with clear axes get these alone. Rounding
    of relative size e changes an average by no more than about e / min_gap, however small the gap.

    anchors : points that the pairs are taken of; all where they are 32 or fewer, or with a mask.

    Raises as `pca_frames`.
    """
    plain = pca_frames(xyz, mask, group=group, order=order, min_gap=min_gap)
    share = (plain.gap / min_gap).clamp_max(1)
    rows = (share < 1).nonzero()[:, 0]
    if len(rows) == 0:
        return plain
    few = anchors is None or mask is not None or xyz.shape[1] <= _FEW
    pairs = weighted_pair_frames(xyz[rows], None if mask is None else mask[rows], group=group,
                                 anchors=None if few else anchors)
    b, f = len(xyz), pairs.weight.shape[1]
    axes = torch.eye(3).to(pairs.axes).repeat(b, f, 1, 1)
    weight = pairs.weight.new_zeros(b, f)
    axes[rows], weight[rows] = pairs.axes, pairs.weight * (1 - share[rows, None])
    return replace(plain, axes=torch.cat([plain.axes, axes], dim=1),
                   weight=torch.cat([plain.weight * share[:, None], weight], dim=1))


_FEW = 32
"""Clouds of so few points give all their pairs."""


def draw_frames(
    frames: Frames, count: int = 1, generator: torch.Generator | None = None
) -> Frames:
    """Draw frames of each cloud by their weights, for an average that is right in expectation.

    Source: Duval et al., FAENet, ICML 2023 (one frame for each cloud and pass).

    Raises InputError unless count is at least 1.
    """
    check_count(count, "count")
    index = torch.multinomial(frames.weight, count, replacement=True, generator=generator)
    axes = frames.axes.gather(1, index[..., None, None].expand(-1, -1, 3, 3))
    return replace(frames, axes=axes, weight=torch.full_like(index, 1 / count, dtype=axes.dtype))


def _local(xyz: Tensor, mask: Tensor | None, group: str) -> tuple[Tensor, Tensor]:
    """Return the points relative to the centre, zero where masked, and the centre; float64."""
    check_points(xyz)
    if group not in GROUPS:
        raise unknown_name("group", group, GROUPS)
    exact = xyz.detach().to(torch.float64, copy=True)  # changed in place: clouds may be large
    if mask is not None:
        if not bool(mask.any(1).all()):
            raise InputError("a cloud without points", where="mask", hint="leave it out")
        # padded rows become the first point of their cloud: no far value may spoil a sum
        first = mask.to(torch.uint8).argmax(1)
        start = exact.gather(1, first[:, None, None].expand(-1, 1, 3))
        exact = torch.where(mask[..., None], exact, start)
    centre = torch.zeros_like(exact[:, 0])
    if group in ("SE3", "E3"):
        base = exact[:, :1].clone()  # near the points, so that the mean of far ones is not rounded
        exact -= base
        if mask is None:
            mean = exact.mean(1, keepdim=True)
        else:
            mean = (exact * mask[..., None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None]
        exact -= mean
        centre = (base + mean).squeeze(1)
    if mask is not None:
        exact *= mask[..., None]
    return exact, centre


def _differ(points: Tensor) -> Tensor:
    """Return (1, M, M) True off the diagonal."""
    return ~torch.eye(points.shape[1], dtype=torch.bool, device=points.device)[None]


def _any_across(direction: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Return a unit vector across each unit vector."""
    smallest = direction.abs().argmin(-1, keepdim=True)
    axis = torch.zeros_like(direction).scatter_(-1, smallest, 1.0)
    across: Tensor = torch.linalg.cross(direction, axis)
    across = across / across.norm(dim=-1, keepdim=True)
    return across
