"""Devices and processes: one accelerator from the configured device, precision and launcher."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast

from pcinv.engine.config import TrainConfig
from pcinv.errors import ConfigError, DeviceError


def pick_device(name: str) -> torch.device:
    """Return the device of "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".

    On a GPU convolutions then multiply in float32, as matrices do, not in TF32: its 10 bits would
    cost what the networks promise.

    Raises
    ------
    DeviceError for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"unknown device '{name}'", where="device",
                          hint="auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device '{name}' is not there, of {torch.cuda.device_count()} GPUs",
                          where="device", hint="--device cpu")
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device '{name}' is not supported", where="device",
                          hint="auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return device


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Return the accelerator for this process; `torchrun` makes it one of several (gloo on CPU).

    Raises
    ------
    DeviceError for a device that is not there, ConfigError for a precision that it does not have.
    """
    device = pick_device(config.device)
    if config.mixed_precision == "fp16" and device.type == "cpu":
        raise ConfigError("fp16 needs a GPU", where="train.mixed_precision",
                          hint="--set train.mixed_precision=bf16, or no")
    if device.index is not None and not torch.distributed.is_torchelastic_launched():
        torch.cuda.set_device(device)
    # a second run in one process (a notebook) may ask for another device or precision
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=device.type == "cpu", mixed_precision=config.mixed_precision)


def any_process(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Return for each flag whether it is set in any process; without others this costs nothing."""
    if accelerator.num_processes == 1:
        return list(flags)
    mine = torch.tensor(flags, dtype=torch.int32, device=accelerator.device)
    counts = accelerator.reduce(mine, "sum")
    return [bool(count) for count in counts.tolist()]


def share_buffers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give every process the buffers (batch statistics) of the first one."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            broadcast(buffer, from_process=0)
