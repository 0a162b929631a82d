"""Nearest vectors by cosine: exact, prefix first, or by the library faiss where it is installed.

Letters: Q queries, N vectors, D numbers in a vector.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pcinv.errors import UsageError
from pcinv.io.writing import replacing

_SCORES = 2**24
"""Scores held at a time: 64 MiB."""
_PROBED = 0.1
"""Share of its cells that the library looks into: ten of the best found, 0.998 of the right ones.

Of the vectors of 12,040 generated shapes; see benchmarks/README.md.
"""

Found = tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]


def unit(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return the vectors at length 1, float32; one of zeros stays as it is."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32, copy=False)


def nearest(
    queries: Float[np.ndarray, "q d"], vectors: Float[np.ndarray, "n d"], top: int
) -> Found:
    """Return cosines and rows of the `top` most alike of N unit vectors, best first.

    Of equal ones the earlier row comes first.
    """
    step = max(1, _SCORES // max(1, len(vectors)))
    parts = [_best(queries[start : start + step] @ vectors.T, top)
             for start in range(0, len(queries), step)]
    scores, rows = zip(*parts, strict=True)
    return np.concatenate(scores), np.concatenate(rows)


def _best(scores: Float[np.ndarray, "q n"], top: int) -> Found:
    count = scores.shape[1]
    rows = np.broadcast_to(np.arange(count), scores.shape)
    if top < count:
        rows = np.sort(np.argpartition(-scores, top - 1, axis=1)[:, :top], axis=1)
        scores = np.take_along_axis(scores, rows, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


class Funnel:
    """Search by short prefixes first (Kusupati et al., NeurIPS 2022, section 4.3).

    stages : (length of the prefix, how many of the best go on); what is left in the end is
        ranked by all D numbers. `vectors` are as the network gives them: each prefix is brought to
        length 1 by itself.
    """

    def __init__(
        self, vectors: Float[np.ndarray, "n d"], stages: Sequence[tuple[int, int]]
    ) -> None:
        self.vectors, self.stages = vectors, tuple(stages)
        dims = [dim for dim, _ in self.stages]
        kept = [keep for _, keep in self.stages]
        if not dims or dims != sorted({*dims}) or not 1 <= dims[0] <= dims[-1] <= vectors.shape[1]:
            raise UsageError(f"prefixes of {dims} numbers, a vector has {vectors.shape[1]}",
                             where="funnel", hint="rising lengths: --funnel 16:1000,64:200")
        if kept != sorted(kept, reverse=True) or kept[-1] < 1:
            raise UsageError(f"shortlists of {kept}", where="funnel",
                             hint="each no longer than the one before: --funnel 16:1000,64:200")
        self.first = unit(np.ascontiguousarray(vectors[:, : dims[0]]))

    def nearest(self, queries: Float[np.ndarray, "q d"], top: int) -> Found:
        """Return cosines of the whole vectors, and rows, of the `top` most alike, best first."""
        found = [self._one(query, top) for query in queries]
        scores, rows = zip(*found, strict=True)
        return np.stack(scores), np.stack(rows)

    def _one(self, query: Float[np.ndarray, "d"], top: int
             ) -> tuple[Float[np.ndarray, "k"], Int[np.ndarray, "k"]]:
        """Narrow down stage by stage."""
        (dim, keep), *later = self.stages
        whole = self.vectors.shape[1]
        _, rows = nearest(unit(query[None, :dim]), self.first, max(keep, top))
        for dim, keep in [*later, (whole, top)]:
            among = rows[0]
            part = unit(self.vectors[among, :dim])
            scores, places = nearest(unit(query[None, :dim]), part, max(keep, top))
            rows = among[places]
        return scores[0], rows[0]

    def multiply_adds(self) -> int:
        """Return what a query costs; an exact search costs N times D."""
        count, total = len(self.vectors), 0
        for dim, keep in self.stages:
            total, count = total + count * dim, min(keep, count)
        return total + count * int(self.vectors.shape[1])


def has_library() -> bool:
    """Return whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


def build_library(vectors: Float[np.ndarray, "n d"], ids: Int[np.ndarray, "n"]) -> Any:
    """Return a faiss index (inverted lists) of unit vectors under these numbers."""
    import faiss

    cells = max(1, round(math.sqrt(len(vectors))))
    width = vectors.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add_with_ids(vectors, ids)
    index.nprobe = max(1, math.ceil(_PROBED * cells))
    return index


def save_library(index: Any, path: Path) -> None:
    """Write a faiss index; it appears whole or not at all."""
    import faiss

    with replacing(path, force=True) as stream:
        stream.write(faiss.serialize_index(index).tobytes())


def load_library(path: Path) -> Any | None:
    """Read a faiss index, or return None where there is none that can be read."""
    import faiss

    try:
        return faiss.read_index(str(path))
    except RuntimeError:
        return None
