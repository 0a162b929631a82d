"""The format `tally`: a first line `TALLY n`, then n lines `x y z count`.

    TALLY 2
    0.0 0.0 1.0 17
    0.5 0.0 1.0 3
"""

from __future__ import annotations

import numpy as np

from pcinv.io.format import Format, Raw
from pcinv.io.source import Source


def read(source: Source) -> Raw:
    """Read the points and their counts.

    pcinv has looked at the file already: it is regular, not empty and not too large. What the
    header promises is checked here, before anything is allocated.
    """
    header, _, body = source.data.partition(b"\n")
    words = header.split()
    if len(words) != 2 or not words[1].isdigit():
        raise source.error("the first line is not 'TALLY n'", line=1)
    promised = int(words[1])
    source.check_count(promised, "points")
    rows = body.split(b"\n")[:-1] if body.endswith(b"\n") else body.split(b"\n")
    if len(rows) != promised:
        raise source.error(f"the first line promises {promised} points, there are {len(rows)}")
    try:
        table = np.array([row.split() for row in rows], dtype=np.float64)
    except ValueError as error:
        raise source.error(f"a row is not four numbers: {error}") from error
    if table.ndim != 2 or table.shape[1] != 4:
        raise source.error("a row is not four numbers")
    return Raw(table[:, :3], {"count": table[:, 3].astype(np.int64)})


def is_tally(source: Source) -> bool:
    """Tell from the first bytes whether a file is of this format."""
    return source.head.startswith(b"TALLY ")


TALLY = Format(name="tally", suffixes=(".tally",), read=read, sniff=is_tally, magic=True,
               about="points with a count")
