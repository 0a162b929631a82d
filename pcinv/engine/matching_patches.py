"""How a descriptor of patches is trained: corresponding patches of some pairs in each step.

Which patches a step takes depends on the seed, the epoch and the step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcinv.engine.scans import Fragment, Scans, evenly
from pcinv.losses.matching import matching_loss
from pcinv.tasks.matching import VAL_PAIRS, matching_metrics, share_right

PATCHES = 192
"""Corresponding patches of a pair in a step."""
APART = 0.15
"""Places nearer than this do not count against each other, in units of prepared clouds."""
MOST_SCALE = 50.0
"""Largest 1 / temperature."""
THINNED = 0.3
"""Share of the clouds of a batch that lose up to half of their points."""


class PatchBatch(NamedTuple):
    """Corresponding patches of some pairs, (K, ...) as the network has them.

    places : (K, 3), each in the frame of its cloud.  pair : (K,) number of the pair.
    """

    source: Float[Tensor, "k *patch"]
    target: Float[Tensor, "k *patch"]
    source_places: Float[Tensor, "k 3"]
    target_places: Float[Tensor, "k 3"]
    pair: Int[Tensor, " k"]


class PatchLearner:
    """See `pcinv.engine.matching.Learner`; the network is a `CylinderPatch` or a `PointPatch`."""

    def __init__(self, network: Any, scans: Scans, held: Scans) -> None:
        self.network, self.scans, self.held = network, scans, held

    def start(self, seed: int, stop: Callable[[], bool]) -> bool:
        """Start from the random weights as they are."""
        return True

    def draw(self, seed: Sequence[int], pairs: int) -> PatchBatch:
        """Draw pairs and corresponding patches of each."""
        return draw_patches(self.network, self.scans, seed, pairs, PATCHES)

    def losses(self, model: nn.Module, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """Return the loss of each correspondence, and whether it was found."""
        device = self.network.log_scale.device
        batch = PatchBatch(*(part.to(device) for part in batch))
        described = model(torch.cat([batch.source, batch.target])).float()
        source, target = described.chunk(2)
        scale = self.network.log_scale.exp().clamp(max=MOST_SCALE)
        return matching_loss(source, target, scale, batch.source_places, batch.target_places,
                             batch.pair, APART)

    def validate(self) -> dict[str, float]:
        """Match whole pairs and return how many matches are right."""
        from pcinv.registration.correspondences import mutual_matches

        scans = self.held
        described: dict[int, Tensor] = {}
        ratios = []
        for pair in evenly(scans.pairs, VAL_PAIRS):
            for number in (pair.source, pair.target):
                if number not in described:
                    fragment = scans.fragments[number]
                    described[number] = self.network.describe_keys(
                        *fragment[:2], *fragment[3:5], density=fragment.density).cpu()
            found = mutual_matches(described[pair.source], described[pair.target], k=1)
            ratios.append(share_right(
                scans.fragments[pair.source].keys[found.source_index.numpy()],
                scans.fragments[pair.target].keys[found.target_index.numpy()],
                scans.T_target_source(pair)))
        return matching_metrics(ratios)


def draw_patches(
    network: Any, scans: Scans, seed: Sequence[int], pairs: int, patches: int
) -> PatchBatch:
    """Draw pairs, those of little overlap more often, and corresponding patches of each."""
    rng = np.random.default_rng(list(seed))
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    places: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for pair, turned in scans.draw(rng, pairs):
        rows = pair.rows[rng.choice(len(pair.rows), patches, replace=len(pair.rows) < patches)]
        for side, which in enumerate((pair.source, pair.target)):
            fragment = scans.fragments[which]
            chosen = rows[:, side]
            sides[side ^ turned].append(patches_of(network, fragment, chosen, rng))
            places[side ^ turned].append(fragment.keys[chosen])
    source_places, target_places = (torch.from_numpy(np.concatenate(part)) for part in places)
    return PatchBatch(torch.cat(sides[0]), torch.cat(sides[1]), source_places, target_places,
                      torch.arange(pairs).repeat_interleave(patches))


def patches_of(
    network: Any, fragment: Fragment, rows: Int[np.ndarray, " k"], rng: np.random.Generator
) -> Float[Tensor, "k *patch"]:
    """Return the patches of some key points; the cloud may be thinned first."""
    points, normals = fragment.points, fragment.normals
    if rng.random() < THINNED:
        kept = rng.random(len(points)) < rng.uniform(0.5, 1)
        if kept.any():
            points, normals = points[kept], normals[kept]
    patches: Tensor = network.patches(points, normals, fragment.keys[rows], fragment.axes[rows],
                                      density=fragment.density)
    return patches
