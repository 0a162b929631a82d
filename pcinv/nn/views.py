"""Networks that look at a cloud from several sides and join what they see.

A body that knows nothing of rotations runs on views: the cloud as seen from frames that turn with
it. All views of a batch are rows of one larger batch, each with the number of its cloud and its
weight; a cloud may have more of them than another. What they have in common (the neighbours of each
point) is found once a cloud.

Letters: B clouds, V views of them all, N points, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.checks import check_category, check_points
from pcinv.errors import InputError
from pcinv.geometry.features import safe_normalize
from pcinv.geometry.pca_frames import Frames
from pcinv.geometry.symmetric import eigh3
from pcinv.nn.backbone import forward_by_size
from pcinv.nn.fused import at_a_time, is_fused
from pcinv.ops import record_margin
from pcinv.ops.margins import tracking
from pcinv.ops.threads import in_shares

CACHED_POINTS = 1024
"""Points of views that are worked on at a time in evaluation: one view of the usual size.

Then the answer for a cloud does not depend, to the last bit, on how many others are in its batch.
"""


class Views(NamedTuple):
    """Views of a batch, those of one cloud after those of the one before.

    xyz : (V, N, 3) in the precision of the network.  cloud : (V,) the cloud that each is of.
    weight : (V,) of sum 1 for each cloud.  axes : (V, 3, 3) the axes of its frame as columns.
    clouds : B.
    """

    xyz: Tensor
    cloud: Tensor
    weight: Tensor
    axes: Tensor
    clouds: int

    def mean(self, rows: Float[Tensor, "v *c"]) -> Float[Tensor, "b *c"]:
        """Return the weighted mean over the views of each cloud."""
        weight = self.weight.to(rows.dtype).view(-1, *(1 for _ in rows.shape[1:]))
        if len(rows) == self.clouds:  # one view a cloud
            return rows
        if len(rows) % self.clouds == 0 and bool((self.cloud == self._even()).all()):
            return (rows * weight).unflatten(0, (self.clouds, -1)).sum(1)
        total = rows.new_zeros(self.clouds, *rows.shape[1:])
        return total.index_add(0, self.cloud, rows * weight)

    def maximum(self, rows: Float[Tensor, "v *c"]) -> Float[Tensor, "b *c"]:
        """Return the maximum over the views of each cloud."""
        index = self.cloud.view(-1, *(1 for _ in rows.shape[1:])).expand_as(rows)
        low = rows.new_full((self.clouds, *rows.shape[1:]), -torch.inf)
        return low.scatter_reduce(0, index, rows, "amax")

    def shares(self, score: Float[Tensor, " v"]) -> "Views":
        """Return the views with weights that are multiplied by exp(score), of sum 1 again."""
        top = self.maximum(score.detach())[self.cloud]
        weight = self.weight.to(score) * (score - top).exp()
        total = weight.new_zeros(self.clouds).index_add(0, self.cloud, weight)
        return self._replace(weight=weight / total[self.cloud])

    def normals(self, vectors: Float[Tensor, "v n 3"]) -> Float[Tensor, "b n 3"]:
        """Return unit normals, of either sign, from the ones seen in each view.

        Views may disagree on the sign, so that a mean may vanish; each is turned to the side of
        the axis on which they agree best, the first eigenvector of the mean of n n^T.
        """
        turned = safe_normalize(vectors @ self.axes.to(vectors).mT)
        if len(turned) == self.clouds:
            return turned
        exact = turned.detach().double()
        spread = self.mean(exact[..., :, None] * exact[..., None, :])  # (B, N, 3, 3)
        values, axes = eigh3(spread)
        axis = axes[..., 2][self.cloud]  # (V, N, 3)
        cosine = (exact * axis).sum(-1, keepdim=True)
        if tracking():  # which side a view is on, and which axis that is
            record_margin(float(cosine.abs().amin()))
            record_margin(float((values[..., 2] - values[..., 1]).amin()))
        sign = torch.where(cosine < 0, -1, 1).to(turned.dtype)
        return safe_normalize(self.mean(turned * sign))

    def directions(self, vectors: Float[Tensor, "v n 3"]) -> Float[Tensor, "b n 3"]:
        """Return the mean of directions that are seen in each view, in the cloud's coordinates."""
        return self.mean(vectors @ self.axes.to(vectors).mT)

    def joined(self) -> "Views":
        """Return one view a cloud, that no longer has axes: for features that were pooled."""
        return self._replace(cloud=torch.arange(self.clouds, device=self.cloud.device),
                             weight=self.weight.new_ones(self.clouds))

    def _even(self) -> Tensor:
        each = len(self.cloud) // self.clouds
        return torch.arange(self.clouds, device=self.cloud.device).repeat_interleave(each)


class ViewFeatures(NamedTuple):
    """What a network of views knows of a cloud; the first three as of `Features`.

    rows : (V, C) or (V, N, C) features of each view, which the head takes.  views : what they saw.
    """

    global_: Tensor | None
    per_point: Tensor | None
    centres: Tensor
    rows: Tensor
    views: Views


