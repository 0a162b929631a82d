"""Evidence of numbers that are not finite: the batch, and which gradients were hit."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from pcinv.engine.files import write_atomic
from pcinv.errors import NonFiniteError
from pcinv.tasks import Batch


def report_non_finite(
    run: Path,
    batch: Batch,
    network: nn.Module,
    *,
    loss: Tensor,
    norm: Tensor,
    epoch: int,
    step: int,
    rank: int,
) -> NonFiniteError:
    """Write the batch and a report into the run folder, and return the error to raise.

    Each process writes files of its own, since the fault may lie in the clouds of one alone.
    """
    named = {"xyz": batch.xyz, "normal": batch.normal, "label": batch.label, "part": batch.part,
             "index": batch.index, "second": batch.second, "rotation": batch.rotation}
    tensors = {name: v.detach().cpu().contiguous() for name, v in named.items() if v is not None}
    stem = f"nonfinite-step{step:07d}" + (f"-rank{rank}" if rank else "")
    write_atomic(run / f"{stem}.safetensors", safetensors.torch.save(tensors))
    parameters = list(network.named_parameters())
    report = {
        "epoch": epoch + 1,
        "step": step,
        "loss": str(float(loss.detach())),
        "gradient_norm": str(float(norm.detach())),
        "clouds": batch.index.tolist(),
        "gradients_not_finite": [name for name, p in parameters if _is_bad(p.grad)],
        "weights_not_finite": [name for name, p in parameters if _is_bad(p)],
    }
    write_atomic(run / f"{stem}.json", json.dumps(report, indent=2).encode())
    what = "loss" if not torch.isfinite(loss) else "gradient"
    return NonFiniteError(f"the {what} is not finite in epoch {epoch + 1}, step {step}",
                          where=str(run / f"{stem}.json"),
                          hint="the batch is saved beside it; try a lower optim.lr")


def _is_bad(value: Tensor | None) -> bool:
    return value is not None and not bool(torch.isfinite(value).all())
