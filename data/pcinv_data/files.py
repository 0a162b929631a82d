"""Reading of lists, tables and single shapes for the loaders, with errors that name the line."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError
from pcinv_data.dataset import Raw


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that is not blank."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"the list cannot be read: {error}", where=str(file),
                           hint="get this file again") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def read_table(file: Path, columns: int) -> np.ndarray:
    """Read a text file of numbers (rows, columns), separated by commas or white space."""
    from pcinv.io.rows import scan_rows
    from pcinv.io.source import open_source

    source = open_source(file)
    first = source.head.split(b"\n", 1)[0]
    rows = scan_rows(source, source.data, delimiter=b"," if b"," in first else b"")
    return rows.table(source, columns)


def read_shape(file: Path, num_points: int, seed: int, name: str) -> Raw:
    """Read a cloud, or a mesh sampled by area with the normals of its faces.

    Part labels are taken from an attribute `part` of whole numbers.
    """
    from pcinv.io import read, sample_surface
    from pcinv.types import Mesh

    thing = read(file)
    if isinstance(thing, Mesh):
        own = zlib.crc32(f"{seed}/{name}".encode())
        thing = sample_surface(thing, num_points, own, where=str(file))
    part = thing.attributes.get("part")
    if part is not None and (part.ndim != 1 or part.dtype.kind not in "iu"):
        part = None
    return Raw(thing.xyz, thing.normal, part)
