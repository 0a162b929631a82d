"""The one place where a network is run without training it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pcinv.engine.clouds import iterate
from pcinv.errors import NonFiniteError, PcinvError
from pcinv.tasks import Batch, Labels, Task

State = dict[str, Tensor]


def forward(model: nn.Module, batch: Batch, num_categories: int) -> Tensor:
    """Return the logits of a batch; a network that is told the category gets it.

    A batch of pairs goes to a network of pairs; its rotations come back.
    """
    if batch.second is not None:
        rotation: Tensor = model(batch.xyz, batch.second)
        return rotation
    logits: Tensor = model(
        batch.xyz, batch.normal, category=batch.label if num_categories else None)
    return logits


def outputs(model: nn.Module, batch: Batch, num_categories: int) -> Tensor:
    """Return what the task works on: logits, of every prefix (B, G, K) where there are prefixes.

    model : the network, or what a launcher has wrapped it in.
    """
    if getattr(getattr(model, "module", model), "nesting", ()):
        logits: Tensor = model(batch.xyz, batch.normal, every_prefix=True)
        return logits
    return forward(model, batch, num_categories)


def measure(
    model: nn.Module,
    loader: DataLoader[Batch | PcinvError],
    task: Task,
    labels: Labels,
    *,
    device: torch.device,
    num_categories: int,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Batch, Tensor], None] | None = None,
) -> State:
    """Sum up a task's metrics over all batches of a loader.

    stop : asked after each batch; where it says yes the sums end there.
    watch : is given each batch and its logits, for what the sums do not tell.

    Raises
    ------
    NonFiniteError where an output is not finite.
    """
    state: State = task.functions.new_state(labels, device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in map(lambda batch: batch.to(device), iterate(loader)):
                logits = outputs(model, batch, num_categories).float()
                if not torch.isfinite(logits).all():
                    bad = ~torch.isfinite(logits).flatten(1).all(1)
                    raise NonFiniteError(
                        f"the network's output is not finite for {int(bad.sum())} clouds",
                        where=f"cloud {int(batch.index[bad][0])} of the data set",
                        hint="look at this cloud; try another checkpoint")
                losses = task.functions.loss(logits, batch, 0.0)
                task.functions.update(state, logits, batch, losses, labels)
                if watch is not None:
                    watch(batch, logits[:, -1] if getattr(model, "nesting", ()) else logits)
                if stop():
                    break
    finally:
        model.train(was_training)
    return state