def fold(
    xyz: Float[Tensor, "b n 3"], frames: Frames, dtype: torch.dtype,
    size: Float[Tensor, " b"] | None = None,
) -> Views:
    """Return the views of clouds from their frames, but for those of weight 0.

    size : of each cloud, by which its coordinates are divided.
    """
    local = xyz.double() - frames.centre[:, None]
    if size is not None:
        local = local / size[:, None, None]
    b, f = frames.weight.shape
    cloud = torch.arange(b, device=local.device).repeat_interleave(f)
    axes, weight = frames.axes.flatten(0, 1), frames.weight.flatten()
    if bool((weight > 0).all()):
        return Views(frames.turn(local).flatten(0, 1).to(dtype), cloud, weight, axes, b)
    kept = (weight > 0).nonzero()[:, 0]
    cloud, axes = cloud[kept], axes[kept]
    return Views((local[cloud] @ axes).to(dtype), cloud, weight[kept], axes, b)


class ViewedNetwork(nn.Module, ABC):
    """A body that is run on views; `see` says on which.

    body : has `shared`, `frozen` and `answer`, see `pcinv.nn.pointnet`.
    """

    symmetry = "SO(3)"
    needs_normals = False
    min_points = 1

    def __init__(
        self, body: nn.Module, hyper: Any, task: str, num_classes: int, num_categories: int
    ) -> None:
        super().__init__()
        self.body, self.hyper, self.task = body, hyper, task
        self.num_classes = num_classes
        self.num_categories = 0 if task == "normals" else num_categories

    @abstractmethod
    def see(self, xyz: Float[Tensor, "b n 3"]) -> Views:
        """Return the views of clouds of any origin."""

    def pool(self, rows: Tensor, views: Views) -> tuple[Tensor, Views]:
        """Join the features of views before the head, or leave that to the mean behind it."""
        return rows, views

    def forward(
        self,
        xyz: Float[Tensor, "b n 3"],
        normal: Float[Tensor, "b n 3"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
        category: Int[Tensor, " b"] | None = None,
    ) -> Tensor:
        """Return logits: (B, classes), (B, N, parts), or unit normals (B, N, 3) of either sign.

        normal : not looked at.
        mask : True where a row is a point. Clouds of different size are computed apart, so
            padding cannot change an answer; evaluation only.
        category : object category of each cloud, for a part segmenter that has some.

        Raises
        ------
        ShapeError, InputError : wrong shapes, values that are not finite, one cloud in training.
        """
        check_points(xyz, min_points=self.min_points)
        if mask is not None:
            return forward_by_size(self, xyz, None, mask, category)
        return self.forward_head(self.forward_features(xyz), category)

    def forward_features(
        self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"] | None = None
    ) -> ViewFeatures:
        """Return the features of all views, and their mean for each cloud."""
        if self.training and len(xyz) == 1:
            raise InputError("a batch of one cloud in training", where="xyz",
                             hint="batch normalisation needs two or more; or call model.eval()")
        views = self.see(xyz)
        rows, views = self.pool(run_body(self.body, views, self.body.shared(xyz)), views)
        mean = views.mean(rows)
        if rows.dim() == 2:
            return ViewFeatures(mean, None, mean[:, None], rows, views)
        return ViewFeatures(None, mean, mean, rows, views)

    def forward_head(
        self, features: ViewFeatures, category: Int[Tensor, " b"] | None = None
    ) -> Tensor:
        """Turn features into logits."""
        views = features.views
        if self.num_categories:
            check_category(category, views.clouds, self.num_categories)
        logits = self.body.answer(features.rows,
                                  None if category is None else category[views.cloud])
        return views.normals(logits) if self.task == "normals" else views.mean(logits)


class PlainNetwork(ViewedNetwork):
    """A body that sees each cloud as it stands, relative to its mean: not invariant."""

    symmetry = "none"

    def see(self, xyz: Float[Tensor, "b n 3"]) -> Views:
        exact = xyz.double()
        local = (exact - exact.mean(1, keepdim=True)).to(next(self.parameters()).dtype)
        b = len(xyz)
        one = torch.ones(b, dtype=torch.float64, device=xyz.device)
        return Views(local, torch.arange(b, device=xyz.device), one,
                     torch.eye(3).to(one).expand(b, 3, 3), b)


def run_body(body: Any, views: Views, shared: Sequence[Tensor]) -> Tensor:
    """Return the features of all views, a few of them at a time in evaluation.

    shared : what all views of a cloud have in common, one entry a cloud.
    """
    v, n, _ = views.xyz.shape
    step = max(1, at_a_time(CACHED_POINTS, views.xyz) // n)
    look = body.frozen()

    def run(part: slice) -> Tensor:
        cloud = views.cloud[part]
        rows: Tensor = look(views.xyz[part], *(s[cloud] for s in shared))
        return rows

    if body.training or torch.is_grad_enabled() or v <= step:
        return run(slice(0, v))
    parts = [slice(first, first + step) for first in range(0, v, step)]
    if is_fused(views.xyz):
        work = in_shares(lambda share: [run(part) for part in share], parts)
        return torch.cat([rows for share in work for rows in share])
    return torch.cat([run(part) for part in parts])
