"""A display without a screen: Xvfb on a free number, pictures of it, keys and clicks sent to it."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

NEEDED = {"Xvfb": "xvfb", "xdotool": "xdotool", "import": "imagemagick"}
"""Programs, and the Debian packages they are in."""


@dataclass(frozen=True)
class Display:
    """A display by its name, such as ":7", for the environment of a program, and its size."""

    name: str
    width: int
    height: int

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of this process with the display in it."""
        kept = {key: value for key, value in os.environ.items() if key != "WAYLAND_DISPLAY"}
        return {**kept, "DISPLAY": self.name}

    def picture(self) -> np.ndarray:
        """Return what is on the display: (H, W, 3) uint8."""
        done = subprocess.run(["import", "-silent", "-window", "root", "-depth", "8", "rgb:-"],
                              check=True, capture_output=True, env=self.environment, timeout=30)
        return np.frombuffer(done.stdout, np.uint8).reshape(self.height, self.width, 3)

    def key(self, *names: str) -> None:
        """Press and release keys, named as xdotool names them: "c", "plus", "Escape"."""
        self._xdotool("key", "--clearmodifiers", *names)

    def move(self, x: int, y: int) -> None:
        """Move the pointer."""
        self._xdotool("mousemove", str(x), str(y))

    def click(self, x: int, y: int, hold: str | None = None) -> None:
        """Press the left button at a place, with a key such as "ctrl" held down."""
        self.drag((x, y), (x, y), hold)

    def drag(self, start: tuple[int, int], end: tuple[int, int], hold: str | None = None) -> None:
        """Press the left button at one place and release it at another."""
        pause = ("sleep", "0.1")  # the window looks at the pointer once a picture
        middle = [str((a + b) // 2) for a, b in zip(start, end, strict=True)]
        self._xdotool("mousemove", *map(str, start), *pause,
                      *(("keydown", hold, *pause) if hold else ()), "mousedown", "1", *pause,
                      "mousemove", *middle, *pause, "mousemove", *map(str, end), *pause,
                      "mouseup", "1", *pause, *(("keyup", hold) if hold else ()))

    def _xdotool(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], check=True, capture_output=True,
                       env=self.environment, timeout=30)


@contextmanager
def display(width: int = 1280, height: int = 960) -> Iterator[Display]:
    """Lend a display; skip the test, with the reason, where this machine has none to lend."""
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: {package})")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24", "-noreset",
         "-nolisten", "tcp"],
        pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as told:  # closed by the server when it ends: never waits for ever
            number = told.readline().strip()
        if not number:
            pytest.skip(f"Xvfb ended with {server.wait(10)}")
        yield Display(f":{number}", width, height)
    finally:
        server.terminate()
        server.wait(10)


def wait_until(condition: Callable[[], object], limit_s: float = 30.0) -> object:
    """Return the first true answer of `condition`; fail where none comes within the limit."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = condition()
        if found is not None and found is not False:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {limit_s} s: {condition}")
