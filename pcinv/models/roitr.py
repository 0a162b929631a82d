"""RoITr: rotation-invariant transformer for point cloud matching.

Yu, Qin, Hou, Saleh, Li, Busam, Ilic: CVPR 2023, arXiv 2303.08231.

An encoder and decoder of attention over point pair features describe every point of each cloud; a
global transformer lets the superpoints of both clouds attend to each other; superpoints that look
alike are matched first, and then, by optimal transport, the points of the patches around them.
Points enter by lengths and angles alone: no answer depends on a pose. Lengths are metres, and the
sizes below are those of rooms that were thinned to 2.5 cm: scale other clouds.

Letters: N points, S superpoints, K points of a patch, C channels, P pairs of patches.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.checks import check_points, check_same_points
from pcinv.errors import InputError
from pcinv.models.roitr_global import GlobalTransformer, Structure, structure_of
from pcinv.models.roitr_matching import (
    Pairs,
    best_pairs,
    coarse_scores,
    fine_pairs,
    near_pairs,
    patches_of,
)
from pcinv.models.roitr_parts import Decoder, Encoder, Level, cloud_of, levels_of, nearest
from pcinv.models.roitr_sizes import SIZES, Hyper
from pcinv.nn.overrides import with_overrides
from pcinv.nn.sinkhorn import sinkhorn
from pcinv.ops.threads import each_alone, one_thread


class Described(NamedTuple):
    """What the network knows of one of two clouds.

    node_index : (S,) int64 points that are superpoints.  node_desc : (S, D) of unit length.
    point_desc : (N, D), not normalised.  patch : (S, K) int64 points of each superpoint, N for
        none.
    """

    node_index: Int[Tensor, " s"]
    node_desc: Float[Tensor, "s d"]
    point_desc: Float[Tensor, "n d"]
    patch: Int[Tensor, "s k"]

    @property
    def patch_mask(self) -> Bool[Tensor, "s k"]:
        """True where a patch has a point."""
        return self.patch < len(self.point_desc)


class Correspondences(NamedTuple):
    """Points that belong together; the same pair may come from several pairs of patches.

    src, tgt : (K, 3) places.  confidence : (K,) in (0, 1].  src_index, tgt_index : (K,) int64.
    patch : (K,) int64 pair of patches that each comes from, the most alike first.
    """

    src: Float[Tensor, "k 3"]
    tgt: Float[Tensor, "k 3"]
    confidence: Float[Tensor, " k"]
    src_index: Int[Tensor, " k"]
    tgt_index: Int[Tensor, " k"]
    patch: Int[Tensor, " k"]


class Survey(NamedTuple):
    """What is measured of a cloud before any weight comes in: the same in each step of training.

    levels : fine to coarse.  patch : (S, K) as in `Described`.  structure : of the superpoints.
    """

    levels: list[Level]
    patch: Int[Tensor, "s k"]
    structure: Structure


class _Local(NamedTuple):
    """What one cloud knows of itself, before it has seen the other one."""

    features: Tensor
    points: Tensor
    embedding: Tensor


class RoITr(nn.Module):
    """The network; see `Hyper` and the module's docstring."""

    symmetry = "SE(3)"
    needs_normals = True

    def __init__(self, hyper: Hyper | None = None) -> None:
        super().__init__()
        self.hyper = h = hyper or Hyper()
        self.min_points = 2 * h.stride ** (len(h.widths) - 1)
        self.encoder = Encoder(h.widths, h.layers, h.inner, h.heads)
        self.decoder = Decoder(h.widths, h.inner, h.heads)
        self.transformer = GlobalTransformer(h.widths[-1], h.width, h.heads, h.blocks, h.symmetric)
        self.node_head = nn.Linear(h.widths[-1], h.length)
        self.point_head = nn.Linear(h.widths[0], h.length)
        self.slack = nn.Parameter(torch.tensor(1.0))

    def forward(
        self, src: Float[Tensor, "n 3"], src_normal: Float[Tensor, "n 3"],
        tgt: Float[Tensor, "m 3"], tgt_normal: Float[Tensor, "m 3"],
    ) -> tuple[Described, Described]:
        """Describe the source and the target; nothing else than the clouds is needed.

        src, tgt : metres, in any pose and of any type; decisions are made in float64.
        src_normal, tgt_normal : unit vectors that point to the side of the sensor: turned round,
            they give other descriptors.

        Raises
        ------
        ShapeError, InputError : wrong shapes, values that are not finite, fewer points than make
            two superpoints (`min_points`).
        """
        given = ((src, src_normal, "src"), (tgt, tgt_normal, "tgt"))
        for xyz, normal, name in given:
            check_points(xyz, name, min_points=self.min_points, batched=False)
            check_same_points(normal, xyz, f"{name}_normal")
        if src.device != tgt.device:
            raise InputError(f"clouds on {src.device} and {tgt.device}", where="tgt",
                             hint="move both to one device")
        clouds = [cloud[:2] for cloud in given]
        surveys = each_alone(lambda cloud: self.survey(*cloud), clouds) if self._is_fast() else [
            self.survey(*cloud) for cloud in clouds]
        return self.describe(*surveys)

    @torch.no_grad()
    def survey(self, xyz: Float[Tensor, "n 3"], normal: Float[Tensor, "n 3"]) -> Survey:
        """Measure a cloud, as `forward` takes it; what is found goes to the network's device."""
        h, weight = self.hyper, self.slack
        cloud = cloud_of(xyz.to(weight.device), official=h.compat == "official")
        levels = levels_of(cloud, normal.detach().to(weight), h.neighbours, h.stride)
        nodes = levels[-1].cloud
        dist, owner = nearest(cloud.xyz, nodes, 1)
        patch = patches_of(owner[:, 0], dist[:, 0], cloud.rank, cloud.tie, len(nodes.xyz), h.patch)
        here = torch.arange(len(nodes.xyz), device=weight.device)
        near = nearest(nodes.xyz, nodes, h.angles, here)[1]
        return Survey(levels, patch,
                      structure_of(nodes.xyz, near, h.sigma_distance, h.sigma_angle_deg))

    def describe(self, source: Survey, target: Survey) -> tuple[Described, Described]:
        """Describe two surveyed clouds."""
        is_fast = self._is_fast()
        surveys = (source, target)
        locals_ = each_alone(self._alone, surveys) if is_fast else [self._alone(s) for s in surveys]
        one, other = locals_
        # hundreds of products of a few hundred rows: threads would wait for each other longer
        with one_thread() if is_fast else nullcontext():
            x, y = self.transformer(one.features, other.features, one.embedding, other.embedding)
        described = (
            Described(survey.levels[-1].node, F.normalize(self.node_head(nodes), dim=1),
                      local.points, survey.patch)
            for survey, local, nodes in zip(surveys, locals_, (x, y), strict=True))
        return next(described), next(described)

    def _is_fast(self) -> bool:
        """Return whether clouds may be worked on at the same time: threads record no gradients."""
        return not torch.is_grad_enabled() and self.slack.device.type == "cpu"

    def _alone(self, survey: Survey) -> _Local:
        """Do for one cloud what needs no other one."""
        features = self.encoder(survey.levels)
        points = self.point_head(self.decoder(survey.levels, features))
        return _Local(features[-1], points, self.transformer.embedding(survey.structure))

    def pairs(self, source: Described, target: Described) -> Pairs:
        """Return the superpoints that look alike, best first."""
        h = self.hyper
        rows, columns = target.patch_mask.any(1), source.patch_mask.any(1)
        if h.coarse == "near":
            return near_pairs(target.node_desc, source.node_desc, rows, columns, h.distance,
                              h.pairs)
        score = coarse_scores(target.node_desc, source.node_desc, rows, columns)
        return best_pairs(score, h.pairs)

    def log_assignment(
        self, source: Described, target: Described, source_node: Int[Tensor, " p"],
        target_node: Int[Tensor, " p"],
    ) -> Float[Tensor, "p k1 k1"]:
        """Match the points of pairs of patches by optimal transport: (P, K + 1, K + 1).

        Rows are points of the target, columns of the source; the last of each is "none".
        """
        sides = []
        for one, node in ((target, target_node), (source, source_node)):
            rows = F.pad(one.point_desc, (0, 0, 0, 1))
            sides.append(rows[one.patch[node]])  # (P, K, D)
        score = torch.bmm(sides[0], sides[1].mT) * self.hyper.length**-0.5
        return sinkhorn(score, target.patch_mask[target_node], source.patch_mask[source_node],
                        self.slack, self.hyper.iterations)


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> RoITr:
    """Make the network; `overrides` are fields of `Hyper`. Raises ConfigError for others."""
    return RoITr(with_overrides(SIZES[preset], overrides, name))


