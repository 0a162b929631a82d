"""What a cloud costs each backbone: time and memory, in use and in training."""

from __future__ import annotations

import functools
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pcinv.engine.config import OptimConfig
from pcinv.engine.launch import pick_device
from pcinv.engine.memory import keep_freed_memory
from pcinv.engine.optim import make_optimizer
from pcinv.errors import LimitError
from pcinv.models.registry import BACKBONES, create_model, get_spec

_CLASSES, _PARTS, _CATEGORIES = 40, 50, 16


@dataclass(frozen=True)
class Cost:
    """What one cloud costs, in batches.

    inference_ms, training_ms : of a cloud, median; a training step includes the optimiser.
    inference_mib, training_mib : the most memory that a batch added, on the GPU where it ran there.
    """

    backbone: str
    preset: str
    task: str
    device: str
    batch_size: int
    num_points: int
    threads: int
    num_parameters: int
    inference_ms: float
    training_ms: float
    inference_mib: float
    training_mib: float


def measure_speed(
    backbones: Sequence[str] = (), *, task: str = "classification", preset: str | None = None,
    batch_size: int = 32, num_points: int = 1024, threads: int = 1, repeats: int = 5,
    device: str = "auto", seed: int = 0,
) -> Iterator[Cost]:
    """Yield what each backbone costs, each measured in a process of its own.

    backbones : names; all that do the task where there are none.
    preset : of those that have it; the first of each where None.
    Clouds are random points in a ball without normals: a network that takes some estimates them.

    Raises UnknownNameError for what is not there, LimitError where the system ended a process.
    """
    place = str(pick_device(device))
    names = list(backbones) or [name for name, spec in BACKBONES.items() if task in spec.tasks]
    presets = {name: preset or next(iter(get_spec(name).presets)) for name in names}
    for name, chosen in presets.items():
        create_model(name, task=task, preset=chosen)  # its errors come before any work
    work = functools.partial(
        _cost, task=task, batch_size=batch_size, num_points=num_points, threads=threads,
        repeats=repeats, device=place, seed=seed)
    for name, chosen in presets.items():
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            try:
                yield pool.submit(work, name, chosen).result()
            except (OSError, RuntimeError) as error:
                raise LimitError(f"{name} could not be measured: {error}", where=name,
                                 hint="smaller batches: --batch-size 4") from error


def _cost(name: str, preset: str, *, task: str, batch_size: int, num_points: int, threads: int,
          repeats: int, device: str, seed: int) -> Cost:
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    place = torch.device(device)
    if place.type == "cpu":
        keep_freed_memory()
    is_parts = task == "part_segmentation"
    model = create_model(name, task=task, preset=preset, num_classes=_PARTS if is_parts
                         else _CLASSES, num_categories=_CATEGORIES if is_parts else 0).to(place)
    xyz = torch.randn(batch_size, num_points, 3)
    xyz = (xyz / xyz.norm(dim=-1, keepdim=True) * torch.rand(batch_size, num_points, 1) ** (1 / 3)
           ).to(place)
    extra = {"category": torch.arange(batch_size, device=place) % _CATEGORIES} if is_parts else {}
    optimizer = make_optimizer(OptimConfig(), model.parameters())

    def infer() -> None:
        with torch.inference_mode():
            model(xyz, None, **extra)

    def step() -> None:
        loss = _loss(model(xyz, None, **extra), task)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()

    before = _peak(place)
    model.eval()
    inference = _measure(infer, place, repeats)
    model.train()
    training = _measure(step, place, repeats)
    return Cost(
        name, preset, task, device, batch_size, num_points, threads, _size(model),
        *(1e3 * found[0] / batch_size for found in (inference, training)),
        *(max(0.0, found[1] - before) for found in (inference, training)))


def _loss(answer: Tensor, task: str) -> Tensor:
    if task == "normals":
        return answer.square().sum(-1).mean()
    target = torch.zeros(answer.shape[:-1], dtype=torch.long, device=answer.device)
    return nn.functional.cross_entropy(answer.flatten(0, -2), target.flatten())


def _measure(work: Callable[[], None], place: torch.device, repeats: int) -> tuple[float, float]:
    """Return the median of the seconds, after one round to warm up, and the peak of MiB."""
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        work()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]), _peak(place)


def _peak(place: torch.device) -> float:
    """Return the most memory so far, MiB: of this process, or of what it has on the GPU."""
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would begin with what the parent has
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
