"""A window with a scene, in a process of its own: a driver that fails ends that one only."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pcinv.errors import DeviceError
from pcinv.vis.frames import Frames
from pcinv.vis.scene import Scene
from pcinv.vis.store import save_scene
from pcinv.vis.window_signals import Ending

COMMAND = (sys.executable, "-m", "pcinv.vis.window_app")
HINT = "--web shows it in a browser, --screenshot and --html write files"
END_LIMIT_S = 5.0
READY, SAID = "pcinv-ready", "pcinv-said "
"""How lines of the child for its parent begin; Open3D writes others."""
_log = logging.getLogger(__name__)


def show(
    what: Scene | Frames, *, look: str | tuple[float, ...] = "iso", up: str = "auto",
    point_size: float | None = None, format: str | None = None, start_limit_s: float = 30.0,
    ready: Callable[[], None] | None = None, said: Callable[[str], None] = _log.info,
    command: Sequence[str] = COMMAND,
) -> None:
    """Show a scene, or a sequence of scans, in a window, until it is closed, Ctrl-C or SIGTERM.

    look, up : see `pcinv.vis.camera.camera_for`.
    point_size : diameter in pixels; None: so that neighbours touch, where they can.
    format : of the files, for crops, which are cut from the files again.
    start_limit_s : for the first picture.
    ready : called when it is drawn.
    said : called with what the window tells: what was clicked on, where a picture was saved.
    command : of the process that shows the window; the path of a job is added.

    Raises DeviceError where there is no display, and where the window does not start in time or
    ends by itself; and what `Frames.scene` does for the first scan.
    """
    if not has_display():
        raise DeviceError("there is no display for a window", where="DISPLAY", hint=HINT)
    scene = what.scene(0) if isinstance(what, Frames) else what
    frames = asdict(what) if isinstance(what, Frames) else None
    job = {"frames": frames, "look": look, "up": up, "point_size": point_size,
           "format": what.format if isinstance(what, Frames) else format}
    with Ending() as ending, tempfile.TemporaryDirectory(prefix="pcinv-") as folder:
        save_scene(Path(folder) / "scene.npz", scene)
        place = Path(folder) / "job.json"
        place.write_text(json.dumps(job), "utf-8")
        with open(Path(folder) / "stderr.txt", "w+b") as stderr:
            child = subprocess.Popen(
                [*command, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=stderr, text=True, errors="replace",
                env={**os.environ, "PYTHONSAFEPATH": "1"})
            ending.then = partial(_ask_to_end, child)
            try:
                if ending.asked:
                    _ask_to_end(child)
                shown, last = _follow(child, start_limit_s, ready, said)
            except DeviceError:  # that it was late no longer matters
                if not ending.asked:
                    raise
                return
            finally:
                ending.then = None
                _end(child)
            if not ending.asked and (child.returncode or not shown):
                stderr.seek(0)
                told = stderr.read().decode(errors="replace").split("\n")
                words = [line.strip() for line in [last, *told] if line.strip()]
                why = words[-1][:200] if words else f"exit {child.returncode}"
                raise DeviceError(f"the window does not work here: {why}", hint=HINT)


def has_display() -> bool:
    """Return whether this machine has somewhere to show a window."""
    return not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _follow(child: subprocess.Popen[str], start_limit_s: float, ready: Callable[[], None] | None,
            said: Callable[[str], None]) -> tuple[bool, str]:
    """Listen to the window until it is closed; it may be still only so long before it shows.

    Returns whether it has shown anything, and the last line that was not for us.

    Raises DeviceError where it is late.
    """
    late = threading.Event()

    def give_up() -> None:
        late.set()
        child.kill()

    limit = threading.Timer(start_limit_s, give_up)
    limit.daemon = True
    limit.start()
    shown, last = False, ""
    try:
        for line in child.stdout or ():
            if line.startswith(SAID):
                said(line.removeprefix(SAID).rstrip("\n"))
            elif line.startswith(READY):
                limit.cancel()
                shown = True
                if ready is not None:
                    ready()
            else:
                last = line
    finally:
        limit.cancel()
    if late.is_set():
        raise DeviceError(f"the window shows nothing within {start_limit_s:g} s", hint=HINT)
    return shown, last


def _ask_to_end(child: subprocess.Popen[str]) -> None:
    """Have the child finish what it writes and end; kill it when it is asked again."""
    if child.stdin is None or child.stdin.closed:
        child.kill()
    else:
        child.stdin.close()


def _end(child: subprocess.Popen[str]) -> None:
    """See to it that the child ends: it does when its input is closed, or else it is killed."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()
