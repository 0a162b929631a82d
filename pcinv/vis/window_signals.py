"""SIGINT and SIGTERM as the end of looking at something, and of nothing else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Ending:
    """Within the context the signals set `asked` and call `then`, however many of them come.

    Nothing is raised: who has looked enough still wants the answer. A handler must take no locks,
    as those of an Event, which the code that it interrupts may hold.
    Python delivers signals to the main thread only; in another thread nothing is changed.

    then : called for each signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self.then: Callable[[], Any] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Ending:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.then is not None:
            self.then()
