"""Heads on the vector of a cloud: classifiers on its prefixes, or on its cosines with anchors.

Matryoshka: Kusupati et al., NeurIPS 2022, arXiv 2205.13147. One vector whose prefixes are all
usable, each with a classifier of its own.
Relative representation: Moschella et al., ICLR 2023, arXiv 2209.15430. A vector is told by its
cosines with the vectors of fixed clouds, so that networks trained apart become comparable.

Both see nothing but the vector of the whole cloud, so they are as invariant as the backbone is.

Letters: B batch, N points, C channels, G prefixes, A anchors, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.errors import ConfigError

_SMALLEST_PREFIX = 8


@dataclass(frozen=True)
class MatryoshkaOptions:
    """Of the head "matryoshka".

    nesting : lengths of the prefixes, rising, the last one C; powers of two from 8 where None.
    efficient : one linear layer for all prefixes (MRL-E) instead of one for each.
    weights : of the prefixes in the loss; 1 each where None.
    """

    nesting: tuple[int, ...] | None = None
    efficient: bool = False
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class RelativeOptions:
    """Of the head "relative".

    anchors : clouds of the training set that all others are compared with.
    share : anchors that are encoded anew in each step of training, in turn, with gradient; equal
        to `anchors` is exact, less is faster.
    layernorm : normalise the cosines before the linear layer.
    centred : measure vectors from the mean of those of the anchors, which the paper does not.
        Vectors that end in a ReLU all point about the same way otherwise: cosines hardly differ,
        and normalising them makes much of rounding errors.
    """

    anchors: int = 256
    share: int = 16
    layernorm: bool = True
    centred: bool = True


class MatryoshkaHead(nn.Module):
    """Classifiers on prefixes of a vector: (B, C) -> (B, K) from all of it, (B, G, K) from each.

    weights : (G,) of the prefixes in the loss.
    """

    weights: Tensor

    def __init__(
        self, width: int, num_classes: int, options: MatryoshkaOptions = MatryoshkaOptions()
    ) -> None:
        super().__init__()
        self.nesting = _nesting(width, options.nesting)
        self.efficient = options.efficient
        widths = (width,) if self.efficient else self.nesting
        self.linears = nn.ModuleList(nn.Linear(m, num_classes) for m in widths)
        weights = options.weights or (1.0,) * len(self.nesting)
        fits = all(isinstance(w, int | float) and 0 <= w < math.inf for w in weights)
        if len(weights) != len(self.nesting) or not fits:
            raise ConfigError(f"weights {list(weights)} for prefixes {list(self.nesting)}",
                              where="model.head_options.weights",
                              hint="one number for each prefix, none below 0")
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32),
                             persistent=False)

    def forward(self, z: Float[Tensor, "b c"]) -> Float[Tensor, "b k"]:
        logits: Tensor = self.linears[-1](z)
        return logits

    def prefixes(self, z: Float[Tensor, "b c"]) -> Float[Tensor, "b g k"]:
        """Return the logits from each prefix; those from all of the vector come last."""
        if not self.efficient:
            pairs = zip(self.linears, self.nesting, strict=True)
            return torch.stack([linear(z[:, :m]) for linear, m in pairs], dim=1)
        weight, bias = self.linears[0].weight, self.linears[0].bias
        starts = (0, *self.nesting[:-1])
        steps = [F.linear(z[:, a:b], weight[:, a:b])
                 for a, b in zip(starts, self.nesting, strict=True)]
        return torch.stack(steps, dim=1).cumsum(1) + bias


def _nesting(width: int, wanted: Sequence[int] | None) -> tuple[int, ...]:
    if wanted is None:
        powers = range(int(math.log2(_SMALLEST_PREFIX)), math.ceil(math.log2(width)))
        return (*(2**p for p in powers), width)
    nesting = tuple(wanted)
    whole = all(isinstance(m, int) and m > 0 for m in nesting)
    if not whole or nesting[-1:] != (width,) or nesting != tuple(sorted({*nesting})):
        raise ConfigError(f"prefixes of {list(nesting)} numbers, the vector has {width}",
                          where="model.head_options.nesting",
                          hint=f"rising lengths that end in {width}")
    return nesting


class RelativeHead(nn.Module):
    """Cosines with the vectors of the anchors, normalised, and a linear layer: (B, C) -> (B, K).

    anchors, anchor_normal : (A, N, 3), stored with the weights; normals of zero where the network
        is to estimate them.  encoded : (A, C), what the encoder last made of them.
    """

    anchors: Tensor
    anchor_normal: Tensor
    encoded: Tensor
    turn: Tensor
    is_current: Tensor

    def __init__(
        self, width: int, num_classes: int, num_points: int,
        options: RelativeOptions = RelativeOptions(),
    ) -> None:
        super().__init__()
        count = options.anchors
        if not (isinstance(options.share, int) and isinstance(count, int)
                and 1 <= options.share <= count):
            raise ConfigError(f"{options.share} of {count} anchors in a step",
                              where="model.head_options.share", hint="1 to the number of anchors")
        self.share, self.centred = options.share, options.centred
        self.register_buffer("anchors", torch.zeros(count, num_points, 3))
        self.register_buffer("anchor_normal", torch.zeros(count, num_points, 3))
        self.register_buffer("encoded", torch.zeros(count, width))
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))
        self.register_buffer("is_current", torch.zeros((), dtype=torch.int64))
        self.norm = nn.LayerNorm(count) if options.layernorm else nn.Identity()
        self.linear = nn.Linear(count, num_classes)

    def forward(
        self, z: Float[Tensor, "b c"], encoded: Float[Tensor, "a c"] | None = None
    ) -> Float[Tensor, "b k"]:
        """Return logits; `encoded` stands in for the anchors' vectors in training."""
        return self.classify(self.cosines(z, self.encoded if encoded is None else encoded))

    def cosines(
        self, z: Float[Tensor, "b c"], encoded: Float[Tensor, "a c"]
    ) -> Float[Tensor, "b a"]:
        """Return the relative representation of vectors."""
        middle = encoded.mean(0) if self.centred else 0.0
        return relative(z - middle, encoded - middle)

    def classify(self, r: Float[Tensor, "b a"]) -> Float[Tensor, "b k"]:
        """Return logits from cosines."""
        logits: Tensor = self.linear(self.norm(r))
        return logits

    def set_anchors(
        self, xyz: Float[Tensor, "a n 3"], normal: Float[Tensor, "a n 3"] | None
    ) -> None:
        """Keep these clouds as the anchors.

        Raises ConfigError where their number or size is not that of the head.
        """
        if xyz.shape != self.anchors.shape:
            raise ConfigError(
                f"{len(xyz)} anchors of {xyz.shape[1]} points, the head takes {len(self.anchors)} "
                f"of {self.anchors.shape[1]}", where="model.head_options.anchors",
                hint=f"--set data.num_points={xyz.shape[1]}")
        self.anchors.copy_(xyz)
        self.anchor_normal.copy_(torch.zeros_like(xyz) if normal is None else normal)
        self.is_current.zero_()

    def clouds(self, rows: Int[Tensor, " r"]) -> tuple[Tensor, Tensor | None]:
        """Return points and normals of some anchors, None for normals to be estimated."""
        normal = self.anchor_normal[rows]
        return self.anchors[rows], normal if bool(self.anchor_normal.any()) else None

    def next_rows(self) -> Int[Tensor, " r"]:
        """Return the anchors whose turn it is."""
        rows = torch.arange(self.share, device=self.turn.device)
        return (self.turn + rows) % len(self.anchors)

    def renewed(
        self, rows: Int[Tensor, " r"], z: Float[Tensor, "r c"]
    ) -> Float[Tensor, "a c"]:
        """Return the vectors of all anchors, these anew and with gradient, and remember them."""
        encoded = self.encoded.clone().index_copy(0, rows, z.to(self.encoded.dtype))
        self.encoded.copy_(encoded.detach())
        self.turn.copy_((rows[-1] + 1) % len(self.anchors))
        self.is_current.zero_()
        return encoded


def relative(z: Float[Tensor, "b c"], anchors: Float[Tensor, "a c"]) -> Float[Tensor, "b a"]:
    """Return the cosine of each vector with that of each anchor."""
    return F.normalize(z, dim=-1) @ F.normalize(anchors, dim=-1).T.to(z.dtype)
