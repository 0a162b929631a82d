"""Motions as text: four lines of four numbers, after a comment that says what they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pcinv.errors import FileFormatError
from pcinv.io.source import open_source

_HINT = "four lines of four numbers: a rotation, a translation, and 0 0 0 1 (T_target_source)"
ROUNDING = 1e-3
"""Matrices that were written with three digits are still rigid."""
_MOST_BYTES = 100_000


def pose_text(T_target_source: Float[np.ndarray, "4 4"], words: str) -> str:
    """Return a matrix as text that numpy.loadtxt reads to the last bit.

    words : one line for people, of which frames these are.
    """
    rows = [" ".join(repr(float(value)) for value in row) for row in T_target_source]
    comment = "".join(c if c.isprintable() else "?" for c in words)
    return "\n".join([f"# T_target_source: {comment}", *rows]) + "\n"


def read_pose(path: str | os.PathLike[str]) -> Float[np.ndarray, "4 4"]:
    """Read a rigid motion; lines that are blank or begin with # do not count.

    The rotation is made exactly one where the file has it with few digits.

    Raises FileFormatError, with file and line, where it is missing, no 4x4 matrix, or not rigid.
    """
    rows, lines = [], []
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split("#")[0].replace(",", " ").split()
        if words:
            rows.append(_numbers(words, f"{path}:{number}"))
            lines.append(number)
    if len(rows) != 4:
        at = lines[min(len(lines), 5) - 1] if lines else 1
        raise FileFormatError(f"{len(rows)} rows, a motion has 4", where=f"{path}:{at}",
                              hint=_HINT)
    pose = np.array(rows)
    for row, line_number in zip(range(4), lines, strict=True):
        said = _wrong(pose, row)
        if said:
            raise FileFormatError(f"no rigid motion: {said}", where=f"{path}:{line_number}",
                                  hint=_HINT)
    u, _, vt = np.linalg.svd(pose[:3, :3])
    pose[:3, :3] = u @ vt
    return pose


def _wrong(pose: Float[np.ndarray, "4 4"], row: int) -> str:
    """Return what keeps a row from being that of a rigid motion, given the rows above."""
    if row == 3:
        return "" if (pose[3] == (0, 0, 0, 1)).all() else "the last row is not 0 0 0 1"
    r = pose[:3, :3]
    length = float(np.linalg.norm(r[row]))
    if abs(length - 1) > ROUNDING:
        return f"row {row + 1} of the rotation is {length:.4g} long, not 1"
    if np.abs(r[:row] @ r[row]).max(initial=0.0) > ROUNDING:
        return f"row {row + 1} of the rotation is not perpendicular to those above"
    if row == 2 and np.linalg.det(r) < 0:
        return "it is a mirror image"
    return ""


def _text(path: str | os.PathLike[str]) -> str:
    source = open_source(path)
    if source.size > _MOST_BYTES:
        raise FileFormatError(f"{source.size:,} bytes, too many for a 4x4 matrix",
                              where=str(Path(path)), hint=_HINT)
    try:
        return bytes(source.data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError("no text", where=str(Path(path)), hint=_HINT) from error


def _numbers(words: list[str], where: str) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise FileFormatError(f"no number: {str(error).rpartition(': ')[2]}", where=where,
                              hint=_HINT) from error
    if len(values) != 4 or not np.isfinite(values).all():
        said = "a value that is not finite" if len(values) == 4 else f"{len(values)} numbers"
        raise FileFormatError(f"{said}, expected 4 numbers in a row", where=where, hint=_HINT)
    return values
