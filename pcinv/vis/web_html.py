"""Small pieces of HTML for the panel of the page; words of files are text in them."""

from __future__ import annotations

import html

import numpy as np

from pcinv.vis.colors import Legend, bar_colors
from pcinv.vis.fit import bar_numbers, hex_color

_STYLE = "padding: 0 .8em .5em; font-size: .85em; overflow-wrap: anywhere"


def padded(content: str) -> str:
    """Return HTML with the margins that the other parts of the panel have."""
    return f'<div style="{_STYLE}">{content}</div>'


def plain_text(words: str) -> str:
    """Return words, with their line ends, as HTML."""
    return f'<div style="{_STYLE}; white-space: pre-wrap">{html.escape(words)}</div>'


def legend_html(legend: Legend) -> str:
    """Return a colour bar with its numbers, or a swatch and words for each kind, as HTML."""
    parts = [f"<div>{html.escape(legend.title)}</div>"]
    for words, color in legend.entries:
        parts.append(f'<div><span style="color: {hex_color(color)}">⬤</span> '
                     f"{html.escape(words)}</div>")
    if legend.low is not None and legend.high is not None:
        shades = ", ".join(hex_color(color) for color in bar_colors(np.linspace(0, 1, 16)))
        parts.append(f'<div style="height: .9em; background: linear-gradient(to right, {shades})">'
                     '</div><div style="position: relative; height: 1.5em">')
        span = legend.high - legend.low
        for value, words in bar_numbers(legend.low, legend.high):
            share = 100 * (value - legend.low) / span if span > 0 else 50.0
            parts.append('<span style="position: absolute; white-space: nowrap; '
                         f'left: {share:.1f}%; '
                         f'transform: translateX(-{share:.1f}%)">{words}</span>')
        parts.append("</div>")
    return "".join(parts)
