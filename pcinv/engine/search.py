"""`pcinv.search`: the shapes of a folder that are most like one, in whatever pose they are."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.checks import check_count
from pcinv.engine.embed import Embedder, Skipped
from pcinv.engine.inputs import Input, name_of
from pcinv.engine.loading import LoadedModel
from pcinv.engine.nearest import (
    Funnel,
    build_library,
    has_library,
    load_library,
    nearest,
    save_library,
    unit,
)
from pcinv.engine.search_index import Progress, SearchIndex
from pcinv.errors import InputError, LimitError, UsageError
from pcinv.io import FormatWarning

LIBRARY_FROM = 10_000
"""Shapes from which on the vector library is used, if it is installed."""
_MORE = 4
"""The library gives this many times as many candidates as are wanted; they are ranked exactly."""


@dataclass(frozen=True)
class Match:
    """A shape of the folder: the most alike has rank 1; similarity is a cosine."""

    rank: int
    file: str
    similarity: float


@dataclass(frozen=True)
class SearchResult:
    """What was found.

    matches : best first; the query itself is not among them.
    num_indexed : shapes in the index.  num_embedded, num_dropped : new or changed ones, gone ones.
    skipped : files that cannot be read.
    index : the file.  dim : numbers of a vector that were compared in the end.
    method : "exact", "funnel", or "faiss".
    """

    query: str
    matches: tuple[Match, ...]
    num_indexed: int
    num_embedded: int
    num_dropped: int
    skipped: tuple[Skipped, ...]
    index: str
    dim: int
    method: str


def search(
    query: Input,
    folder: str | os.PathLike[str],
    weights: str | Path | LoadedModel,
    *,
    top: int = 10,
    index: str | os.PathLike[str] | None = None,
    rebuild: bool = False,
    dim: int | None = None,
    funnel: Sequence[tuple[int, int]] | None = None,
    seed: int = 0,
    device: str = "auto",
    which: str = "best",
    progress: Progress | None = None,
) -> SearchResult:
    """Find the shapes of a folder that are most like one, whatever their pose.

    The vectors of the folder are kept in an index beside it; only what is new or has changed is
    embedded again.

    Parameters
    ----------
    query : file, array (N, 3), or cloud.
    folder : clouds and meshes in it and below, told by their suffix (.txt and .csv are left out).
    weights : run folder, checkpoint folder, weights file, or a loaded network.
    top : matches, at most.
    index : folder of the index; `.pcinv-index` in the folder where None.
    rebuild : make the index anew.
    dim : compare the first numbers of the vectors alone; of a network with the head "matryoshka".
    funnel : (prefix, shortlist) pairs: compare short prefixes first, see
        `pcinv.engine.nearest.Funnel`; of a network with the head "matryoshka".
    seed : of the sampling of meshes and of very dense clouds.
    progress : called with the number of new shapes that are done, and of all of them.

    Raises
    ------
    InputError, FileFormatError for a query that cannot be read, or a folder without a shape.
    CheckpointError for damaged weights, or an index that was made with others.
    UsageError where the index cannot be written, or the network has no prefixes.
    """
    check_count(top, "top")
    place = Path(folder)
    if not place.is_dir():
        raise InputError("no such folder", where=str(folder), hint="name a folder with shapes")
    if dim is not None and funnel is not None:
        raise UsageError("dim and funnel exclude each other", where="dim",
                         hint="a funnel ends with the whole vectors")
    embedder = Embedder(weights, seed=seed, device=device, which=which)
    for length in [dim, *(stage[0] for stage in funnel or ())]:
        embedder.check_dim(length)
    (asked,), = embedder.batches([query])
    if isinstance(asked, Skipped):
        raise asked.error
    with SearchIndex(place, embedder, place=None if index is None else Path(index),
                     rebuild=rebuild) as kept:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FormatWarning)  # that each mesh of many is sampled
            update = kept.update(progress)
        count = len(kept)
        if not count:
            raise InputError(f"no shape can be read in this folder, {len(update.skipped)} skipped",
                             where=str(folder), hint="shapes are told by their suffix")
        method, files, scores = _find(kept, asked.vector, min(top + 1, count), dim, funnel)
    found = [(file, score) for file, score in zip(files, scores, strict=True)
             if not _is_query(query, place / file)][:top]
    return SearchResult(
        query=name_of(query, 0),
        matches=tuple(Match(rank, str(place / file), min(score, 1.0))
                      for rank, (file, score) in enumerate(found, 1)),
        num_indexed=count, num_embedded=update.embedded, num_dropped=update.dropped,
        skipped=update.skipped, index=str(kept.path), dim=dim or asked.vector.size, method=method)


def _find(
    kept: SearchIndex, query: Float[np.ndarray, "d"], top: int, dim: int | None,
    funnel: Sequence[tuple[int, int]] | None,
) -> tuple[str, list[str], list[float]]:
    """Return how the best shapes were found, their files, and their cosines with the query."""
    method = "exact"
    if funnel is not None:
        _, files, vectors = kept.shapes()
        scores, rows = Funnel(vectors, funnel).nearest(query[None], top)
        return "funnel", [files[row] for row in rows[0]], scores[0].tolist()
    ids = None
    count = len(kept)
    if dim is None and max(LIBRARY_FROM, 10 * _MORE * top) <= count and has_library():
        method, ids = "faiss", _candidates(kept, query, _MORE * top)
    _, files, vectors = kept.shapes(ids)
    scores, rows = nearest(unit(query[None, :dim]), unit(vectors[:, :dim]), top)
    return method, [files[row] for row in rows[0]], scores[0].tolist()


def _candidates(kept: SearchIndex, query: Float[np.ndarray, "d"], count: int) -> np.ndarray:
    """Ask the library, whose file is made where it does not belong to the shapes as they are."""
    path = kept.library
    library: Any = load_library(path)
    if library is None:
        ids, _, vectors = kept.shapes()
        library = build_library(unit(vectors), ids)
        for old in kept.libraries():
            old.unlink(missing_ok=True)
        try:
            save_library(library, path)
        except (LimitError, UsageError):
            pass  # it is made again next time
    found: np.ndarray = library.search(unit(query[None]), count)[1][0]
    return found[found >= 0]


def _is_query(query: Input, file: Path) -> bool:
    return (isinstance(query, str | os.PathLike)
            and os.path.realpath(query) == os.path.realpath(file))
