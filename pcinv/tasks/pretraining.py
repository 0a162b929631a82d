"""Pretraining: objectives without labels, each with figures of its own.

Sums come from an engine that knows which objectives there are; here they only add up.
"""

import torch
from torch import Tensor

from pcinv.tasks.batch import Labels

NAMES = ("contrast", "rotation", "flow", "rotation_right", "retrieved", "point_spread",
         "cell_spread")
"""Of sums: losses of the objectives, and shares of what was told right; see `compute`."""


def num_outputs(labels: Labels) -> int:
    """Return 1: there are no classes."""
    return 1


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero."""
    return {name: torch.zeros(2, dtype=torch.float64, device=device) for name in ("loss", *NAMES)}


def update(
    state: dict[str, Tensor], figures: dict[str, float], losses: Tensor, count: int
) -> None:
    """Add the figures of a batch of `count` scans; those of objectives that are off are not there.

    losses : (), of all objectives with their weights.
    """
    for name, value in {"loss": float(losses.detach()), **figures}.items():
        state[name] += torch.tensor([value * count, count], dtype=torch.float64,
                                    device=state[name].device)


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return means over scans of the objectives that are on.

    loss : with weights.  contrast, rotation, flow : without.  rotation_right : share of rotations
    in their bin.  retrieved : share of points that are nearest to themselves in the other view.
    point_spread, cell_spread : see `pcinv.losses.lidar_ssl.feature_spread`.
    """
    sums = {name: state[name].tolist() for name in ("loss", *NAMES)}
    return {name: total / count for name, (total, count) in sums.items() if count}
