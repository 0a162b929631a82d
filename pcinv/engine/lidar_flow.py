"""Flow between scans that follow each other: the scan's own where it is known, else computed once.

What is computed is kept as float16 in a folder, a file a scan, whole or not there.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pcinv.engine.files import make_folder, write_atomic
from pcinv.engine.flow import Placed, flow
from pcinv.engine.lidar_scans import ScanPool
from pcinv.errors import InputError
from pcinv.types import Scan

logger = logging.getLogger(__name__)


class FlowStore:
    """Flows of scans towards the next ones.

    folder : of those that are computed.  method : how, of `pcinv.flow`; "labels": not at all.
    known : the scan's own flow is taken where it is known.
    """

    def __init__(self, folder: Path, method: str, known: bool = True) -> None:
        self.folder, self.method, self.known = folder, method, known or method == "labels"

    def towards(self, pool: ScanPool, row: int) -> tuple[Scan, Float[np.ndarray, "n 3"]]:
        """Return the scan before one of a pool, and how its points move until that one.

        Where the flow of a point is not known it is NaN. The first scan of a sequence has none
        before it: it is returned itself, and stands still.
        """
        before = pool.before(row)
        if before is None:
            return pool[row], np.zeros((len(pool[row]), 3), np.float32)
        if before.flow is not None and self.known:
            return before, before.flow
        if self.method == "labels":
            return before, np.full((len(before), 3), np.nan, np.float32)
        sequence, index = pool.places[row]
        name = f"{pool.sequences[sequence].name}-{before.name}-{self.method}.npy".replace("/", "_")
        file = self.folder / name
        kept = _read(file, len(before))
        if kept is None:
            of = pool.sequences[sequence]
            kept = self._computed(Placed(before, of, index - 1), Placed(pool[row], of, index))
            make_folder(self.folder)
            buffer = io.BytesIO()
            np.save(buffer, kept, allow_pickle=False)
            write_atomic(file, buffer.getvalue())
        return before, kept.astype(np.float32)

    def _computed(self, before: Placed, after: Placed) -> Float[np.ndarray, "n 3"]:
        try:
            found = flow(before, after, method=self.method).flow
        except InputError as error:
            logger.warning("no flow of %s: %s", before.scan.name, error.message)
            found = np.full((len(before.scan), 3), np.nan)
        return found.astype(np.float16)


def _read(file: Path, count: int) -> Float[np.ndarray, "n 3"] | None:
    """Return what a file holds for so many points; None where it is not there, or of others."""
    try:
        kept: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == (count, 3) else None
