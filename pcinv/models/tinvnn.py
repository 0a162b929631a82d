"""TinvNN (Zhang, Wang, Zhang, Cui, Zhu: arXiv 2112.12345; its journal version calls it TinvNet).

Any network becomes invariant if it is given initial representations of the points that do not
change under the transformations and keep the distances: multi-dimensional scaling of the distances,
modified where it is ambiguous. For points in space that is the cloud along its principal axes,
which needs 3x3 and not N x N numbers.

Neither code nor figures of the paper were found: this is a re-derivation, all choices below the
idea are ours, and so is every figure measured with it. Signs of axes are random in training, one
pattern a cloud, and all of them in evaluation, whose logits are averaged. Coinciding eigenvalues
leave the axes open; such clouds are reported, not hidden.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pcinv.errors import ConfigError, InputError, ShapeError, unknown_name
from pcinv.geometry.pca_frames import ALL_SIGNS, TILT, Frames, draw_frames, pca_frames
from pcinv.geometry.symmetric import eigh3
from pcinv.nn.dgcnn import DGCNN_SIZES, DGCNNBody, DGCNNSizes
from pcinv.nn.overrides import with_overrides
from pcinv.nn.pointnet import POINTNET_SIZES, PointNetBody, PointNetSizes
from pcinv.nn.views import ViewedNetwork, Views, fold
from pcinv.ops import record_margin

SCALES = ("rms", "lam1", "max", "none")
SIGNS = ("random", "skew", "all")


@dataclass(frozen=True)
class AlignChoices:
    """How clouds are aligned, and how what is seen of one is joined.

    scale : size that coordinates are divided by: "rms" radius, "lam1" deviation along the first
        axis, "max" radius, or "none" to keep it, for invariance to rigid motions alone.
    signs : of the axes in training, "random", "skew" (third moments positive) or "all".
    eval_signs : in evaluation, "all" or "skew".
    pool : over the views: "mean" of the logits, "max" of the features, or learned "attention".
    reflection_invariant : see mirror images too.
    tiebreak : "kernel" splits axes of nearly equal eigenvalues by a scatter that weighs points by
        their distance from the mean.
    min_gap : relative gap of eigenvalues below which a cloud is reported as ambiguous.
    """

    scale: Literal["rms", "lam1", "max", "none"] = "rms"
    signs: Literal["random", "skew", "all"] = "random"
    eval_signs: Literal["all", "skew"] = "all"
    pool: Literal["mean", "max", "attention"] = "mean"
    reflection_invariant: bool = False
    tiebreak: Literal["kernel"] | None = None
    min_gap: float = 1e-3


@dataclass(frozen=True)
class PointNetHyper(AlignChoices, PointNetSizes):
    """Sizes of the body, and how its input is aligned."""


@dataclass(frozen=True)
class DGCNNHyper(AlignChoices, DGCNNSizes):
    """Sizes of the body, and how its input is aligned."""


class Aligned(NamedTuple):
    """Aligned clouds.

    xyz : (B, V, N, 3) the views; zero where a row is padding.
    frames : their axes, the centres, and which clouds are ambiguous.  size : (B,) float64.
    """

    xyz: Tensor
    frames: Frames
    size: Tensor


class TinvAlign(nn.Module):
    """Points along their principal axes, over their size: distances are kept but for one factor.

    Vectors v at the points are aligned by `frames.turn(v)`, directions brought back by
    `frames.back`. Parameters as of `AlignChoices`, `signs` of them for this call.
    """

    def __init__(
        self, scale: str = "rms", signs: str = "all", reflection_invariant: bool = False,
        tiebreak: str | None = None, min_gap: float = 1e-3,
    ) -> None:
        super().__init__()
        for value, known, where in ((scale, SCALES, "scale"), (signs, SIGNS, "signs")):
            if value not in known:
                raise unknown_name(where, value, known, where=where)
        if tiebreak not in (None, "kernel"):
            raise unknown_name("tiebreak", str(tiebreak), ("kernel",), where="tiebreak")
        self.scale, self.signs, self.tiebreak, self.min_gap = scale, signs, tiebreak, min_gap
        self.group: Literal["SE3", "E3"] = "E3" if reflection_invariant else "SE3"

    def frames(
        self, xyz: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"] | None = None
    ) -> tuple[Frames, Float[Tensor, " b"], Float[Tensor, "b n 3"]]:
        """Return the frames of each cloud, its size, and its points about the centre, float64."""
        frames = pca_frames(xyz, mask, group=self.group, min_gap=self.min_gap)
        local = xyz.double() - frames.centre[:, None]
        if mask is not None:
            local = torch.where(mask[..., None], local, 0.0)
        exact = local.detach()
        count = xyz.shape[1] if mask is None else mask.sum(1)
        if self.tiebreak == "kernel" and bool(frames.is_ambiguous.any()):
            frames = _split_ties(frames, exact, count, self.min_gap)
        record_margin(TILT * float(frames.gap.amin()))
        if self.scale == "rms":
            size = torch.linalg.vector_norm(exact, dim=(1, 2)) / count**0.5
        elif self.scale == "lam1":
            size = (exact @ frames.axes[:, 0, :, :1]).square().sum((1, 2)).div(count).sqrt()
        elif self.scale == "max":
            size = exact.square().sum(-1).amax(1).sqrt()
        else:
            size = torch.ones_like(frames.gap)
        if self.signs == "random":
            frames = draw_frames(frames)
        elif self.signs == "skew":
            frames = _by_skew(frames, exact)
        return frames, torch.where(size > 0, size, torch.ones_like(size)), local

    def forward(
        self, xyz: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"] | None = None
    ) -> Aligned:
        frames, size, local = self.frames(xyz, mask)
        first = (local @ (frames.axes[:, 0] / size[:, None, None])).to(xyz.dtype)
        signs = first.new_tensor(ALL_SIGNS[: frames.weight.shape[1]])  # the views differ by these
        return Aligned(first[:, None] * signs[:, None], frames, size)


def _by_skew(frames: Frames, local: Float[Tensor, "b n 3"]) -> Frames:
    """Keep the frame in which the sums of third powers are positive.

    Of the frames of det +1 two axes decide. The rule fails where a moment vanishes, as it does on
    mirror-symmetric clouds; how far from that the choice was is recorded.
    """
    seen = local @ frames.axes[:, 0]
    moment = seen.pow(3).sum(1) / seen.square().sum(1).pow(1.5).clamp_min(1e-300)  # (B, 3)
    signs = moment.new_tensor(ALL_SIGNS[: frames.weight.shape[1]])  # (F, 3)
    used = 3 if len(signs) == 8 else 2
    record_margin(float(moment[:, :used].abs().amin()))
    best = ((moment[:, None] * signs)[..., :used] > 0).sum(-1).argmax(1)
    axes = frames.axes.gather(1, best[:, None, None, None].expand(-1, 1, 3, 3))
    return replace(frames, axes=axes, weight=torch.ones_like(frames.weight[:, :1]))


def _split_ties(
    frames: Frames, local: Float[Tensor, "b n 3"], count: Tensor | int, min_gap: float
) -> Frames:
    """Turn axes of nearly equal eigenvalues to those of a scatter weighted by exp(-|x|^2 / s).

    s : mean square radius.  count : points of each cloud. Axes of eigenvalues that are apart stay.
    """
    axes = frames.axes[:, 0]
    seen = local @ axes
    square = local.square().sum(-1, keepdim=True)  # (B, N, 1)
    mean = square.sum((1, 2)) / count
    weight = (-square / torch.where(mean > 0, mean, 1.0)[:, None, None]).exp()
    plain, weighted = seen.square().sum(1), (weight * seen).mT @ seen  # (B, 3), (B, 3, 3)
    apart = plain[:, :-1] - plain[:, 1:] >= min_gap * plain[:, :1]  # (B, 2)
    block = torch.cat([torch.zeros_like(apart[:, :1]), apart], dim=1).cumsum(1)  # (B, 3)
    same = block[:, :, None] == block[:, None]
    # what lies in one block is solved for; blocks keep their order, being far apart
    offset = torch.diag_embed(-2.0 * block * plain.sum(1, keepdim=True))
    turn = eigh3(torch.where(same, weighted, 0.0) + offset)[1].flip(-1)
    turn = turn * torch.linalg.det(turn).sign()[:, None, None]
    spread = (weight * (seen @ turn).square()).sum(1)
    gap = torch.where(apart, plain.diff(dim=1), spread.diff(dim=1)).abs().amin(1)
    gap = gap / plain[:, 0].clamp_min(torch.finfo(gap.dtype).tiny)
    signs = axes.new_tensor(ALL_SIGNS[: frames.weight.shape[1]])
    return replace(frames, axes=(axes @ turn)[:, None] * signs[:, None], gap=gap,
                   is_ambiguous=gap < min_gap)


def scaled_coordinates(dist2: Float[Tensor, "b n n"], dim: int = 3) -> Float[Tensor, "b n d"]:
    """Return points at these squared distances by classical multi-dimensional scaling.

    For distances that come without points (geodesic ones, graphs); of points it gives what
    `TinvAlign(scale="none")` does, up to signs, in a thousand times the time.

    Raises ShapeError for another shape, InputError for distances that no points in space have:
    negative eigenvalues above 1 % of the trace.
    """
    if dist2.dim() != 3 or dist2.shape[1] != dist2.shape[2]:
        raise ShapeError(f"expected shape (B, N, N), got {tuple(dist2.shape)}", where="dist2",
                         hint="squared distances of all pairs")
    exact = dist2.double()
    gram = exact - exact.mean(1, keepdim=True)
    gram = -0.5 * (gram - gram.mean(2, keepdim=True))  # -1/2 J D2 J
    values, vectors = torch.linalg.eigh((gram + gram.mT) / 2)
    if bool((-values[:, 0] > 0.01 * values.clamp_min(0).sum(1)).any()):
        raise InputError("the distances are not those of points in space", where="dist2",
                         hint="squared distances are needed; of graphs take a larger space")
    values, vectors = values.flip(-1)[:, :dim].clamp_min(0), vectors.flip(-1)[..., :dim]
    return (vectors * values.sqrt()[:, None]).to(dist2.dtype)


class TinvNN(ViewedNetwork):
    """Classifier, part segmenter or estimator of normals of aligned clouds."""

    def __init__(
        self, body: nn.Module, hyper: AlignChoices, task: str, num_classes: int,
        num_categories: int = 0,
    ) -> None:
        super().__init__(body, hyper, task, num_classes, num_categories)
        self.symmetry = "SIM(3)"
        if hyper.scale == "none":
            self.symmetry = "O(3)" if hyper.reflection_invariant else "SO(3)"
        if hyper.pool == "attention" and hyper.signs != "all":
            raise ConfigError("attention learns nothing of one view", where="model.pool",
                              hint="signs='all', or pool='mean'")
        if task == "normals" and hyper.pool != "mean":
            raise ConfigError("features of views have no common axes", where="model.pool",
                              hint="pool='mean'")
        self.attend = nn.Linear(body.width, 1) if hyper.pool == "attention" else None

    def see(self, xyz: Float[Tensor, "b n 3"]) -> Views:
        hyper = self.hyper
        align = TinvAlign(hyper.scale, hyper.signs if self.training else hyper.eval_signs,
                          hyper.reflection_invariant, hyper.tiebreak, hyper.min_gap)
        frames, size, _ = align.frames(xyz)
        return fold(xyz, frames, next(self.parameters()).dtype, size)

    def pool(self, rows: Tensor, views: Views) -> tuple[Tensor, Views]:
        if self.hyper.pool == "mean":
            return rows, views
        if self.attend is None:
            joined = views.maximum(rows)
        else:
            of_view = rows if rows.dim() == 2 else rows.mean(1)
            joined = views.shares(self.attend(of_view)[:, 0]).mean(rows)
        return joined, views.joined()


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> TinvNN:
    """Make the network of a row of the registry."""
    hyper: PointNetHyper | DGCNNHyper
    body: nn.Module
    if name == "tinvnn":
        hyper = PointNetHyper(**asdict(POINTNET_SIZES[task, preset]))
        hyper = with_overrides(hyper, overrides, name)
        body = PointNetBody(hyper, task, num_classes, num_categories)
    else:
        sizes = replace(DGCNN_SIZES[task, preset], t_net=False)  # the alignment replaces it
        hyper = with_overrides(DGCNNHyper(**asdict(sizes)), overrides, name)
        body = DGCNNBody(hyper, task, num_classes, num_categories)
    return TinvNN(body, hyper, task, num_classes, num_categories)
