"""Small pieces of HTML for the panel of the page; words of files are text in them."""

from __future__ import annotations

import html

import numpy as np

from pcinv.vis.colors import Legend, bar_colors
from pcinv.vis.fit import ends_in_words, hex_color

_STYLE = "padding: 0 .8em .5em; font-size: .85em; overflow-wrap: anywhere"


def padded(content: str) -> str:
    """Return HTML with the margins that the other parts of the panel have."""
    return f'<div style="{_STYLE}">{content}</div>'


def plain_text(words: str) -> str:
    """Return words, with their line ends, as HTML."""
    return f'<div style="{_STYLE}; white-space: pre-wrap">{html.escape(words)}</div>'


def legend_html(legend: Legend) -> str:
    """Return a colour bar with its ends, or a swatch and words for each kind, as HTML."""
    parts = [f"<div>{html.escape(legend.title)}</div>"]
    for words, color in legend.entries:
        parts.append(f'<div><span style="color: {hex_color(color)}">⬤</span> '
                     f"{html.escape(words)}</div>")
    if legend.low is not None and legend.high is not None:
        shades = ", ".join(hex_color(color) for color in bar_colors(np.linspace(0, 1, 16)))
        parts.append(f'<div style="height: .9em; background: linear-gradient(to right, {shades})">'
                     '</div><div style="display: flex; justify-content: space-between">')
        parts += [f"<span>{words}</span>" for words in ends_in_words(legend.low, legend.high)]
        parts.append("</div>")
    return "".join(parts)
