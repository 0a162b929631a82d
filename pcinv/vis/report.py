"""A page that holds all that it shows: words, tables, figures and pictures in one HTML file."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pcinv.errors import ShapeError
from pcinv.io.writing import replacing
from pcinv.vis.figures import legible, svg_of
from pcinv.vis.scene import Scene

Image = UInt8[np.ndarray, "h w 3"]
Key = Sequence[tuple[str, tuple[int, int, int]]]
"""Words, and the colour that stands for them."""
QUALITY = 88
"""Of pictures, in WebP: a tenth of the size of PNG."""
_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+(e[-+]?\d+)?( ?%|°| \w{1,3})?")

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5c5c5c; --page: #fff; --line: #d8d8d8;
  --band: #f5f6f7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a8a8a8; --page: #16181b;
  --line: #3a3d42; --band: #1f2226; } }
@media print { :root { --ink: #000; --soft: #444; --page: #fff; --line: #bbb; --band: #fff; }
  h2, h3 { break-after: avoid; } figure, tr { break-inside: avoid; } main { max-width: none; } }
body { margin: 0; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
p { max-width: 46rem; margin: .6rem 0; overflow-wrap: anywhere; }
pre { background: var(--band); border: 1px solid var(--line); border-radius: 4px;
  padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .28rem .9rem .28rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--line); font-weight: 600; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.facts th { font-weight: 400; color: var(--soft); min-width: 6rem; }
.facts th, .facts td { overflow-wrap: anywhere; }
figure { margin: .8rem 0; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .25rem; white-space: pre-line;
  overflow-wrap: anywhere; }
.plot { display: inline-block; vertical-align: top; max-width: 100%; box-sizing: border-box;
  margin: 0 0 .4rem; padding-right: 1.5rem; }
.plot .wide { margin: .4rem 0; }
.plot svg { display: block; max-width: 100%; height: auto; }
.key { display: inline-block; margin-right: .7rem; }
.key i { display: inline-block; border: .42em solid; border-radius: 2px;
  margin-right: .35em; }
svg { color: var(--ink); }
img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 4px; }
.grid { display: grid; gap: 1rem; margin: .8rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(var(--least), 100%), 1fr)); }
.grid figure { margin: 0; }
"""
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'{scripts}">
"""


class Report:
    """A page in parts, from the top to the bottom; each call adds one.

    Words may hold anything: they are shown as they are. The page loads nothing from outside, has
    no scripts unless it shows a scene, and follows the reader's choice of light or dark.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []
        self._figures = 0
        self._scenes = 0

    def heading(self, words: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{_text(words)}</h2>")

    def text(self, words: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{_text(words)}</p>")

    def code(self, words: str) -> None:
        """Add what was typed, such as a command."""
        self._parts.append(f"<pre>{_text(words)}</pre>")

    def facts(self, values: Mapping[str, Any]) -> None:
        """Add names with their values, one a line."""
        rows = "".join(f'<tr><th scope="row">{_text(name)}</th><td>{_text(readable(value))}</td>'
                       "</tr>\n" for name, value in values.items())
        self._parts.append(f'<div class="wide"><table class="facts"><tbody>\n{rows}</tbody></table>'
                           "</div>")

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table; columns of numbers are set right.

        Raises ShapeError for a row of another length than the headers.
        """
        cells = [[readable(value) for value in row] for row in rows]
        for row in cells:
            if len(row) != len(headers):
                raise ShapeError(f"a row of {len(row)} cells below {len(headers)} headers",
                                 where="table", hint="one cell for each header")
        right = [all(_is_number(row[k]) for row in cells) and bool(cells)
                 for k in range(len(headers))]
        head = "".join(_cell("th", word, number)
                       for word, number in zip(headers, right, strict=True))
        body = "".join(f"<tr>{''.join(map(_cell, ['td'] * len(row), row, right))}</tr>\n"
                       for row in cells)
        self._parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
                           f"<tbody>\n{body}</tbody></table></div>")

    def figure(self, figure: Any, caption: str = "") -> None:
        """Add a matplotlib figure as lines and letters; small ones come to stand side by side."""
        self._figures += 1
        drawing = svg_of(figure, f"figure{self._figures}", ink="currentColor")
        self._parts.append(f'<figure class="plot"><div class="wide">{drawing}</div>'
                           f"{_caption(caption)}</figure>")

    def picture(self, image: Image, caption: str = "") -> None:
        """Add a picture (H, W, 3) uint8."""
        self._parts.append(_picture(image, caption))

    def pictures(self, images: Iterable[tuple[Image, str] | tuple[Image, str, Key]],
                 least_rem: float = 15) -> None:
        """Add pictures with their captions side by side, in rows as long as the page is wide.

        images : each with its caption, and the key of its colours if it has one.
        least_rem : how wide each one is at least, in letters' heights.
        """
        inner = "\n".join(_picture(*each) for each in images)
        self._parts.append(f'<div class="grid" style="--least: {least_rem:g}rem">{inner}</div>')

    def scene(self, scene: Scene) -> None:
        """Add a scene that can be turned."""
        from pcinv.vis.html import scene_div

        self._scenes += 1
        self._parts.append(f"<figure>{scene_div(scene)}</figure>")

    def html(self) -> str:
        """Return the page."""
        from pcinv.vis.html import page_script

        title = _text(self.title)
        head = HEAD.format(scripts="; script-src 'unsafe-inline'" if self._scenes else "")
        script = page_script() if self._scenes else ""
        return (f"{head}<title>{title}</title>\n<style>{STYLE}</style>\n{script}</head>\n"
                f"<body><main>\n"
                f"<h1>{title}</h1>\n" + "\n".join(self._parts) + "\n</main></body>\n</html>\n")

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the page; the file appears whole or not at all.

        Raises UsageError where a file is there and not `force`, or the folder is not; LimitError
        where the disk is full.
        """
        page = self.html().encode("utf-8", "replace")  # names of files may be no valid text
        with replacing(Path(path), force=force) as stream:
            stream.write(page)


def readable(value: Any, digits: int = 4) -> str:
    """Return a short text for a plain value: "-" for what is not known, lists without brackets."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {readable(item, digits)}" for name, item in value.items()
                         ) or "none"
    if isinstance(value, list | tuple):
        are_ends = len(value) == 2 and all(isinstance(item, list | tuple) for item in value)
        return (" to " if are_ends else ", ").join(readable(item, digits) for item in value
                                                   ) or "none"
    return str(value)


def _text(words: str) -> str:
    return html.escape(legible(words))


def _is_number(cell: str) -> bool:
    return cell == "-" or _NUMBER.fullmatch(cell) is not None


def _cell(tag: str, words: str, is_number: bool) -> str:
    kind = ' class="number"' if is_number else ""
    scope = ' scope="col"' if tag == "th" else ""
    return f"<{tag}{kind}{scope}>{_text(words)}</{tag}>"


def _caption(words: str, key: Key = ()) -> str:
    colors = "".join(f' <span class="key"><i style="border-color: #{bytes(color).hex()}"></i>'
                     f"{_text(name)}</span>" for name, color in key)
    return f"<figcaption>{_text(words)}{colors}</figcaption>" if words or key else ""


def _picture(image: Image, caption: str, key: Key = ()) -> str:
    from PIL import Image as pillow

    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ShapeError(f"a picture of shape {pixels.shape} and type {pixels.dtype}",
                         where="picture", hint="(H, W, 3) uint8")
    stream = io.BytesIO()
    pillow.fromarray(pixels).save(stream, "WEBP", quality=QUALITY)
    data = base64.b64encode(stream.getvalue()).decode()
    height, width = pixels.shape[:2]
    words = [caption, ", ".join(name for name, _ in key)]
    alternative = _text(" ".join(words).strip() or "picture")
    return (f'<figure><img src="data:image/webp;base64,{data}" width="{width}" height="{height}" '
            f'alt="{alternative}">{_caption(caption, key)}</figure>')
