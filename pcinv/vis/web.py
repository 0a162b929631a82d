"""The scene as a page for a browser on this machine, or behind a tunnel to it."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pcinv.errors import DependencyError, UsageError
from pcinv.vis.frames import Frames
from pcinv.vis.scene import Scene
from pcinv.vis.web_page import Page
from pcinv.vis.window_signals import Ending

HOST = "127.0.0.1"
"""Never another: the page has no password."""
FIRST_PORT = 8080
TICK_SECONDS = 0.05
_OURS = re.compile(r"http://(localhost|127\.0\.0\.1)(:\d+)?")
"""Pages that may talk to the server; any other page that a person has open may not."""


def serve(what: Scene | Frames, *, port: int | None = None, open_browser: bool = True,
          look: str | tuple[float, ...] = "iso", up: str = "auto",
          point_size: float | None = None, format: str | None = None,
          ready: Callable[[str], None] | None = None,
          stop: threading.Event | None = None) -> None:
    """Show a scene, or a sequence of scans, in a browser until Ctrl-C, SIGTERM or `stop`.

    Only programs of this machine can reach the page; from another one: ssh -L 8080:localhost:8080.

    port : the one to listen at; None: 8080, or the next one that is free.
    open_browser : open the page, where there is a browser with windows.
    look, up : see `camera_for`.
    point_size : diameter in pixels at first; None: the more points, the smaller.
    format : of the files, for crops, which are cut from the files again.
    ready : is told the address.
    stop : ends it when it is set.

    Raises DependencyError without viser, UsageError for a port that is taken or a view that does
    not exist, and what `Frames.scene` raises for the first scan.
    """
    with Ending() as ending:
        page = Page(what, look, up, point_size, format)
        server = _listening(port)
        with _stopped(server):
            page.fill(server)
            address = f"http://{HOST}:{server.get_port()}"
            if ready is not None:
                ready(address)
            if open_browser and not ending.asked:
                _open(address)
            while not ending.asked and not (stop is not None and stop.is_set()):
                page.tick(time.monotonic())
                time.sleep(TICK_SECONDS)


def _listening(port: int | None) -> Any:
    """Return a server of viser at a port of this machine.

    Raises DependencyError, UsageError as `serve` does.
    """
    try:
        import viser
    except ImportError as error:
        raise DependencyError("viser is not installed", where="web page",
                              hint="pip install 'pcinv[web]'") from error
    if port is not None:
        _check_free(port)
    with _quiet(), _own_pages_only():
        server: Any = viser.ViserServer(HOST, FIRST_PORT if port is None else port, verbose=False)
    server.request_share_url = lambda: None  # a client may ask for a tunnel to elsewhere
    if port is not None and server.get_port() != port:  # another program was faster
        with _stopped(server):
            raise _taken(port)
    return server


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise UsageError(f"port {port} is for the administrator", where="--port",
                             hint=f"--port {FIRST_PORT}") from error
        except OSError as error:
            raise _taken(port) from error


def _taken(port: int) -> UsageError:
    return UsageError(f"port {port} is in use", where="--port",
                      hint=f"--port {port + 1 if port < 65535 else FIRST_PORT}, or leave it out")


@contextlib.contextmanager
def _stopped(server: Any) -> Iterator[None]:
    """Stop a server at the end."""
    try:
        yield
    finally:
        with _quiet():
            server.stop()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep viser's banner off the standard output, which is for results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def _own_pages_only() -> Iterator[None]:
    """Have a server that is started here refuse what a page of another origin sends.

    viser has no setting for it, but the function of websockets that it calls has.
    """
    from websockets.asyncio import server

    plain = server.serve
    vars(server)["serve"] = functools.partial(plain, origins=[_OURS])
    try:
        yield
    finally:
        vars(server)["serve"] = plain


def _open(address: str) -> None:
    """Open a page, unless the only browser is one that takes the terminal."""
    import webbrowser

    with contextlib.suppress(webbrowser.Error):
        found = webbrowser.get()
        plain = isinstance(found, webbrowser.GenericBrowser)
        if not plain or isinstance(found, webbrowser.BackgroundBrowser):
            found.open(address)
