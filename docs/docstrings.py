"""Turn the docstrings of pcinv into Markdown for the Python reference.

They say `name : what it is`, below headings underlined with dashes or in a plain paragraph. Here a
heading becomes bold, and each name an item of a list.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

FIELD = re.compile(r"^(?=\S)([\w*][\w, *.]*?) : (.*)$")


def to_markdown(text: str) -> str:
    """Return a docstring as Markdown.

    >>> to_markdown("Do.\\n\\nRaises\\n------\\nInputError : too few.")
    'Do.\\n\\n**Raises**\\n\\n- `InputError`: too few.'
    """
    lines: list[str] = []
    in_list = False
    for line in re.sub(r"^(\w+)\n-{3,}$", r"**\1**\n", text, flags=re.M).splitlines():
        for part in split_fields(line):
            found = FIELD.match(part)
            if found:
                lines += [] if in_list or not lines or not lines[-1] else [""]
                lines.append(f"- `{found[1]}`: {found[2]}")
                in_list = True
            elif in_list and part.startswith("    "):
                lines.append("  " + part.strip())
            else:
                in_list = in_list and not part.strip()
                lines += [""] if lines and lines[-1].startswith(("- ", "  ")) and part else []
                lines.append(part)
    return examples_as_code("\n".join(lines))


def split_fields(line: str) -> list[str]:
    """Split `a : one.  b : two.`, as short fields share a line."""
    return re.split(r"(?<=\.)  (?=[\w*][\w, *.]*? : )", line) if FIELD.match(line) else [line]


def examples_as_code(text: str) -> str:
    """Put lines that begin with `>>>`, and what follows them, into a block."""
    return re.sub(r"(^>>> .*(?:\n.+)*)", r"```pycon\n\1\n```", text, flags=re.M)


class Docstrings(griffe.Extension):
    """Apply `to_markdown` to every docstring that is loaded."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object in place."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
