"""How far a training is, for a callback to show."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tick:
    """Progress after a step, for a callback.

    step, total : of the whole run.  loss : of this step.  eta_s : seconds left, at the mean pace.
    metrics : the line of metrics.jsonl after the last step of an epoch, None otherwise.
    """

    epoch: int
    epochs: int
    step: int
    total: int
    loss: float
    eta_s: float
    metrics: dict[str, Any] | None = None


class Pace:
    """Counts steps against the clock, from the step at which this process began."""

    def __init__(self, first_step: int, epochs: int, steps_per_epoch: int) -> None:
        self.first_step, self.epochs = first_step, epochs
        self.total = epochs * steps_per_epoch
        self._start = time.perf_counter()

    def tick(
        self, epoch: int, step: int, loss: float, metrics: dict[str, Any] | None = None
    ) -> Tick:
        """Return the progress after a step of an epoch (counted from 0)."""
        done = max(1, step - self.first_step)
        left = (time.perf_counter() - self._start) / done * (self.total - step)
        return Tick(epoch + 1, self.epochs, step, self.total, loss, left, metrics)
