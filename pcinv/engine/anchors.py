"""The clouds that a relative head compares all others with: as many of each class as can be."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from pcinv.engine.clouds import Clouds
from pcinv.engine.seed import ANCHORS, generator
from pcinv.errors import ConfigError
from pcinv.nn.embedding_heads import RelativeHead
from pcinv.nn.headed import Headed
from pcinv.tasks import collate


def give_anchors(network: nn.Module, clouds: Clouds) -> None:
    """Choose the anchors of a relative head among the training clouds; leave other networks alone.

    They are kept as they are stored, neither turned nor augmented. The seed of the run does not
    choose: trainings on the same clouds have the same anchors, so that they can be compared.

    Raises
    ------
    ConfigError where there are fewer clouds than anchors.
    """
    if not (isinstance(network, Headed) and isinstance(network.head, RelativeHead)):
        return
    plain = copy.copy(clouds)
    plain.augment, plain.rotation = None, "none"
    wanted = len(network.head.anchors)
    if len(plain) < wanted:
        raise ConfigError(f"{wanted} anchors, the training set has {len(plain)} clouds",
                          where="model.head_options.anchors",
                          hint=f"--set model.head_options.anchors={len(plain)}")
    rows = stratified([int(label) for label in plain.source.labels], wanted, seed=0)
    batch = collate([plain[0, row] for row in rows])
    network.head.set_anchors(batch.xyz, batch.normal)


def stratified(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Return `count` rows, as many of each class as can be, drawn by the seed; sorted."""
    order = torch.randperm(len(labels), generator=generator(seed, ANCHORS)).tolist()
    seen: dict[int, int] = {}
    ranked = []
    for row in order:
        rank = seen.get(labels[row], 0)  # of this cloud in its class
        seen[labels[row]] = rank + 1
        ranked.append((rank, row))
    # the first of each class, then the second ones; the draw decides who of a round is left out
    chosen = sorted(ranked, key=lambda pair: pair[0])[:count]
    return sorted(row for _, row in chosen)
