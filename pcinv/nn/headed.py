"""A classifier's backbone with another head in the place of its own.

Letters: B batch, N points, C channels, G prefixes, K classes.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pcinv.checks import check_points, check_same_points
from pcinv.errors import ConfigError, InputError, unknown_name
from pcinv.nn.backbone import Features, forward_by_size
from pcinv.nn.embedding_heads import (
    MatryoshkaHead,
    MatryoshkaOptions,
    RelativeHead,
    RelativeOptions,
)
from pcinv.nn.overrides import with_overrides

KINDS = ("matryoshka", "relative")
_TOGETHER = 32
"""Anchors that are encoded at a time."""
_PROBE_POINTS = 64
"""Of the clouds by which it is found out what a backbone's own head is."""


class Headed(nn.Module):
    """A classifier's backbone with another head; it keeps the contract of every backbone.

    nesting : lengths of the prefixes that the head can use; none unless it is a `MatryoshkaHead`.
    """

    def __init__(self, backbone: nn.Module, head: MatryoshkaHead | RelativeHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        for name in ("hyper", "task", "symmetry", "needs_normals", "min_points", "num_categories"):
            setattr(self, name, getattr(backbone, name))
        self.nesting: tuple[int, ...] = getattr(head, "nesting", ())

    def forward(
        self,
        xyz: Float[Tensor, "b n 3"],
        normal: Float[Tensor, "b n 3"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
        category: Int[Tensor, " b"] | None = None,
        every_prefix: bool = False,
    ) -> Tensor:
        """Return logits (B, K); see the backbone's own `forward`.

        every_prefix : return (B, G, K), those of each prefix.
        """
        least: Any = self.min_points
        check_points(xyz, min_points=least)
        if normal is not None:
            check_same_points(normal, xyz, "normal")
        if mask is not None:
            if every_prefix:
                raise InputError("padded clouds, and the logits of every prefix", where="mask",
                                 hint="one of the two")
            return forward_by_size(self, xyz, normal, mask, category)
        if self.training and isinstance(self.head, RelativeHead):
            return self._beside_anchors(self.head, xyz, normal)
        features = self.forward_features(xyz, normal)
        if every_prefix:
            logits: Tensor = self.head.prefixes(features.global_)
            return logits
        return self.forward_head(features)

    def forward_features(
        self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"] | None = None
    ) -> Features:
        """Return what the backbone knows of each cloud."""
        encode: Any = self.backbone.forward_features
        features: Features = encode(xyz, normal)
        return features

    def forward_head(self, features: Features, category: Tensor | None = None) -> Tensor:
        """Turn features into logits.

        Raises InputError where the anchors of a relative head are missing.
        """
        if isinstance(self.head, RelativeHead) and not bool(self.head.encoded.any()):
            raise InputError("the anchors are not set", where="head",
                             hint="head.set_anchors(xyz, normal), then eval(); training does it")
        logits: Tensor = self.head(features.global_)
        return logits

    def _beside_anchors(self, head: RelativeHead, xyz: Tensor, normal: Tensor | None) -> Tensor:
        """Encode the clouds, and in one pass with them the anchors whose turn it is."""
        rows = head.next_rows()
        more, more_normal = head.clouds(rows)
        if more.shape[1] != xyz.shape[1] or (normal is None) != (more_normal is None):
            raise InputError(f"clouds of {xyz.shape[1]} points, anchors of {more.shape[1]}; or "
                             "only one of them with normals", where="xyz",
                             hint="train with clouds as the anchors are")
        if normal is not None and more_normal is not None:
            normal = torch.cat((normal, more_normal.to(normal)))
        z = self.forward_features(torch.cat((xyz, more.to(xyz))), normal).global_
        if z is None:  # the head was put on a backbone that gives one
            raise InputError("no vector of the whole cloud", where="backbone", hint="report this")
        return head(z[: len(xyz)], head.renewed(rows, z[len(xyz) :]))

    def train(self, mode: bool = True) -> Headed:
        """Switch between training and evaluation; for the latter anchors are encoded anew.

        That takes a pass over all anchors, unless the weights are those of the last time.
        """
        super().train(mode)
        if not mode and isinstance(self.head, RelativeHead):
            self._encode_anchors(self.head)
        return self

    @torch.no_grad()
    def _encode_anchors(self, head: RelativeHead) -> None:
        if bool(head.is_current) or not bool(head.anchors.any()):
            return
        rows = torch.arange(len(head.anchors), device=head.anchors.device)
        for part in rows.split(_TOGETHER):
            z = self.forward_features(*head.clouds(part)).global_
            if z is not None:
                head.encoded[part] = z.to(head.encoded)
        head.is_current.fill_(1)


def with_head(
    backbone: nn.Module, kind: str, num_classes: int, num_points: int,
    options: dict[str, Any] | None = None,
) -> Headed:
    """Put another head on a classifier; the weights of its own are dropped.

    kind : "matryoshka" or "relative".
    num_points : of the anchors of a relative head.
    options : fields of `MatryoshkaOptions` or `RelativeOptions`.

    Raises ConfigError for a network without a vector of the cloud, or options that do not fit.
    """
    if kind not in KINDS:
        raise unknown_name("head", kind, ("linear", *KINDS), where="model.head")
    if getattr(backbone, "task", "classification") != "classification":
        raise ConfigError(f"the head {kind} is for classification", where="model.head",
                          hint="--set model.head=linear")
    where, given = "model.head_options", options or {}
    width = _drop_head(backbone)
    if kind == "matryoshka":
        wanted = with_overrides(MatryoshkaOptions(), given, f"the head {kind}", where)
        return Headed(backbone, MatryoshkaHead(width, num_classes, wanted))
    chosen = with_overrides(RelativeOptions(), given, f"the head {kind}", where)
    return Headed(backbone, RelativeHead(width, num_classes, num_points, chosen))


def _drop_head(backbone: nn.Module) -> int:
    """Empty the weights that only logits need, and return C, the width of the cloud's vector.

    They stay in their places, without a number in them: code may ask for their type.
    """
    name = type(backbone).__name__
    twin = copy.deepcopy(backbone).cpu().train()  # what it learns of its statistics is forgotten
    generator = torch.Generator().manual_seed(0)
    count = max(int(getattr(backbone, "min_points", 1)), _PROBE_POINTS)
    xyz = torch.randn(2, count, 3, generator=generator)
    normal = F.normalize(xyz, dim=-1) if getattr(backbone, "needs_normals", False) else None
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        z = _vectors(twin, xyz, normal, name)
    weights = dict(twin.named_parameters())
    reached = torch.autograd.grad(z.sum(), list(weights.values()), allow_unused=True)
    mine = dict(backbone.named_parameters())
    for key, gradient in zip(weights, reached, strict=True):
        if gradient is None:
            mine[key].requires_grad_(False)
            mine[key].data = mine[key].data.new_empty(0)
    return int(z.shape[-1])


def _vectors(backbone: nn.Module, xyz: Tensor, normal: Tensor | None, name: str) -> Tensor:
    encode: Any = backbone.forward_features
    z: Tensor | None = encode(xyz, normal).global_
    if z is None:
        raise ConfigError(f"{name} gives no vector of the whole cloud", where="model.head",
                          hint="--set model.head=linear")
    return z


def stitched(encoder: Headed, other: Headed) -> Headed:
    """Return the encoder of one network with the classifier of another, both in evaluation.

    Raises InputError unless both have relative heads with the same anchors.
    """
    if not (isinstance(encoder.head, RelativeHead) and isinstance(other.head, RelativeHead)
            and torch.equal(encoder.head.anchors, other.head.anchors)):
        raise InputError("not two relative heads with the same anchors", where="other",
                         hint="train both on the same data with one seed of the data")
    head = copy.deepcopy(other.head)
    head.encoded.copy_(encoder.head.encoded)
    return Headed(encoder.backbone, head).eval()
