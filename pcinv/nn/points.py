"""Points with axes, as a level of an encoder keeps them: component first, for speed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.ops import farthest_point_sample, knn


class Points(NamedTuple):
    """One level: coordinates and unit axes, (3, B, N) each, component first."""

    xyz: Tensor
    axis: Tensor

    def take(self, index: Int[Tensor, "b s"]) -> "Points":
        """Return the points at these positions."""
        picked = index.expand(3, *index.shape)
        return Points(self.xyz.gather(-1, picked), self.axis.gather(-1, picked))

    def rows(self) -> Float[Tensor, "b n 3"]:
        """Return the coordinates one row a point, for decisions that carry no gradient."""
        return self.xyz.detach().permute(1, 2, 0)

    def neighbours(self, source: "Points", k: int) -> Int[Tensor, "b s k"]:
        """Return the k nearest of `source` to each point, all where there are fewer."""
        return knn(self.rows(), source.rows(), min(k, source.xyz.shape[-1])).index

    def sampling_order(
        self, counts: Sequence[int], *, from_first: bool = False
    ) -> Int[Tensor, "b m"]:
        """Return the farthest point order, as long as the largest count below all points.

        Farthest point samples are nested: those of a smaller count are the first of the order.
        from_first : start at the point that happens to be listed first, and order all points, as
            published codes do.
        """
        n = self.xyz.shape[-1]
        if from_first:
            return _farthest_from_first(self.xyz.detach(), min(max(counts), n))
        return farthest_point_sample(self.rows(), max(c for c in (*counts, 1) if c < n))


def _farthest_from_first(xyz: Float[Tensor, "3 b n"], count: int) -> Int[Tensor, "b m"]:
    found = [torch.zeros_like(xyz[0, :, :1], dtype=torch.long)]
    nearest2 = torch.full_like(xyz[0], torch.inf)
    for _ in range(count - 1):
        last = xyz.gather(-1, found[-1].expand(3, -1, -1))
        nearest2 = torch.minimum(nearest2, (xyz - last).square().sum(0))
        found.append(nearest2.argmax(-1, keepdim=True))
    return torch.cat(found, dim=-1)
