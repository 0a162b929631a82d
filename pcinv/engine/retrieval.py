"""How well the vectors of a network find shapes of their class, under rotations of choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pcinv.engine.clouds import evaluation_loader, iterate
from pcinv.engine.evaluator import prepare
from pcinv.engine.loading import LoadedModel
from pcinv.errors import DatasetError, NonFiniteError, UsageError
from pcinv.metrics.retrieval import retrieval_metrics

_LOOKED_AT = (1, 5, 10)


@dataclass(frozen=True)
class Retrieval:
    """What a network reached; each shape of the split searches among all others.

    run : what was given.  weights : the file that was used.
    metrics : length of the prefix -> `map`, `recall_at_1`, `recall_at_5`, `recall_at_10`; the
        whole vector last.
    dim : length of the whole vector.  The rest as of `Evaluation`.
    """

    run: str
    weights: str
    metrics: dict[int, dict[str, float]]
    dim: int
    rotation: str
    dataset: str
    split: str
    num_samples: int
    normals: str
    seed: int


def evaluate_retrieval(
    target: str | Path | LoadedModel,
    *,
    batch_size: int = 32,
    workers: int = 0,
    **options: Any,
) -> Retrieval:
    """Measure how well each shape of a split finds others of its class.

    options : dataset, root, split, rotation, seed, device, limit, which; as of `pcinv.evaluate`.

    Raises
    ------
    UsageError for a network that gives no vector of a whole cloud.
    DatasetError where no class has two shapes; else as `pcinv.evaluate`.
    """
    prepared = prepare(target, **options)
    loaded, clouds = prepared.loaded, prepared.clouds
    network: Any = loaded.model
    if loaded.meta.config.model.task != "classification":
        raise UsageError(f"a network for {loaded.meta.config.model.task} gives no vector of a "
                         "whole cloud", where=prepared.run, hint="give a classifier")
    found, labels = [], []
    with torch.inference_mode():
        for batch in iterate(evaluation_loader(clouds, batch_size, workers, prepared.device)):
            batch = batch.to(prepared.device)
            found.append(network.forward_features(batch.xyz, batch.normal).global_.float())
            labels.append(batch.label)
    vectors, classes = torch.cat(found), torch.cat(labels)
    if not torch.isfinite(vectors).all():
        raise NonFiniteError("a vector of the network is not finite", where=prepared.dataset,
                             hint="try another checkpoint")
    if int(torch.bincount(classes).max()) < 2:
        raise DatasetError("no class has two shapes, so there is nothing to find",
                           where=prepared.dataset, hint="a larger --limit")
    dims = getattr(network, "nesting", ()) or (vectors.shape[1],)
    return Retrieval(
        run=prepared.run, weights=str(loaded.path),
        metrics={m: retrieval_metrics(vectors[:, :m], classes, _LOOKED_AT) for m in dims},
        dim=vectors.shape[1], rotation=clouds.rotation, dataset=prepared.dataset,
        split=prepared.split, num_samples=len(clouds),
        normals="data" if clouds.normals == "data" else "estimate", seed=clouds.seed,
    )
