"""What trainings in one process share, whose steps draw what they see: matching, LiDAR scans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import Parameter

from pcinv.engine.config import OptimConfig
from pcinv.engine.memory import keep_freed_memory
from pcinv.engine.optim import learning_rate
from pcinv.engine.progress import Pace
from pcinv.engine.session import Session
from pcinv.errors import ConfigError, Interrupted, NonFiniteError


def one_process(accelerator: Accelerator, what: str) -> torch.device:
    """Return the device; raise ConfigError where there are several processes."""
    if accelerator.num_processes > 1:
        raise ConfigError(f"{what} trains in one process", where="torchrun",
                          hint="start it without torchrun")
    device: torch.device = accelerator.device
    if device.type == "cpu":
        keep_freed_memory()
    return device


def ahead(draw: Callable[[int], Any], steps: range) -> Iterator[Any]:
    """Yield draw(step) of each step; the next one is made while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for step in steps:
            made = waiting or pool.submit(draw, step)
            waiting = pool.submit(draw, step + 1) if step + 1 < steps.stop else None
            yield made.result()


def descend(
    loss: Tensor, parameters: Sequence[Parameter], stepper: Any, accelerator: Accelerator,
    config: OptimConfig, session: Session, pace: Pace,
) -> None:
    """Make a step of the optimiser, at the rate of the session's step, and count it.

    Raises NonFiniteError, before anything has changed, for a loss or gradient that is none.
    """
    per_epoch = pace.total // pace.epochs
    for group in session.optimizer.param_groups:
        group["lr"] = learning_rate(config, session.step, per_epoch, pace.epochs)
    stepper.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    norm = accelerator.clip_grad_norm_(parameters, config.grad_clip or math.inf)
    if not torch.isfinite(loss + norm):
        raise NonFiniteError(
            f"loss {float(loss):.3g}, gradient {float(norm):.3g}",
            where=f"epoch {session.epoch + 1}, step {session.step}",
            hint=f"a lower rate: --set optim.lr={config.lr / 4:g}")
    stepper.step()
    session.step, session.batch = session.step + 1, session.batch + 1


def interrupted(session: Session) -> Interrupted:
    """Return the error of a training that was stopped and saved."""
    return Interrupted(f"interrupted after step {session.step}; the state is saved",
                       where=str(session.run), hint=f"pcinv train --resume {session.run}")
