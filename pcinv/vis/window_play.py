"""Scans one after the other: each is read beside the window, and the next one ahead of time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from pcinv.vis.frames import Frames
from pcinv.vis.scene import Scene

LEAST_SECONDS = 0.1
"""Between two scans that are played."""


class Player:
    """Which scan of a sequence is shown, and which one is on its way.

    at : number of the scan that is shown.
    playing : whether the next one follows by itself, and the first one after the last.
    """

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.at = 0
        self.playing = False
        self._wanted: int | None = None
        self._due = 0.0
        self._read: dict[int, Future[Scene]] = {}
        self._worker = ThreadPoolExecutor(1, "pcinv-frames")

    def go(self, number: int) -> None:
        """Ask for a scan; beyond the ends it is the last or the first."""
        self._wanted = min(max(number, 0), len(self.frames) - 1)
        self._ask(self._wanted)

    def step(self, by: int) -> None:
        """Ask for the scan so many after the one that was asked for last, and stop playing."""
        self.playing = False
        self.go((self.at if self._wanted is None else self._wanted) + by)

    def poll(self, now_s: float) -> Scene | None:
        """Return a scan that has arrived, once, or None; to be called again and again.

        Raises what `Frames.scene` does for a scan that cannot be shown; the next one can be.
        """
        if self.playing and self._wanted is None and now_s >= self._due:
            self.go((self.at + 1) % len(self.frames))
        if self._wanted is None or not self._read[self._wanted].done():
            return None
        found = self._read.pop(self._wanted)
        self.at, self._wanted, self._due = self._wanted, None, now_s + LEAST_SECONDS
        self._ask((self.at + 1) % len(self.frames))
        return found.result()

    def _ask(self, number: int) -> None:
        """Have a scan read; forget all others, of which one at most is being read."""
        for other, each in self._read.items():
            if other != number:
                each.cancel()
        kept = self._read.get(number)
        self._read = {number: kept or self._worker.submit(self.frames.scene, number)}
