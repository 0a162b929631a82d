"""Clouds prepared for a network: turned, augmented, in an order that does not depend on workers."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pcinv.engine import datasets
from pcinv.engine.config import AugmentConfig
from pcinv.engine.seed import AUGMENT, ORDER, POSE, ROTATE, generator
from pcinv.errors import DatasetError, PcinvError
from pcinv.geometry.normals import estimate_normals
from pcinv.geometry.rotation import random_rotation
from pcinv.geometry.transforms import dropout_points, jitter, rotate, scale, shift, stretch
from pcinv.tasks import Batch, Item, collate

logger = logging.getLogger(__name__)

_TOGETHER = 16
"""Clouds whose normals are estimated at a time: a third of the time of one by one."""

Key = tuple[int, int]
"""(epoch, index): the epoch travels with the index, since workers outlive an epoch."""


class Clouds(Dataset[Any]):
    """Clouds of a data set, each turned and augmented by numbers of its own.

    rotation : "none", "z" or "so3".
    augment : further changes; None for evaluation, where each cloud's rotation depends on the seed
        and its index alone.
    normals : "data" passes the data's normals on, "estimate" passes on normals that are estimated
        once (for training only), "none" leaves them to the network.
    pairs : add to each cloud the same one, turned uniformly at random and in another order; in
        training otherwise in each epoch.
    """

    def __init__(
        self,
        source: datasets.Dataset,
        *,
        rotation: str,
        seed: int,
        augment: AugmentConfig | None = None,
        normals: str = "none",
        pairs: bool = False,
    ) -> None:
        self.source = source
        self.rotation = rotation
        self.seed = seed
        self.augment = augment
        self.normals = normals
        self.pairs = pairs
        self.estimated = _estimate_all(source) if normals == "estimate" else None

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, keys: list[Key]) -> Batch | PcinvError:
        """Return the batch of these clouds; an error travels as a value, whole, from a worker."""
        try:
            return collate([self[key] for key in keys])
        except PcinvError as error:
            return error

    def __getitem__(self, key: Key) -> Item:
        item = self._turned(key)
        if not self.pairs:
            return item
        epoch, index = key
        random = generator(self.seed, POSE, index, *(() if self.augment is None else (epoch,)))
        rotation = random_rotation(generator=random, dtype=torch.float64)
        order = torch.randperm(len(item.xyz), generator=random)
        second = (item.xyz[order].double() @ rotation.T).to(item.xyz.dtype)
        return replace(item, second=second, rotation=rotation)

    def _turned(self, key: Key) -> Item:
        epoch, index = key
        sample = self.source[index]
        xyz = _points(sample.xyz)
        normal = self._normal(sample.normal, index)
        part = None if sample.part is None else torch.from_numpy(sample.part)
        if self.augment is None:
            xyz, normal = rotate(xyz, normal, self.rotation, generator(self.seed, ROTATE, index))
            return Item(index, xyz, normal, sample.label, part)
        random = generator(self.seed, AUGMENT, epoch, index)
        options = self.augment
        if options.stretch > 1:
            xyz, normal = stretch(xyz, normal, random, ratio=options.stretch)
        xyz, normal = rotate(xyz, normal, self.rotation, random)
        if options.dropout > 0:
            kept = dropout_points(torch.arange(len(xyz)), generator=random,
                                  max_ratio=options.dropout)[0]
            xyz, normal = xyz[kept], None if normal is None else normal[kept]
            part = None if part is None else part[kept]
        if options.scale != (1.0, 1.0):
            xyz = scale(xyz, random, low=options.scale[0], high=options.scale[1])
        if options.jitter > 0:
            xyz = jitter(xyz, random, sigma=options.jitter, clip=5 * options.jitter)
        if options.shift > 0:
            xyz = shift(xyz, random, extent=options.shift)
        return Item(index, xyz, normal, sample.label, part)

    def _normal(self, given: NDArray[Any] | None, index: int) -> Tensor | None:
        if self.estimated is not None:
            return self.estimated[index]
        if self.normals != "data":
            return None
        if given is None:
            raise DatasetError(f"cloud {index} has no normals, others have", where="data.normals",
                               hint="--set data.normals=estimate")
        return _points(given)


def _estimate_all(source: datasets.Dataset) -> list[Tensor]:
    """Estimate the normals of every cloud; rotations in training turn them with the points."""
    normals: list[Tensor] = []
    logger.info("estimating the normals of %d clouds", len(source))
    for start in range(0, len(source), _TOGETHER):
        indices = range(start, min(start + _TOGETHER, len(source)))
        clouds = [_points(source[index].xyz) for index in indices]
        if len({len(xyz) for xyz in clouds}) == 1:
            normals += estimate_normals(torch.stack(clouds)).normal.unbind()
        else:
            normals += [estimate_normals(xyz[None]).normal[0] for xyz in clouds]
    return normals


def _points(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


class EpochOrder(Sampler[list[Key]]):
    """Batches of one epoch for one process, in an order drawn from the seed and the epoch.

    Each batch is drawn for all processes together and dealt out in turn. A last batch that would
    leave a process with less than two clouds is dropped: batch normalisation needs two.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int, world: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world = rank, world
        self.epoch = 0
        self.first = 0

    def sizes(self) -> list[int]:
        """Return the clouds in each batch, over all processes together."""
        full, rest = divmod(self.count, self.batch_size)
        return [self.batch_size] * full + ([rest] if rest >= 2 * self.world else [])

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, and the batch with which it starts or continues."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return len(self.sizes()) - self.first

    def __iter__(self) -> Iterator[list[Key]]:
        order = torch.randperm(self.count, generator=generator(self.seed, ORDER, self.epoch))
        for batch in range(self.first, len(self.sizes())):
            start = batch * self.batch_size
            indices = order[start : start + self.batch_size][self.rank :: self.world]
            yield [(self.epoch, index) for index in indices.tolist()]


def training_loader(
    clouds: Clouds, order: EpochOrder, workers: int, device: torch.device
) -> DataLoader[Batch | PcinvError]:
    """Return a loader over the batches of `order`; `order.set_epoch` steers what it yields next."""
    return DataLoader(
        clouds, batch_sampler=order, collate_fn=_as_is, num_workers=workers,
        persistent_workers=workers > 0, worker_init_fn=_start_worker,
        pin_memory=device.type == "cuda",
        # the loader draws a seed for its workers at each start; it must not touch the global source
        generator=torch.Generator(),
    )


def evaluation_loader(
    clouds: Clouds,
    batch_size: int,
    workers: int,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Batch | PcinvError]:
    """Return a loader over all clouds in order, one share for each process."""
    mine = [(0, index) for index in range(rank, len(clouds), world)]
    batches = [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]
    return DataLoader(
        clouds, batch_sampler=batches, collate_fn=_as_is, num_workers=workers,
        worker_init_fn=_start_worker, pin_memory=device.type == "cuda", generator=torch.Generator(),
    )


def iterate(loader: DataLoader[Batch | PcinvError]) -> Iterator[Batch]:
    """Yield the batches of a loader; raise the typed error that a worker met."""
    for batch in loader:
        if isinstance(batch, PcinvError):
            raise batch
        yield batch


def _as_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """Leave signals and cores to the main process: it decides when to stop.

    A process group of its own keeps Ctrl-C, and signals to a whole job, away from a worker; one
    sent to it alone still ends it, as the interpreter does at exit.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
