"""Which pairs are to be registered: a list in a file, or all pairs of the clouds of a folder."""

from __future__ import annotations

import csv
import os
import re
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from pcinv.errors import FileFormatError, InputError
from pcinv.io.formats import format_of_suffix
from pcinv.io.source import open_source

COLUMNS = ("source", "target", "init")
AMBIGUOUS_SUFFIXES = (".txt", ".csv")
"""Files of a folder that are as often matrices and lists as clouds: they are left out."""
_HINT = "the first line is source,target or source,target,init; each other line is a pair"


class Pair(NamedTuple):
    """Two clouds and perhaps a pose to refine, as files relative to one folder."""

    source: str
    target: str
    init: str | None = None


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Read the pairs of a CSV file with the columns source, target and perhaps init.

    Raises FileFormatError, with file and line.
    """
    try:
        text = open_source(path).data.decode("utf-8-sig")
        reader = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"no list of pairs: {error}", where=str(path),
                              hint=_HINT) from error
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise FileFormatError("no list of pairs: no lines", where=str(path), hint=_HINT)
    line, names = rows[0][0], [name.lower() for name in rows[0][1]]
    if names not in (list(COLUMNS[:2]), list(COLUMNS)):
        raise FileFormatError(f"the columns are {', '.join(names)[:80]}", where=f"{path}:{line}",
                              hint=_HINT)
    pairs = []
    for line, row in rows[1:]:
        if len(row) > len(names) or len(row) < 2 or not (row[0] and row[1]):
            raise FileFormatError(f"{len(row)} columns, expected {len(names)}: a source, a target",
                                  where=f"{path}:{line}", hint=_HINT)
        pairs.append(Pair(row[0], row[1], (row[2] if len(row) > 2 else "") or None))
    if not pairs:
        raise FileFormatError("no list of pairs: nothing below the names of the columns",
                              where=str(path), hint=_HINT)
    return list(dict.fromkeys(pairs))


def clouds_of(folder: str | os.PathLike[str], least: int = 2) -> list[str]:
    """Return the names of the clouds and meshes in a folder: 2 comes before 10.

    Raises InputError where there are fewer than `least`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), hint="name a folder with clouds")
    names = [path.name for path in folder.iterdir() if path.is_file() and _is_cloud(path)]
    if len(names) < least:
        raise InputError(f"{len(names)} clouds in this folder, at least {least} needed",
                         where=str(folder), hint="clouds are told by their suffix; .txt and .csv "
                                                 "files are not taken, name them one by one")
    return sorted(names, key=_natural)


def pairs_of(clouds: list[str]) -> list[Pair]:
    """Return all pairs, the later cloud as the source."""
    return [Pair(source, target) for target, source in combinations(clouds, 2)]


def _is_cloud(path: Path) -> bool:
    suffix = path.suffix.lower()
    return (not path.name.startswith(".") and suffix not in AMBIGUOUS_SUFFIXES
            and format_of_suffix(path) is not None)


def _natural(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    parts = re.split(r"(\d+)", name.lower())
    return [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts if p], name
