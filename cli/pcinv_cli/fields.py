"""Plain values as lines for a person: one field a line, nested ones indented."""

from __future__ import annotations

import textwrap
from typing import Any

from pcinv_cli.output import Talk

_NAME, _LINE, _DIGITS = 16, 100, 6


def show_fields(talk: Talk, fields: dict[str, Any], indent: str = "") -> None:
    """Print the fields of a plain dict; long texts and lists are wrapped, nested dicts indented."""
    from pcinv.vis.report import readable

    for key, value in fields.items():
        name = f"{indent}{key.replace('_', ' '):<{_NAME}}"
        nested = isinstance(value, dict) and any(isinstance(v, list | dict) for v in value.values())
        if nested:
            talk.result(name.rstrip())
            show_fields(talk, value, indent + "  ")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            talk.result(name.rstrip())
            for item in value:
                _show_line(talk, f"{indent}  ", readable(item, _DIGITS))
        else:
            count = f"({len(value)}) " if isinstance(value, list) and len(value) > 8 else ""
            _show_line(talk, f"{name} ", count + readable(value, _DIGITS))


def _show_line(talk: Talk, start: str, text: str) -> None:
    lines = textwrap.wrap(" ".join(text.split()), max(40, _LINE - len(start)),
                          break_long_words=False, break_on_hyphens=False)
    talk.result((start + (lines[0] if lines else "-")).rstrip())
    for line in lines[1:]:
        talk.result(" " * len(start) + line)
