"""PaRot: patch-wise rotation-invariant network (D. Zhang, J. Yu, C. Zhang, W. Cai, AAAI 2023).

arXiv 2302.02535. Patches around centres, near ones and ones of the whole shape, are each described
apart from how they lie, and get a frame that turns with them. How the frames and centres lie to
each other restores the shape: near patches hear their neighbours, the two scales are joined at each
centre, and for parts the patches speak to the points around them.

The published frames are predicted by a network that losses teach to turn with its input: invariance
is approximate. Here, unless asked otherwise, frames are computed (`exact_frames`) and patches are
described as seen from them: invariance is exact, and training needs no second branch. With
`frames="learned"` they are predicted, as rotations. Besides, against the published code: clouds are
centred, sampling starts at the outermost point, and points hear the patches that are truly near
(the published code projects the centres on a sphere).

Letters: B batch, N points, S patches, K points of a patch or neighbours, C channels.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.checks import check_category, check_points
from pcinv.errors import InputError
from pcinv.geometry.features import safe_normalize
from pcinv.geometry.rotation import random_rotation
from pcinv.models.parot_parts import (
    SLOPE,
    DisentangleNet,
    PairNet,
    exact_frames,
    extract_patches,
    layers_of,
    neighbour_poses,
    point_poses,
    pose_relation,
    predicted_frames,
    siamese,
)
from pcinv.nn.backbone import forward_by_size
from pcinv.nn.heads import RowHead, activated
from pcinv.nn.overrides import with_overrides
from pcinv.nn.rows import LinearNorm, flat_index
from pcinv.ops import knn


@dataclass(frozen=True)
class Hyper:
    """Sizes and choices of a network.

    num_points : points that the sizes were chosen for; other counts work.
    patches : S.  near, whole : points of a patch of each scale.  neighbours : of a patch.
    points : widths of the layers on the points of a patch; the last one is that of its content.
    content_layers : layers behind these.  directions : hidden widths of a predicted direction.
    pose : channels of an embedded pose.  pairs : widths of the layers on pairs of patches.
    encoder : widths of the layers on patches, the last one that of the vector of a cloud.
    head : hidden widths.  dropout : in the head.
    root, spread, nearest : part segmentation: widths of the layers on patches and on pairs of a
        point and a patch, and the number of patches that each point hears.
    frames : "exact", or "learned" for predicted ones: invariance is approximate.
    tta_rotations : learned frames: average the logits over so many rotations in evaluation.
    equivariance, orthogonality, content : weights of the losses of learned frames, for the near and
        the whole patches.
    compat : "official" for the arithmetic of the published code: learned frames that are no
        rotations, no centring, a random start of the samples, projected centres.
    """

    num_points: int = 1024
    patches: int = 256
    near: int = 64
    whole: int = 32
    neighbours: int = 32
    points: tuple[int, ...] = (64, 128, 128)
    content_layers: int = 2
    directions: tuple[int, ...] = (64, 32)
    pose: int = 32
    pairs: tuple[int, ...] = (128, 128, 128)
    encoder: tuple[int, ...] = (256, 512, 1024)
    head: tuple[int, ...] = (512, 256)
    dropout: float = 0.5
    root: tuple[int, ...] = (256, 256)
    spread: tuple[int, ...] = (256, 128, 128)
    nearest: int = 11
    frames: Literal["exact", "learned"] = "exact"
    tta_rotations: int = 0
    equivariance: tuple[float, float] = (1.0, 1.0)
    orthogonality: tuple[float, float] = (0.2, 0.1)
    content: tuple[float, float] = (0.0, 0.0)
    compat: Literal["fixed", "official"] = "fixed"


_LIGHT: dict[str, Any] = {
    "patches": 128, "near": 32, "whole": 16, "neighbours": 16, "points": (32, 64, 64),
    "pose": 16, "pairs": (64, 64, 64), "encoder": (128, 256, 512), "root": (128, 128),
}

SIZES: dict[tuple[str, str], Hyper] = {
    ("classification", "paper"): Hyper(),
    ("classification", "light"): Hyper(**_LIGHT, head=(256, 128)),
    ("part_segmentation", "paper"): Hyper(
        num_points=2048, whole=64, neighbours=16, head=(128, 128)),
    ("part_segmentation", "light"): Hyper(
        **_LIGHT, head=(64, 64), spread=(64, 64, 64), nearest=6),
}


class Described(NamedTuple):
    """What is known of each patch: how it lies, and its content at both scales.

    centre : (B, S, 3).  near, whole : (B, S, 3, 3) frames.  of_near, of_whole : (B, S, C).
    """

    centre: Tensor
    near: Tensor
    whole: Tensor
    of_near: Tensor
    of_whole: Tensor


class PatchFeatures(NamedTuple):
    """What the network knows of a cloud; the first three as of `Features`.

    global_ : (B, C).  centres : (B, S, D).  per_point is None: the category of the object is heard
    before points have features.
    index, pose : (B, N, K) and (B, N, K, 7) for parts: the patches that points hear, and how each
    lies to them.
    """

    global_: Tensor
    per_point: Tensor | None
    centres: Tensor
    index: Tensor | None = None
    pose: Tensor | None = None


class IntraScaleLayer(nn.Module):
    """Near patches hear their neighbours: (B, S, C) -> (B, S, C)."""

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.neighbours = hyper.neighbours
        self.pairs = PairNet(16, hyper.pose, 2 * hyper.points[-1], hyper.pairs, 0.0, "max")

    def forward(self, z: Float[Tensor, "b s c"], patch: Described) -> Float[Tensor, "b s d"]:
        b, s, _ = z.shape
        index = knn(patch.centre, patch.centre, min(self.neighbours, s)).index  # (B, S, K)
        pose = neighbour_poses(patch.centre, patch.near, index)
        # of [z_j, z_j - z_i] the map is (U + V) z_j - V z_i
        of_theirs, of_difference = self.pairs.columns()[0].chunk(2, dim=1)
        rows = z.flatten(0, 1)
        theirs = F.linear(rows, of_theirs + of_difference)
        own = F.linear(rows, of_difference)
        out: Tensor = self.pairs(pose.flatten(0, 1), flat_index(index, s).view(b * s, -1),
                                 theirs, -own)
        return out.view(b, s, -1)


class PointPropagation(nn.Module):
    """Points hear the nearest patches, then each is told apart: logits (B, N, parts)."""

    def __init__(self, hyper: Hyper, num_outputs: int, num_categories: int) -> None:
        super().__init__()
        self.num_categories, width = num_categories, hyper.root[-1]
        self.pairs = PairNet(7, hyper.pose, width + num_categories, hyper.spread, SLOPE, "sum")
        self.head = layers_of((hyper.spread[-1], *hyper.head))
        self.dropout = nn.Dropout(hyper.dropout)
        self.last = nn.Linear(hyper.head[-1], num_outputs)

    def forward(self, features: PatchFeatures, category: Int[Tensor, " b"] | None) -> Tensor:
        index, pose = features.index, features.pose
        if index is None or pose is None:
            raise InputError("features of a classifier", where="features", hint="report this")
        b, n, k = index.shape
        s, width = features.centres.shape[1:]
        weight = self.pairs.columns()[0]
        theirs = F.linear(features.centres.flatten(0, 1), weight[:, :width])  # (B S, D)
        told = theirs.new_zeros(b, len(weight))
        if self.num_categories and category is not None:
            told = F.linear(F.one_hot(category, self.num_categories).to(theirs), weight[:, width:])
        rows = self.pairs(pose.flatten(0, 1), flat_index(index, s).view(b * n, k), theirs,
                          told.repeat_interleave(n, dim=0))
        for layer in self.head:
            rows = activated(layer, rows, 0.0)
        logits: Tensor = self.last(self.dropout(rows)).view(b, n, -1)
        return logits


class PaRot(nn.Module):
    """Classifier or part segmenter; see `Hyper` and the module's docstring.

    num_classes : classes, or parts of all categories together.
    num_categories : categories of which a part segmenter is told one, 0 for none.
    """

    needs_normals = False
    min_points = 4

    def __init__(
        self, hyper: Hyper, task: str, num_classes: int, num_categories: int = 0
    ) -> None:
        super().__init__()
        self.hyper, self.task = hyper, task
        self.num_classes, self.num_categories = num_classes, num_categories
        self.is_official = hyper.compat == "official"
        self.is_exact = hyper.frames == "exact" and not self.is_official
        self.symmetry = "SO(3)" if self.is_exact else "none"
        self._auxiliary: Tensor | None = None
        directions = None if self.is_exact else hyper.directions
        self.near, self.whole = (
            DisentangleNet(hyper.points, hyper.content_layers, directions) for _ in range(2))
        self.intra = IntraScaleLayer(hyper)
        self.embed = LinearNorm(16, hyper.pose, bias=False)
        width = hyper.pairs[-1] + hyper.points[-1]
        self.encoder = layers_of((width + hyper.pose, *hyper.encoder))
        if task == "classification":
            bias = (*(False for _ in hyper.head), True)
            self.head: nn.Module = RowHead(
                hyper.encoder[-1], hyper.head, num_classes, hyper.dropout, SLOPE, bias)
        else:
            self.embed_root = LinearNorm(16, hyper.pose, bias=False)
            self.root = layers_of((hyper.encoder[-1] + width + hyper.pose, *hyper.root))
            self.head = PointPropagation(hyper, num_classes, num_categories)

    def forward(
        self,
        xyz: Float[Tensor, "b n 3"],
        normal: Float[Tensor, "b n 3"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
        category: Int[Tensor, " b"] | None = None,
    ) -> Tensor:
        """Return logits: (B, classes), or (B, N, parts) for part segmentation.

        xyz : coordinates of any origin; the scale is that of the training data (unit ball).
        normal : not looked at.
        mask : True where a row is a point. Clouds of different size are computed apart, so
            padding cannot change an answer; evaluation only.
        category : object category of each cloud, for a part segmenter that has some.

        Raises
        ------
        ShapeError, InputError : wrong shapes, values that are not finite, fewer than
            `min_points` points, one cloud in training.
        """
        check_points(xyz, min_points=self.min_points)
        if mask is not None:
            return forward_by_size(self, xyz, None, mask, category)
        count = self.hyper.tta_rotations
        if self.training or self.is_exact or count < 1:
            return self.forward_head(self.forward_features(xyz), category)
        middle = xyz.double().mean(1, keepdim=True)
        turns = random_rotation(count, generator=torch.Generator().manual_seed(0),
                                dtype=torch.float64).to(xyz.device)
        seen = ((xyz.double() - middle) @ turn for turn in turns)
        logits = [self.forward_head(self.forward_features(view.to(xyz)), category) for view in seen]
        return torch.stack(logits).mean(0)

    def forward_features(
        self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"] | None = None
    ) -> PatchFeatures:
        """Return the vector of each cloud, and for parts what the head needs of its points."""
        if self.training and len(xyz) == 1:
            raise InputError("a batch of one cloud in training", where="xyz",
                             hint="batch normalisation needs two or more; or call model.eval()")
        exact = xyz.double()
        if not self.is_official:
            exact = exact - exact.mean(1, keepdim=True)
        patch = self.describe(exact)
        b, s, _ = patch.centre.shape
        frames = patch.near, patch.whole
        if self.is_official:  # in this place alone the third axis passes no gradient
            frames = tuple(torch.cat((o[..., :2, :], o[..., 2:, :].detach()), -2) for o in frames)
        pose = pose_relation(*frames, patch.centre)
        pose = torch.cat((pose[..., 15:], pose[..., :15]), dim=-1).flatten(0, 1)  # |c| first
        own = torch.cat((self.intra(patch.of_near, patch), patch.of_whole), dim=-1).flatten(0, 1)
        rows = torch.cat((own, activated(self.embed, pose, SLOPE)), dim=-1)  # (B S, 2 C + P)
        *inner, last = self.encoder
        for layer in inner:
            rows = activated(layer, rows, SLOPE)
        # the activation rises: it may follow the maximum
        cloud = F.leaky_relu(last(rows).view(b, s, -1).amax(1), SLOPE)
        if self.task == "classification":
            return PatchFeatures(cloud, None, rows.view(b, s, -1))
        known = torch.cat((own, activated(self.embed_root, pose, SLOPE)), dim=-1)
        rows = torch.cat((cloud.repeat_interleave(s, dim=0), known), dim=-1)
        for layer in self.root:
            rows = activated(layer, rows, 0.0)
        points = exact.to(patch.centre)
        centre = safe_normalize(patch.centre) if self.is_official else patch.centre
        index = knn(points, centre, min(self.hyper.nearest, s)).index  # (B, N, K)
        pose = point_poses(points, centre, (patch.near, patch.whole), index)
        return PatchFeatures(cloud, None, rows.view(b, s, -1), index, pose)

    def forward_head(
        self, features: PatchFeatures, category: Int[Tensor, " b"] | None = None
    ) -> Tensor:
        """Turn features into logits."""
        if self.num_categories:
            check_category(category, len(features.centres), self.num_categories)
        logits: Tensor = (self.head(features.global_) if self.task == "classification"
                          else self.head(features, category))
        return logits

    def take_auxiliary(self) -> Tensor | None:
        """Return the losses of learned frames in the last pass of training, once."""
        loss, self._auxiliary = self._auxiliary, None
        return loss

    def describe(self, xyz: Float[Tensor, "b n 3"]) -> Described:
        """Return frame and content of the patches of clouds in float64."""
        hyper, dtype = self.hyper, next(self.parameters()).dtype
        cut = extract_patches(xyz, hyper.patches, hyper.near, hyper.whole,
                              random_start=self.is_official)
        b, s, _ = cut.centre.shape
        scales = ((self.near, cut.near), (self.whole, cut.whole))
        if self.is_exact:
            exact = exact_frames(cut)
            frames = [frame.to(dtype) for frame in exact]
            contents = [net((points @ frame.mT).to(dtype).flatten(0, 1))[0]
                        for (net, points), frame in zip(scales, exact, strict=True)]
        else:
            weights = zip(hyper.equivariance, hyper.orthogonality, hyper.content, strict=True)
            found = [self.predict(net, points.to(dtype).flatten(0, 1), weight)
                     for (net, points), weight in zip(scales, weights, strict=True)]
            frames = [frame.view(b, s, 3, 3) for _, frame, _ in found]
            contents = [z for z, _, _ in found]
            self._auxiliary = found[0][2] + found[1][2] if self.training else None
        return Described(cut.centre.to(dtype), *frames, *(z.view(b, s, -1) for z in contents))

    def predict(
        self, network: nn.Module, patch: Float[Tensor, "m k 3"], weights: tuple[float, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return content, predicted frames and in training the loss of the patches of a scale."""
        if self.training:
            z, directions, loss = siamese(network, patch, weights)
        else:
            z, directions = network(patch)
            loss = directions.new_zeros(())
        return z, predicted_frames(directions, raw=self.is_official), loss


def build(
    name: str, *, task: str, num_classes: int, preset: str, num_categories: int,
    overrides: dict[str, Any],
) -> PaRot:
    """Make the network of a row of the registry."""
    return PaRot(with_overrides(SIZES[task, preset], overrides, name), task, num_classes,
                 num_categories)
