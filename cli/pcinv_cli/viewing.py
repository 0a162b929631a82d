"""Showing a scene to a person: in a window, or in a page where there is no display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcinv.errors import DependencyError, DeviceError
from pcinv_cli.output import Talk

if TYPE_CHECKING:
    from pcinv.vis.frames import Frames
    from pcinv.vis.scene import Scene

MOST_SHOWN = 2_000_000
"""Points that are drawn, unless a person says otherwise."""
WINDOW_KEYS = "H help, C colours, +/- size of points, R reset, S picture, Q close"


def show(talk: Talk, what: Scene | Frames, *, web: bool = False, port: int | None = None,
         browser: bool = True, **view: Any) -> dict[str, Any]:
    """Show until the person closes it, Ctrl-C or SIGTERM; return where it was shown.

    view : `look`, `up`, `point_size`, and `format` where the content of files does not tell.

    Raises DependencyError, with what to install or ask for instead, where neither works.
    """
    if not web:
        from pcinv.vis.window import show as show_window

        try:
            show_window(what, said=talk.say, ready=lambda: talk.say(
                f"showing a window; keys: {WINDOW_KEYS}"), **view)
            return {"shown": "window", "address": None}
        except DeviceError as error:
            talk.warn("no-window", f"{error.message}: the page is shown instead")
    return {"shown": "web", "address": _serve(talk, what, port, browser, view)}


def show_also(talk: Talk, scene: Scene) -> None:
    """Show what a verb has found; that it cannot be shown is a warning, and the answer stays."""
    try:
        show(talk, scene)
    except DependencyError as error:
        talk.warn("not-shown", f"not shown: {error.message}; {error.hint}")


def _serve(talk: Talk, what: Scene | Frames, port: int | None, browser: bool,
           view: dict[str, Any]) -> str:
    from pcinv.vis.web import serve

    address: list[str] = []

    def ready(found: str) -> None:
        address.append(found)
        talk.say(f"showing at {found} (Ctrl-C ends it)")

    try:
        serve(what, port=port, open_browser=browser, ready=ready, **view)
    except DependencyError as error:
        raise DependencyError(error.message, where=error.where,
                              hint=f"{error.hint}; or --screenshot p.png, --html p.html") from error
    return address[0]
