"""A start for matchers of pairs: their points learn what a descriptor of patches says of them.

The losses of a pair speak of a few hundred patches. A teacher speaks of every point, so features
that tell places apart are learned from it in minutes, which take hours by pairs alone.
Source of the idea: Hinton, Vinyals, Dean, arXiv 1503.02531.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcinv.engine.scans import Scans
from pcinv.models.roitr import Survey

logger = logging.getLogger(__name__)

STEPS = 1200
"""One cloud each; 0 for none."""
CLOUDS = 400
"""Clouds that are taken at most: what the teacher says of them is kept."""
TAUGHT = 1500
"""Points of a cloud that are described."""
_RATE, _WARMUP, _CLIP = 1e-3, 50, 5.0
_TOLD = 100


def distil(
    network: Any, teacher: Any, scans: Scans, survey_of: Callable[[int], Survey],
    seed: int, stop: Callable[[], bool],
) -> bool:
    """Train encoder and decoder of a RoITr, in place; return whether it came to its end.

    teacher : a `CylinderPatch`, on the CPU.  survey_of : number of a fragment -> its survey.
    stop : asked after each step.

    The features of superpoints and the descriptors of points, each by a linear map that is thrown
    away afterwards, are to point where the teacher's descriptor does.
    """
    device = network.slack.device
    maps = nn.ModuleList(nn.Linear(width, teacher.hyper.length) for width in (
        network.hyper.length, network.hyper.widths[-1])).to(device)
    parts = nn.ModuleList([network.encoder, network.decoder, network.point_head, maps])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=_RATE, weight_decay=1e-4)
    rng = np.random.default_rng([seed, 17])
    clouds = rng.permutation(len(scans.fragments))[:CLOUDS]
    known: dict[int, Tensor] = {}
    alike: list[float] = []
    for step in range(STEPS):
        number = int(rng.choice(clouds))
        survey = survey_of(number)
        rows = survey.levels[1].node[:TAUGHT]  # the first of these are the superpoints
        if number not in known:
            known[number] = _told(teacher, scans, number, rows)
        said = known[number].to(device)
        done = 0.5 * (1 + math.cos(math.pi * step / STEPS))
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min((step + 1) / _WARMUP, done)
        features = network.encoder(survey.levels)
        points = network.point_head(network.decoder(survey.levels, features))
        likeness = [F.cosine_similarity(map_(x), said[: len(x)], dim=1).mean() for map_, x in zip(
            maps, (points[rows], features[-1][:TAUGHT]), strict=True)]
        loss = 2 - likeness[0] - likeness[1]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parts.parameters(), _CLIP)
        optimizer.step()
        alike.append(float(likeness[0].detach()))
        if (step + 1) % _TOLD == 0:
            logger.info("taught %d of %d clouds, cosine to the teacher %.3f", step + 1, STEPS,
                        np.mean(alike[-_TOLD:]))
        if stop():
            return False
    return True


def _told(teacher: Any, scans: Scans, number: int, rows: Tensor) -> Tensor:
    fragment, chosen = scans.fragments[number], rows.cpu().numpy()
    described: Tensor = teacher.describe_keys(
        fragment.points, fragment.normals, fragment.points[chosen], fragment.normals[chosen],
        density=fragment.density)
    return described
