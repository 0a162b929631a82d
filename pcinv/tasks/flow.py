"""Scene flow by a network that a teacher without labels has taught: loss, and means of epochs."""

import torch
from jaxtyping import Float
from torch import Tensor

from pcinv.tasks.batch import Labels

SPEEDS = (0.04, 0.1)
"""Metres in 0.1 s that part the points that stand from the slow and these from the fast ones."""


def num_outputs(labels: Labels) -> int:
    """Return 1: there are no classes."""
    return 1


def loss(flow: Float[Tensor, "n 3"], taught: Float[Tensor, "n 3"]) -> Tensor:
    """Return the sum over three groups of speeds of the mean error, (), metres.

    Groups, not points, are equal, since most points stand still: DeFlow (Zhang et al., ICRA 2024,
    arXiv 2401.16122). A point whose flow is not known (NaN) does not count.
    """
    known = torch.isfinite(taught).all(1)
    flow, taught = flow[known], taught[known]
    error = (flow - taught).norm(dim=1)
    speed = taught.norm(dim=1)
    total = flow.sum() * 0.0
    for low, high in zip((0.0, *SPEEDS), (*SPEEDS, torch.inf), strict=True):
        group = (speed >= low) & (speed < high)
        if bool(group.any()):
            total = total + error[group].mean()
    return total


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero."""
    return {"loss": torch.zeros(2, dtype=torch.float64, device=device)}


def update(state: dict[str, Tensor], losses: Tensor, count: int) -> None:
    """Add a batch of `count` pairs."""
    state["loss"] += torch.tensor([float(losses.detach()) * count, count], dtype=torch.float64,
                                  device=state["loss"].device)


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean loss, metres; `dynamic_iou` is measured on whole scans alone, 0 here."""
    total, count = state["loss"].tolist()
    return {"loss": total / max(1.0, count), "dynamic_iou": 0.0}
