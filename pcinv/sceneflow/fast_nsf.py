"""Fast Neural Scene Flow: flow as a small network of coordinates, fitted to a distance field.

Li, Zheng, Ferroni, Pontes, Lucey, ICCV 2023, arXiv 2304.09121: eight hidden layers of 128, the mean
distance of moved points to the next scan as the loss, no truncation. The distance transform is the
Euclidean one. Beside `fit_floxels` it is a baseline: slower, and without pieces that move as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.errors import InputError
from pcinv.sceneflow.distance import DistanceField, distance_field


@dataclass(frozen=True)
class FastNSFOptions:
    """Sizes in metres.

    width, depth : of the network.  rate : of Adam.  steps : at most.
    patience : steps without a gain of `gain` before it ends.
    cell, reach : of the distance field, and how far it goes beyond the points.
    most : points that are fitted; the others take the network's flow at their place.
    seed : of the network's weights and of the choice of points.
    """

    width: int = 128
    depth: int = 8
    rate: float = 8e-3
    steps: int = 1000
    patience: int = 30
    gain: float = 5e-5
    cell: float = 0.2
    reach: float = 6.0
    most: int = 8192
    seed: int = 0


def fit_fast_nsf(
    reference: Float[np.ndarray, "n 3"], following: Float[np.ndarray, "m 3"],
    options: FastNSFOptions | None = None,
) -> tuple[Float[np.ndarray, "n 3"], float, int]:
    """Return the residual flow of the points of a scan, the best loss, and the steps made.

    reference : (N, 3) without the ground.  following : (M, 3) the next scan in the same frame.

    Raises InputError for a cloud without points.
    """
    options = options or FastNSFOptions()
    if len(reference) == 0 or len(following) == 0:
        raise InputError("flow needs points in both scans", where="reference",
                         hint="points off the ground")
    field = distance_field(np.asarray(following, np.float64), reference.min(0) - options.reach,
                           reference.max(0) + options.reach, options.cell)
    generator = torch.Generator().manual_seed(options.seed)
    network = _network(options, generator)
    every = torch.from_numpy(np.asarray(reference, np.float32))
    some = every
    if len(every) > options.most:
        some = every[torch.randperm(len(every), generator=generator)[: options.most]]
    optimizer = torch.optim.Adam(network.parameters(), lr=options.rate)
    best, since, made = float("inf"), 0, 0
    best_weights = {name: value.clone() for name, value in network.state_dict().items()}
    for made in range(1, options.steps + 1):  # noqa: B007
        away: Tensor = _Distance.apply(some + network(some), field)  # type: ignore[no-untyped-call]
        loss = away.mean()
        value = float(loss.detach())
        since = 0 if value < best - options.gain else since + 1
        if value < best:
            best = value
            best_weights = {name: v.clone() for name, v in network.state_dict().items()}
        if since >= options.patience:
            break
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    network.load_state_dict(best_weights)
    with torch.inference_mode():
        flow = torch.cat([network(part) for part in torch.split(every, 65536)])
    return flow.double().numpy(), best, made


class _Distance(torch.autograd.Function):
    """Distances of points (N, 3) by a field; their gradient is the field's."""

    @staticmethod
    def forward(ctx: Any, xyz: Tensor, field: DistanceField) -> Tensor:
        value, gradient = field(xyz.detach().double().numpy())
        ctx.save_for_backward(torch.from_numpy(gradient).to(xyz))
        return torch.from_numpy(value).to(xyz)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        slope, = ctx.saved_tensors
        return gradients[0][:, None] * slope, None


def _network(options: FastNSFOptions, generator: torch.Generator) -> nn.Sequential:
    """Return the network, 3 -> 3, with the weights of the paper's code: Xavier, zero biases."""
    widths = [3, *[options.width] * options.depth, 3]
    layers: list[nn.Module] = []
    for first, second in pairwise(widths):
        layer = nn.Linear(first, second)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
