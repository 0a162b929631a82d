"""Vectors of a person's own files: alike where the shapes are alike, in whatever pose they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pcinv.checks import check_count
from pcinv.engine.inputs import Input, PreparedInput, name_of, prepare_input
from pcinv.engine.launch import pick_device
from pcinv.engine.loading import LoadedModel, hyper_of, load_model
from pcinv.engine.nearest import unit
from pcinv.errors import NonFiniteError, PcinvError, UsageError

OF_ONE_FILE = (3, 6)
"""Exit codes of errors that leave the other files to be embedded."""
_TOGETHER = 16
"""Clouds that a network sees at a time."""
_VERSION = 1
"""Of the preparation: vectors made by another one are not comparable."""


@dataclass(frozen=True)
class Skipped:
    """A file without a vector, and why."""

    file: str
    error: PcinvError


@dataclass(frozen=True)
class Embedded:
    """A file with its vector.

    vector : (C,) as the network gives it.
    num_points, num_used : points of the file, and of these the ones that the network saw.
    normals : "data" where the network saw the file's normals, "estimate" where it saw none.
    """

    file: str
    vector: Float[np.ndarray, "c"]
    num_points: int
    num_used: int
    normals: str


@dataclass(frozen=True)
class Embeddings:
    """The vectors of many files.

    vectors : (N, D) float32, of length 1 unless raw; row i belongs to files[i].
    files : paths, or "input 3" for an array.
    rows : what is known of each of them.  skipped : files without a vector.
    weights : the file of the network.  fingerprint : of what decides a vector.
    """

    vectors: Float[np.ndarray, "n d"]
    files: tuple[str, ...]
    rows: tuple[Embedded, ...]
    skipped: tuple[Skipped, ...]
    weights: str
    fingerprint: str


class Embedder:
    """A classifier as a function from files to vectors.

    width : C, numbers in a vector.  nesting : prefixes that can be used by themselves, C the last.
    fingerprint : sha256 of what decides a vector, besides the file.
    """

    def __init__(
        self, target: str | Path | LoadedModel, *, points: int | None = None, seed: int = 0,
        device: str = "auto", which: str = "best",
    ) -> None:
        """Load the network; arguments as of `embed`."""
        if points is not None:
            check_count(points, "points")
        self.device = pick_device(device)
        self.loaded = target if isinstance(target, LoadedModel) else load_model(target, which=which)
        self.points, self.seed = points, seed
        meta = self.loaded.meta
        task = meta.config.model.task
        if task != "classification":
            raise UsageError(f"a network for {task} gives no vector of a whole cloud",
                             where=str(self.loaded.path),
                             hint="train a classifier: pcinv train --backbone risurconv")
        self.network: Any = self.loaded.model.to(self.device)
        self.nesting: tuple[int, ...] = getattr(self.network, "nesting", ())
        decides = {
            "version": _VERSION, "weights": meta.digest, "backbone": meta.config.model.backbone,
            "hyper": hyper_of(self.network), "normals": meta.normals, "seed": seed,
            "points": meta.config.data.num_points if points is None else points,
        }
        self.fingerprint = hashlib.sha256(
            json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def check_dim(self, dim: int | None) -> None:
        """Raise UsageError unless the first `dim` numbers can be used by themselves."""
        if dim is None or dim in self.nesting:
            return
        if not self.nesting:
            raise UsageError("this network was not trained for shorter vectors", where="dim",
                             hint="pcinv train --head matryoshka makes one that was")
        raise UsageError(f"no prefix of {dim} numbers", where="dim",
                         hint=f"one of {', '.join(map(str, self.nesting))}")

    def batches(
        self, inputs: Sequence[Input], *, quiet: bool = False
    ) -> Iterator[list[Embedded | Skipped]]:
        """Yield the vectors of some inputs after the other, in their order.

        What is wrong with an input is yielded in its place.

        quiet : do not warn of each file whose normals are missing.
        """
        for start in range(0, len(inputs), _TOGETHER):
            made: list[PreparedInput | Skipped] = []
            for number, item in enumerate(inputs[start : start + _TOGETHER], start):
                try:
                    made.append(prepare_input(item, number, self.loaded, points=self.points,
                                              seed=self.seed, quiet=quiet))
                except PcinvError as error:
                    made.append(Skipped(name_of(item, number), error))
            yield self._embed(made)

    def _embed(self, made: Sequence[PreparedInput | Skipped]) -> list[Embedded | Skipped]:
        """Run the network on clouds of one size at a time."""
        found: list[Embedded | Skipped | None] = [m if isinstance(m, Skipped) else None
                                                  for m in made]
        groups: dict[tuple[int, bool], list[tuple[int, PreparedInput]]] = {}
        for place, cloud in enumerate(made):
            if isinstance(cloud, PreparedInput):
                kind = len(cloud.seen), cloud.normal is None
                groups.setdefault(kind, []).append((place, cloud))
        for members in groups.values():
            xyz = torch.stack([cloud.seen for _, cloud in members]).to(self.device)
            normals = [cloud.normal for _, cloud in members if cloud.normal is not None]
            normal = torch.stack(normals).to(self.device) if normals else None
            with torch.inference_mode():
                vectors = self.network.forward_features(xyz, normal).global_.float().cpu().numpy()
            for (place, cloud), vector in zip(members, vectors, strict=True):
                found[place] = _finished(cloud, vector)
        return [item for item in found if item is not None]


def _finished(cloud: PreparedInput, vector: Float[np.ndarray, "c"]) -> Embedded | Skipped:
    if not np.isfinite(vector).all():
        return Skipped(cloud.name, NonFiniteError(
            "the network's vector is not finite", where=cloud.name,
            hint="look at this cloud; try another checkpoint"))
    return Embedded(cloud.name, vector, len(cloud.xyz), len(cloud.chosen),
                    "estimate" if cloud.normal is None else "data")


def embed(
    target: str | Path | LoadedModel,
    files: Sequence[Input],
    *,
    dim: int | None = None,
    raw: bool = False,
    points: int | None = None,
    seed: int = 0,
    device: str = "auto",
    which: str = "best",
    skip: bool = False,
) -> Embeddings:
    """Return the vector of each input, before the last layers of a classifier.

    The cosine of two of them says how alike the shapes are. Position, size and rotation of a shape
    do not matter, as far as `pcinv.check` says so of the network.

    Parameters
    ----------
    target : run folder, checkpoint folder, weights file, or a loaded network.
    files : files of any format that `pcinv.read` knows, arrays (N, 3), or clouds. Meshes are
        sampled.
    dim : take the first numbers of each vector alone; of a network with the head "matryoshka",
        one of its prefixes.
    raw : leave the vectors as long as they are, instead of 1.
    points : points that the network sees; as in training where None.
    seed : of the sampling of meshes and of very dense clouds.
    skip : leave out inputs that cannot be read, and name them in the result.

    Raises
    ------
    InputError, FileFormatError for a bad input, unless `skip`; NonFiniteError likewise.
    CheckpointError for damaged weights.  UsageError for a network without such a vector.
    """
    embedder = Embedder(target, points=points, seed=seed, device=device, which=which)
    embedder.check_dim(dim)
    rows: list[Embedded] = []
    skipped: list[Skipped] = []
    for batch in embedder.batches(files):
        for item in batch:
            if isinstance(item, Embedded):
                rows.append(item)
            elif skip and item.error.exit_code in OF_ONE_FILE:
                skipped.append(item)
            else:
                raise item.error
    width = rows[0].vector.size if rows else 0
    vectors = np.stack([row.vector for row in rows]) if rows else np.zeros((0, width), np.float32)
    vectors = vectors[:, :dim]
    return Embeddings(
        vectors if raw else unit(vectors), tuple(row.file for row in rows), tuple(rows),
        tuple(skipped), str(embedder.loaded.path), embedder.fingerprint)
