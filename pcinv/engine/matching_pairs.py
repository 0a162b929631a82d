"""How a matcher of whole pairs of clouds is trained: some pairs in each step.

What is measured of a cloud does not depend on the weights: it is measured once and kept. Which
pairs a step takes depends on the seed, the epoch and the step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pcinv.engine.distil import distil
from pcinv.engine.scans import ScanPair, Scans, evenly
from pcinv.geometry.rigid import transform_points
from pcinv.losses.matching_coarse_fine import (
    POSITIVE,
    circle_loss,
    patch_overlaps,
    point_labels,
    point_loss,
)
from pcinv.models.roitr import Survey, match_described
from pcinv.nn.standardise import standardise
from pcinv.registration.shipped import load_shipped
from pcinv.tasks.matching import VAL_PAIRS, matching_metrics, share_right

CANDIDATES = 128
"""Pairs of patches whose points are matched in a step: drawn from those that overlap."""
KEPT = 1000
"""Clouds whose survey is kept, about 8 MB each."""


class PairSample(NamedTuple):
    """A pair of clouds and what is right for it; rows are patches of the target.

    overlap : (S, R) of the patches.  chosen : (P, 2) pairs of patches that overlap, target first.
    labels : (P, K + 1, K + 1) points of these that are the same place.
    """

    source: Survey
    target: Survey
    overlap: Float[Tensor, "s r"]
    chosen: Int[Tensor, "p 2"]
    labels: Bool[Tensor, "p k1 k1"]


class _Surveys:
    """Surveys of the fragments of some scans, made when first asked for."""

    def __init__(self, network: Any, scans: Scans) -> None:
        self.network, self.scans, self.known = network, scans, dict[int, Survey]()

    def __getitem__(self, number: int) -> Survey:
        survey: Survey | None = self.known.get(number)
        if survey is None:
            fragment = self.scans.fragments[number]
            survey = self.network.survey(torch.from_numpy(fragment.points),
                                         torch.from_numpy(fragment.normals))
            if len(self.known) < KEPT:
                self.known[number] = survey
        return survey


class PairLearner:
    """See `pcinv.engine.matching.Learner`; the network is a `RoITr`."""

    def __init__(self, network: Any, scans: Scans, held: Scans) -> None:
        self.network, self.scans, self.held = network, scans, held
        self.surveys, self.held_surveys = _Surveys(network, scans), _Surveys(network, held)

    def start(self, seed: int, stop: Callable[[], bool]) -> bool:
        """Let features differ from point to point, then be taught by the descriptor of patches."""
        network, example = self.network, self.draw((seed, 13), 1)[0]
        standardise(network, (network.node_head, network.point_head),
                    lambda: network.describe(example.source, example.target))
        return distil(network, load_shipped("cylinder_patch"), self.scans,
                      self.surveys.__getitem__, seed, stop)

    def draw(self, seed: Sequence[int], pairs: int) -> list[PairSample]:
        """Draw pairs, and of each the patches whose points shall be matched."""
        rng = np.random.default_rng(list(seed))
        return [self._sample(pair, turned, rng)
                for pair, turned in self.scans.draw(rng, pairs, hard=False)]

    def losses(self, model: nn.Module, batch: list[PairSample]) -> tuple[Tensor, Tensor]:
        """Return the loss of each pair, and the share of the patches it matches that overlap."""
        losses, found = [], []
        for sample in batch:
            source, target = self.network.describe(sample.source, sample.target)
            loss = circle_loss(target.node_desc, source.node_desc, sample.overlap)
            rows, columns = sample.chosen.unbind(1)
            assignment = self.network.log_assignment(source, target, columns, rows)
            losses.append(loss + point_loss(assignment, sample.labels))
            with torch.no_grad():
                pairs = self.network.pairs(source, target)
                right = sample.overlap[pairs.target, pairs.source] > 0
                found.append(right.float().mean() if len(right) else loss.new_zeros(()))
        return torch.stack(losses), torch.stack(found)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Match whole pairs and return how many matches are right."""
        scans, ratios, network = self.held, [], self.network
        was_training = network.training
        network.eval()
        for pair in evenly(scans.pairs, VAL_PAIRS):
            described = network.describe(
                self.held_surveys[pair.source], self.held_surveys[pair.target])
            found = match_described(network, *described)
            ratios.append(share_right(
                scans.fragments[pair.source].points[found.source.cpu().numpy()],
                scans.fragments[pair.target].points[found.target.cpu().numpy()],
                scans.T_target_source(pair)))
        network.train(was_training)
        return matching_metrics(ratios)

    def _sample(self, pair: ScanPair, turned: bool, rng: np.random.Generator) -> PairSample:
        motion, numbers = self.scans.T_target_source(pair), (pair.source, pair.target)
        if turned:
            motion, numbers = np.linalg.inv(motion), numbers[::-1]
        source, target = (self.surveys[number] for number in numbers)
        device = source.patch.device
        T = torch.from_numpy(motion).to(device)
        x, y = (torch.from_numpy(self.scans.fragments[n].points).to(device) for n in numbers)
        sides = []
        for points, survey in ((y, target), (transform_points(T, x.double()).float(), source)):
            padded = torch.nn.functional.pad(points, (0, 0, 0, 1))
            sides.append((padded[survey.patch], survey.patch < len(points)))
        (there, there_mask), (here, here_mask) = sides
        overlap = patch_overlaps(there, there_mask, here, here_mask)
        chosen = (overlap > POSITIVE).nonzero()
        if len(chosen) > CANDIDATES:
            drawn = rng.choice(len(chosen), CANDIDATES, replace=False)
            chosen = chosen[torch.from_numpy(np.sort(drawn)).to(device)]
        rows, columns = chosen.unbind(1)
        labels = point_labels(there[rows], there_mask[rows], here[columns], here_mask[columns])
        return PairSample(source, target, overlap, chosen, labels)
