"""Frame Averaging (Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, ICLR 2022).

arXiv 2110.03336. A network phi that knows nothing of rotations becomes invariant by the mean over
frames of the cloud, a finite set that turns with it (eq. 4 and 5):

    invariant    <phi>(X) = mean over g in F(X) of phi(g^-1 X)
    equivariant  <Phi>(X) = mean over g in F(X) of g Phi(g^-1 X)

Principal axes are such frames, but none where eigenvalues coincide, and the mean jumps where they
cross. By default frames have weights: where the axes are not clear, frames of pairs of points take
over (Dym, Lawrence, Siegel, ICML 2024, for the need; the construction is ours), so that answers are
continuous and nothing is left to rounding. Training draws one frame a cloud (Duval et al., FAENet,
ICML 2023), which costs what the bare network does; evaluation takes all.

Against the published code: frames are of det +1 unless asked otherwise, since reflections cannot
tell left from right; all coordinates are relative to the mean; the T-Nets of PointNet are left away
as published; normals of views are brought to one side before their mean, which may vanish
otherwise; classification and parts, which the published code lacks, average the logits.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.checks import check_count
from pcinv.errors import ConfigError
from pcinv.geometry.features import safe_normalize
from pcinv.geometry.pca_frames import TILT, Frames, blended_frames, draw_frames, pca_frames
from pcinv.nn.dgcnn import DGCNN_SIZES, DGCNNBody, DGCNNSizes
from pcinv.nn.overrides import with_overrides
from pcinv.nn.pointnet import POINTNET_SIZES, PointNetBody, PointNetSizes
from pcinv.nn.views import ViewedNetwork, ViewFeatures, Views, fold
from pcinv.ops import record_margin
from pcinv.ops.margins import tracking


@dataclass(frozen=True)
class FrameChoices:
    """What the network is averaged over.

    frames : "weighted" principal axes and pairs of points, or "plain" principal axes.
    group : "SE3", or "E3" for an answer that does not tell mirror images apart either.
    draws : frames drawn for each cloud in training, 0 for all of them.
    min_gap : relative gap of eigenvalues below which pairs of points begin to take over.
    anchors : points that the pairs are taken of.
    compat : "official" for what the published network for normals does besides: all reflections,
        a plain mean of the normals, a normalisation layer that it has and never uses.
    """

    frames: Literal["weighted", "plain"] = "weighted"
    group: Literal["SE3", "E3"] = "SE3"
    draws: int = 1
    min_gap: float = 1e-3
    anchors: int = 8
    compat: Literal["fixed", "official"] = "fixed"


@dataclass(frozen=True)
class PointNetHyper(FrameChoices, PointNetSizes):
    """Sizes of the body, and what it is averaged over."""


@dataclass(frozen=True)
class DGCNNHyper(FrameChoices, DGCNNSizes):
    """Sizes of the body, and what it is averaged over."""


class FrameAveraging(ViewedNetwork):
    """Classifier, part segmenter or estimator of normals, averaged over frames."""

    def __init__(
        self, body: nn.Module, hyper: FrameChoices, task: str, num_classes: int,
        num_categories: int = 0,
    ) -> None:
        super().__init__(body, hyper, task, num_classes, num_categories)
        check_count(hyper.draws, "model.draws", low=0)
        check_count(hyper.anchors, "model.anchors")
        if not hyper.min_gap > 0:
            raise ConfigError(f"a gap of {hyper.min_gap}", where="model.min_gap",
                              hint="above 0; frames='plain' for principal axes alone")
        self.is_official = hyper.compat == "official"
        self.group = "E3" if self.is_official else hyper.group
        self.symmetry = "O(3)" if self.group == "E3" else "SO(3)"
        if self.is_official and isinstance(body, DGCNNBody):
            self.unused = nn.BatchNorm1d(64)

    def frames(self, xyz: Float[Tensor, "b n 3"]) -> Frames:
        """Return the frames of clouds of any origin: all, or those drawn in training."""
        hyper = self.hyper
        if self.task == "normals" and tracking():  # nothing fixes a direction about a line
            spread = torch.linalg.svdvals(xyz.double() - xyz.double().mean(1, keepdim=True))
            least = spread[:, 1:2].sum(1) / spread[:, 0].clamp_min(torch.finfo(spread.dtype).tiny)
            record_margin(TILT * float(least.amin()))
        if hyper.frames == "weighted" and not self.is_official:
            found = blended_frames(xyz, group=self.group, min_gap=hyper.min_gap,
                                   anchors=hyper.anchors)
        else:
            order = "asc" if self.is_official else "desc"
            found = pca_frames(xyz, group=self.group, order=order)
            record_margin(TILT * float(found.gap.amin()))
        return draw_frames(found, hyper.draws) if self.training and hyper.draws else found

    def see(self, xyz: Float[Tensor, "b n 3"]) -> Views:
        return fold(xyz, self.frames(xyz), next(self.parameters()).dtype)

    def forward_head(self, features: ViewFeatures, category: Tensor | None = None) -> Tensor:
        if self.is_official and self.task == "normals":
            mean = features.views.directions(self.body.answer(features.rows))
            return safe_normalize(mean)
        return super().forward_head(features, category)


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> FrameAveraging:
    """Make the network of a row of the registry."""
    hyper: PointNetHyper | DGCNNHyper
    body: nn.Module
    if name == "fa_pointnet":
        hyper = PointNetHyper(**asdict(POINTNET_SIZES[task, preset]))
        hyper = with_overrides(hyper, overrides, name)
        body = PointNetBody(hyper, task, num_classes, num_categories)
    else:
        sizes = asdict(DGCNN_SIZES[task, preset])
        if task == "normals":  # pooling and the points themselves as in the published network
            sizes |= {"edge_pool": "mean", "keep_points": True} if preset == "paper" else {}
        hyper = with_overrides(DGCNNHyper(**sizes), overrides, name)
        body = DGCNNBody(hyper, task, num_classes, num_categories)
    return FrameAveraging(body, hyper, task, num_classes, num_categories)
