"""A task for a network that has a loss of its own besides the one of its answers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pcinv.tasks.batch import Batch


class WithAuxiliary:
    """The functions of a task; its loss has what the network's last pass of training adds.

    network : has `take_auxiliary()`, which returns the loss of the whole batch, a number, or None.
    """

    def __init__(self, functions: Any, network: Any) -> None:
        self.functions, self.network = functions, network

    def __getattr__(self, name: str) -> Any:
        return getattr(self.functions, name)

    def loss(self, logits: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """Return the loss of each cloud, (B,), with the one of the batch added to each."""
        losses: Tensor = self.functions.loss(logits, batch, smoothing)
        more: Tensor | None = self.network.take_auxiliary()
        return losses if more is None else losses + more
