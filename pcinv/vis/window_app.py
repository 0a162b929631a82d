"""The process that shows a scene in a window of its own.

    python -m pcinv.vis.window_app JOB.json

It tells its parent on stdout when the first picture is drawn, and what it says to the person; it
ends when the parent does. See `window` for the parent's side.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path

from pcinv.errors import DeviceError, PcinvError
from pcinv.io.open3d import import_open3d
from pcinv.vis.frames import Frames
from pcinv.vis.store import load_scene
from pcinv.vis.window import READY, SAID
from pcinv.vis.window_viewer import Viewer


def main(job: str) -> None:
    """Show what a job says, until the window is closed."""
    told = json.loads(Path(job).read_text("utf-8"))
    scene = load_scene(Path(job).with_name("scene.npz"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the parent has it as well
    viewers: list[Viewer] = []
    threading.Thread(target=_end_with_parent, args=(viewers,), daemon=True).start()
    frames = None
    if told["frames"] is not None:
        frames = Frames(**{**told["frames"], "files": tuple(told["frames"]["files"])})
    check_display()
    o3d = import_open3d()
    app = o3d.visualization.gui.Application.instance
    app.initialize()
    viewers.append(Viewer(o3d, scene, frames, told["look"], told["up"], told["point_size"],
                          told["format"], ready=lambda: _tell(READY), said=lambda words: _tell(
                              SAID + " ".join(words.split())), closed=lambda: os._exit(0)))
    app.run()


def check_display() -> None:
    """Raise DeviceError where windows cannot be shown: Open3D would show one that nobody sees."""
    if not sys.platform.startswith("linux"):
        return
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError as error:
        raise DeviceError(f"windows need X11: {error}") from error
    x11.XOpenDisplay.restype = ctypes.c_void_p
    if not x11.XOpenDisplay(None):
        raise DeviceError(f"the display '{os.environ.get('DISPLAY', '')}' does not answer")


def _tell(line: str) -> None:
    """Send a line to the parent, which may be gone."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError:
        os._exit(1)


def _end_with_parent(viewers: list[Viewer]) -> None:
    sys.stdin.read()  # the parent holds the other end, and never writes
    for viewer in viewers:
        viewer.close()
    os._exit(0)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except PcinvError as error:
        raise SystemExit(error.message) from error