@torch.no_grad()
def match(
    model: RoITr, source_points: Float[Tensor, "n 3"], source_normals: Float[Tensor, "n 3"],
    target_points: Float[Tensor, "m 3"], target_normals: Float[Tensor, "m 3"],
) -> Correspondences:
    """Return points of the source and of the target that belong together; there may be none.

    Arguments and errors as `RoITr.forward`. Correspondences come in the order of their pairs of
    patches; the places are those given, of the type given.
    """
    found = match_described(
        model, *model(source_points, source_normals, target_points, target_normals))
    src, tgt, confidence, patch = (t.to(source_points.device) for t in found)
    return Correspondences(source_points.detach()[src], target_points.detach()[tgt], confidence,
                           src, tgt, patch)


class MatchedPoints(NamedTuple):
    """Positions (K,) int64 of points that belong together, and as in `Correspondences`."""

    source: Int[Tensor, " k"]
    target: Int[Tensor, " k"]
    confidence: Float[Tensor, " k"]
    patch: Int[Tensor, " k"]


def match_described(model: RoITr, source: Described, target: Described) -> MatchedPoints:
    """Match the points of two described clouds; see `match`."""
    pairs = model.pairs(source, target)
    assignment = model.log_assignment(source, target, pairs.source, pairs.target)
    rows, columns = target.patch[pairs.target], source.patch[pairs.source]
    patch, row, column, confidence = fine_pairs(
        assignment, rows < len(target.point_desc), columns < len(source.point_desc),
        model.hyper.top, model.hyper.least)
    return MatchedPoints(columns[patch, column], rows[patch, row], confidence, patch)
