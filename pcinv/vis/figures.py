"""The one style of all figures, and how they become files or parts of a page."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from pcinv.errors import UsageError
from pcinv.io.writing import replacing

SUFFIXES = (".png", ".svg", ".pdf")
INK = "#1a1a1a"
STYLE: Any = {
    "font.size": 9.0, "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0, "ytick.labelsize": 8.0, "legend.fontsize": 8.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.15,
    "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.6,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "grid.color": INK, "text.parse_math": False,  # names may hold dollars
}
P = ParamSpec("P")


def styled(draw: Callable[P, Any]) -> Callable[P, Any]:
    """Have a function draw in the one style."""
    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


def blank(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, list[Any]]:
    """Return an empty figure of a size in inches, and its axes in the order of reading."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).reshape(-1))


def save_figure(figure: Any, path: str | Path, *, force: bool = False) -> None:
    """Write a figure as png, svg or pdf, by the suffix; the file appears whole or not at all.

    Raises UsageError for another suffix, or where a file is there and not `force`.
    """
    import matplotlib

    suffix = check_suffix(path)
    stream = io.BytesIO()
    if suffix == ".svg":
        stream.write(svg_of(figure, "pcinv").encode())
    else:
        with matplotlib.rc_context(STYLE):
            figure.savefig(stream, format=suffix[1:], dpi=150, facecolor="white")
    with replacing(Path(path), force=force) as out:
        out.write(stream.getvalue())


def check_suffix(path: str | Path, more: tuple[str, ...] = ()) -> str:
    """Return the suffix of a file for a figure in small letters, or raise UsageError."""
    suffix = Path(path).suffix.lower()
    if suffix not in (*SUFFIXES, *more):
        raise UsageError(f"'{suffix}' is no suffix of a figure", where=str(path),
                         hint=", ".join((*SUFFIXES, *more)))
    return suffix


def legible(words: str) -> str:
    """Return words with a mark for what no figure or page can hold: controls, broken letters."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]",
                  "\N{REPLACEMENT CHARACTER}", words)


def svg_of(figure: Any, salt: str, ink: str | None = None) -> str:
    """Return a figure as an element <svg> that refers to nothing outside.

    salt : what its names within a page begin from; another one for each figure of a page.
    ink : colour of lines and letters in place of `INK`, on no background.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(stream, format="svg", transparent=ink is not None,
                       metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<svg"):]
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawing)
    if ink is not None:
        drawing = re.sub(rf'style="[^"<>]*{INK}[^"<>]*"',
                         lambda found: found[0].replace(INK, ink), drawing)
    return drawing
