"""Losses of coarse-to-fine matching: of superpoints by the overlap of their patches, and of points.

Source: RoITr (Yu et al., CVPR 2023), after GeoTransformer (Qin et al., CVPR 2022, section 3.5).
Rows belong to the target, columns to the source, whose points are given in the target's frame.

Letters: S superpoints of the target, R of the source, K points of a patch, P pairs of patches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pcinv.checks import check_finite
from pcinv.errors import InputError, ShapeError

RADIUS = 0.05
"""Points nearer than this, in metres, are the same place: two voxels."""
POSITIVE = 0.1
"""Overlap above which two patches belong together."""
_SCALE, _NEAR, _FAR = 24.0, 0.1, 1.4
_CANDIDATES = 512
"""Pairs of patches measured at a time."""


@torch.no_grad()
def patch_overlaps(
    target: Float[Tensor, "s k 3"], target_mask: Bool[Tensor, "s k"],
    source: Float[Tensor, "r k 3"], source_mask: Bool[Tensor, "r k"], radius: float = RADIUS,
) -> Float[Tensor, "s r"]:
    """Return the share of points with one of the other patch within `radius`, mean of both sides.

    target, source : metres, in one frame.  Patches whose spheres do not meet are not looked into.

    Raises ShapeError, InputError for other shapes, values that are not finite, or a radius <= 0.
    """
    _check_patches(target, target_mask, "target", radius)
    _check_patches(source, source_mask, "source", radius)
    overlap = target.new_zeros(len(target), len(source))
    (middle, reach), (other, other_reach) = _sphere(target, target_mask), _sphere(
        source, source_mask)
    apart = (middle[:, None] - other).norm(dim=2)
    meet = apart <= reach[:, None] + other_reach + radius
    meet &= target_mask.any(1)[:, None] & source_mask.any(1)
    for rows in meet.nonzero().split(_CANDIDATES):
        i, j = rows.unbind(1)
        near = _near(target[i], target_mask[i], source[j], source_mask[j], radius)
        there = near.any(2).sum(1).to(overlap) / target_mask[i].sum(1)
        back = near.any(1).sum(1).to(overlap) / source_mask[j].sum(1)
        overlap[i, j] = (there + back) / 2
    return overlap


def point_labels(
    target: Float[Tensor, "p k 3"], target_mask: Bool[Tensor, "p k"],
    source: Float[Tensor, "p l 3"], source_mask: Bool[Tensor, "p l"], radius: float = RADIUS,
) -> Bool[Tensor, "p k1 l1"]:
    """Return which points of pairs of patches are the same place, with "none" behind the others.

    A point may be the same as several; one that is there and is the same as none is in the last
    row or column. Raises as `patch_overlaps`.
    """
    _check_patches(target, target_mask, "target", radius)
    _check_patches(source, source_mask, "source", radius)
    near = _near(target, target_mask, source, source_mask, radius)
    labels = F.pad(near, (0, 1, 0, 1))
    labels[:, :-1, -1] = target_mask & ~near.any(2)
    labels[:, -1, :-1] = source_mask & ~near.any(1)
    return labels


def circle_loss(
    target: Float[Tensor, "s c"], source: Float[Tensor, "r c"], overlap: Float[Tensor, "s r"],
    positive: float = POSITIVE,
) -> Float[Tensor, ""]:
    """Return the overlap-aware circle loss of superpoints, 0 where there is nothing to learn from.

    target, source : descriptors of unit length.
    overlap : of their patches: a pair counts as positive above `positive`, weighted by the root of
        its overlap, as negative at 0, and not at all between. Rows and columns without a positive
        or without a negative are left out.

    Raises ShapeError, InputError for other shapes or values that are not finite.
    Source: GeoTransformer, eq. 7 to 9.
    """
    if overlap.shape != (len(target), len(source)) or target.shape[1:] != source.shape[1:]:
        raise ShapeError(f"overlaps {tuple(overlap.shape)} of descriptors {tuple(target.shape)}"
                         f" and {tuple(source.shape)}", where="overlap",
                         hint="one row for each of the target, one column for each of the source")
    for name, values in (("target", target), ("source", source), ("overlap", overlap)):
        check_finite(values, name)
    distance = (2 - 2 * target @ source.t()).clamp_min(1e-12).sqrt()
    is_positive, is_negative = overlap > positive, overlap == 0
    weight = (distance - _NEAR).clamp_min(0) * overlap.sqrt() * is_positive
    against = (_FAR - distance).clamp_min(0) * is_negative
    # pairs that do not count stand for exp(0) in the sums, as in the published code
    pull = _SCALE * (distance - _NEAR) * weight.detach()
    push = _SCALE * (_FAR - distance) * against.detach()
    sides = []
    for axis in (1, 0):
        counts = is_positive.any(axis) & is_negative.any(axis)
        loss = F.softplus(pull.logsumexp(axis) + push.logsumexp(axis)) / _SCALE
        sides.append((loss * counts).sum() / counts.sum().clamp_min(1))
    return (sides[0] + sides[1]) / 2


def point_loss(
    log_assignment: Float[Tensor, "p k1 l1"], labels: Bool[Tensor, "p k1 l1"]
) -> Float[Tensor, ""]:
    """Return the mean of -log_assignment over the labels, 0 where there are none.

    Raises ShapeError for other shapes. Source: SuperGlue, eq. 10; GeoTransformer, eq. 10.
    """
    if log_assignment.shape != labels.shape:
        raise ShapeError(f"labels {tuple(labels.shape)} for {tuple(log_assignment.shape)}",
                         where="labels", hint="make them of the patches that were matched")
    chosen = torch.where(labels, log_assignment, torch.zeros_like(log_assignment))
    return -chosen.sum() / labels.sum().clamp_min(1)


def _check_patches(points: Tensor, mask: Tensor, name: str, radius: float) -> None:
    if points.dim() != 3 or points.shape[2] != 3 or mask.shape != points.shape[:2]:
        raise ShapeError(f"points {tuple(points.shape)} with mask {tuple(mask.shape)}", where=name,
                         hint="(S, K, 3) and (S, K)")
    check_finite(points[mask], name)
    if not radius > 0:
        raise InputError(f"radius is {radius}", where="radius", hint="metres, more than 0")


def _sphere(points: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (S, 3) of the points of each patch, and how far the farthest is (S,)."""
    there = torch.where(mask[..., None], points, 0.0)
    middle = there.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
    far = (points - middle[:, None]).norm(dim=2)
    # the sums round: a sphere a little too large costs nothing
    return middle, torch.where(mask, far, 0.0).amax(1) * 1.001


def _near(
    target: Tensor, target_mask: Tensor, source: Tensor, source_mask: Tensor, radius: float
) -> Tensor:
    """Return (P, K, L): whether both are there and nearer than the radius."""
    apart = torch.cdist(target, source, compute_mode="donot_use_mm_for_euclid_dist")
    return (apart < radius) & target_mask[:, :, None] & source_mask[:, None]
