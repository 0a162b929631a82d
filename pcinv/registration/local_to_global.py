"""A rigid motion from correspondences that come in groups, without random sampling.

Each group of correspondences, those of a pair of patches, proposes the motion that fits it; the
motion on which the most correspondences of all groups agree is refined on these.

Source: local-to-global registration (LGR), GeoTransformer, Qin et al., CVPR 2022, section 3.4.

Letters: K correspondences, G groups, M of the largest group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pcinv.checks import check_count, check_points, check_same_points
from pcinv.errors import InputError, ShapeError
from pcinv.geometry.rigid import kabsch, transform_points

INLIER_DISTANCE = 0.1
"""Metres: four voxels of 2.5 cm."""
_LEAST = 3
_BLOCK = 2**22
"""Residuals held at a time."""


class LocalToGlobal(NamedTuple):
    """The motion and what speaks for it.

    T_target_source : (4, 4) float64.
    inliers : (K,) True where the motion leaves less than the inlier distance.
    rank : 3 the motion is unique; below that the inliers leave something open, or there are none,
        and it is not to be used: see `pcinv.geometry.rigid.RigidFit`.
    group : number of the group that proposed it; -1 where no group did and all together were fit.
    """

    T_target_source: Float[Tensor, "4 4"]
    inliers: Bool[Tensor, " k"]
    rank: int
    group: int

    @property
    def is_determined(self) -> bool:
        """Whether at least three inliers agree on one motion."""
        return self.rank == 3 and int(self.inliers.sum()) >= _LEAST


@torch.no_grad()
def local_to_global(
    src: Float[Tensor, "k 3"], tgt: Float[Tensor, "k 3"], confidence: Float[Tensor, " k"],
    group: Int[Tensor, " k"], *, inlier_distance: float = INLIER_DISTANCE, refinements: int = 5,
    least: int = _LEAST,
) -> LocalToGlobal:
    """Return the motion that takes `src` to `tgt` for the most correspondences.

    src, tgt : (K, 3) metres; row k of one belongs to row k of the other.
    confidence : (K,) >= 0, weights of the fits.  group : (K,) which belong together, from 0 on.
    least : correspondences that a group must have to propose a motion.
    refinements : weighted fits to the inliers, one after the other.

    Computed in float64. Of motions with equally many inliers that with the smaller sum of squared
    residuals wins, so neither the order of the correspondences nor the numbers of the groups
    matter, but for rounding.

    Raises ShapeError, InputError for other shapes, values that are not finite, negative
    confidences or groups, or an inlier distance <= 0.

    >>> x = torch.eye(3).double()
    >>> local_to_global(x, x + 1, torch.ones(3), torch.zeros(3).long()).T_target_source[:3, 3]
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    _check(src, tgt, confidence, group, inlier_distance)
    check_count(refinements, "refinements", low=0)
    check_count(least, "least", low=_LEAST)
    nothing = torch.eye(4, dtype=torch.float64, device=src.device)
    if len(src) < _LEAST:
        return LocalToGlobal(nothing, torch.zeros_like(group, dtype=torch.bool), 0, -1)
    x, y, weight = src.double(), tgt.double(), confidence.double()
    motions, names = _propose(x, y, weight, group, least)
    if len(motions):
        best = _best(motions, x, y, inlier_distance)
        motion, name = motions[best], int(names[best])
    else:
        motion, name = kabsch(x, y, weight).T_target_source, -1
    inliers = _residuals(motion[None], x, y)[0] < inlier_distance
    for _ in range(refinements):
        fit = kabsch(x, y, weight * inliers)
        if int(fit.rank) < 3:
            break
        motion = fit.T_target_source
        inliers = _residuals(motion[None], x, y)[0] < inlier_distance
    rank = int(kabsch(x, y, weight * inliers).rank)
    return LocalToGlobal(motion, inliers, rank, name)


def _propose(
    x: Tensor, y: Tensor, weight: Tensor, group: Tensor, least: int
) -> tuple[Tensor, Tensor]:
    """Return the motions (G, 4, 4) of the groups that determine one, and which these are (G,)."""
    names, member, counts = torch.unique(
        group, return_inverse=True, return_counts=True)
    first = counts.cumsum(0) - counts
    order = member.argsort(stable=True)
    place = torch.arange(len(order), device=x.device) - first[member[order]]
    slot = torch.full((len(names), int(counts.max())), len(x), device=x.device)
    slot[member[order], place] = order
    keep = counts >= least
    slot, names = slot[keep], names[keep]
    if not len(slot):
        return x.new_zeros(0, 4, 4), names
    # an empty place holds the group's first correspondence, without weight
    is_there = slot < len(x)
    slot = torch.where(is_there, slot, slot[:, :1])
    fit = kabsch(x[slot], y[slot], weight[slot] * is_there)
    firm = fit.rank == 3
    return fit.T_target_source[firm], names[firm]


def _best(motions: Tensor, x: Tensor, y: Tensor, inlier_distance: float) -> int:
    """Return the motion with the most inliers, of these the one that leaves the least."""
    counts, rests = [], []
    for part in torch.split(motions, max(1, _BLOCK // len(x))):
        residual = _residuals(part, x, y)
        near = residual < inlier_distance
        counts.append(near.sum(1))
        rests.append((residual.square() * near).sum(1))
    count, rest = torch.cat(counts), torch.cat(rests)
    return int(torch.where(count == count.max(), rest, torch.inf).argmin())


def _residuals(motions: Float[Tensor, "g 4 4"], x: Tensor, y: Tensor) -> Float[Tensor, "g k"]:
    rest: Tensor = (transform_points(motions, x[None]) - y).norm(dim=2)
    return rest


def _check(
    src: Tensor, tgt: Tensor, confidence: Tensor, group: Tensor, inlier_distance: float
) -> None:
    check_points(src, "src", min_points=0, batched=False)
    check_same_points(tgt, src, "tgt")
    for name, values in (("confidence", confidence), ("group", group)):
        if values.shape != src.shape[:1]:
            raise ShapeError(f"expected shape ({len(src)},), got {tuple(values.shape)}",
                             where=name, hint="one for each correspondence")
    if not (torch.isfinite(confidence) & (confidence >= 0)).all():
        raise InputError("confidences that are negative or not finite", where="confidence",
                         hint="drop these correspondences")
    if group.is_floating_point() or (len(group) and int(group.min()) < 0):
        raise InputError("groups that are not whole numbers from 0 on", where="group",
                         hint="number the pairs of patches")
    if not inlier_distance > 0:
        raise InputError(f"inlier_distance is {inlier_distance}", where="inlier_distance",
                         hint="metres, more than 0")
