"""Networks of pairs as `pcinv.check` sees networks: one cloud in, a row for each point out."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Posed(nn.Module):
    """Where a network puts the points x of a cloud so that it lies as a second one: R x, (B, N, 3).

    This does not change when the cloud is turned if the network's answer turns with it, and in no
    other case. second : (M, 3), stays as it is.
    """

    task = "part_segmentation"  # an answer for each point
    second: Tensor

    def __init__(self, model: nn.Module, second: Float[Tensor, "m 3"]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("second", second)

    def forward(
        self, xyz: Float[Tensor, "b n 3"], normal: Tensor | None = None
    ) -> Float[Tensor, "b n 3"]:
        rotation = self.model(xyz, self.second.expand(len(xyz), -1, -1))
        exact = xyz.double()
        local = (exact - exact.mean(1, keepdim=True)).to(rotation.dtype)
        turned: Tensor = torch.einsum("bij,bnj->bni", rotation, local)
        return turned
