"""Files with a pose for each scan: KITTI's 12 numbers a line, and TUM's 8.

KITTI: the upper 3x4 part of T_world_sensor, row by row. TUM: stamp x y z qx qy qz qw. Blank lines
and those that begin with # do not count. Numbers are written so that they are read to the last bit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pcinv.errors import FileFormatError, ShapeError, UsageError, unknown_name
from pcinv.io.source import open_source
from pcinv.io.writing import replacing

COLUMNS = {"kitti": 12, "tum": 8}
"""Format -> numbers in a line."""
MAX_SKEW = 0.02
"""Largest entry of R R^T - I, or of |q| - 1, that is taken for rounding and mended."""
MAX_BYTES = 2**28
_HINT = "a line for each pose: 12 numbers (KITTI), or stamp x y z qx qy qz qw (TUM)"


class Trajectory(NamedTuple):
    """Poses in the order of the file.

    poses : (M, 4, 4) float64 T_world_sensor, each rotation exactly one.
    stamps : (M,) float64 seconds, or None where the format has none.
    """

    poses: Float[np.ndarray, "m 4 4"]
    stamps: Float[np.ndarray, " m"] | None


def read_trajectory(path: str | os.PathLike[str], format: str | None = None) -> Trajectory:
    """Read a file of poses.

    format : "kitti" or "tum"; None: what the first line says.

    Raises FileFormatError, with file and line, for lines that are no pose; UnknownNameError for an
    unknown format.
    """
    if format is not None and format not in COLUMNS:
        raise unknown_name("format of poses", format, COLUMNS, where="format")
    rows, lines = read_number_lines(path, () if format is None else (COLUMNS[format],))
    columns = rows.shape[1]
    if columns not in COLUMNS.values():
        raise FileFormatError(f"{columns} numbers in a line are no pose",
                              where=f"{path}:{lines[0]}", hint=_HINT)
    if columns == COLUMNS["kitti"]:
        return Trajectory(_of_matrices(rows, path, lines), None)
    return Trajectory(_of_quaternions(rows, path, lines), rows[:, 0].copy())


def read_number_lines(path: str | os.PathLike[str], columns: tuple[int, ...] = ()
                      ) -> tuple[Float[np.ndarray, "m c"], list[int]]:
    """Return the finite numbers of a text file, as many in each line, and the number of each line.

    columns : how many there may be; those of the first line if empty.

    Raises FileFormatError, with file and line.
    """
    source = open_source(path)
    if source.size > MAX_BYTES:
        raise source.error(f"{source.size} bytes are too many for a text of poses or stamps")
    try:
        text = bytes(source.data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise source.error("no text", hint=_HINT) from error
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        allowed = columns or ((len(rows[0]),) if rows else (len(words),))
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise source.error(f"no number: {str(error).rpartition(': ')[2]}", line=number,
                               hint=_HINT) from error
        if len(row) not in allowed:
            raise source.error(
                f"{len(row)} numbers in a line, expected {' or '.join(map(str, allowed))}",
                line=number, hint=_HINT)
        rows.append(row)
        lines.append(number)
    if not rows:
        raise source.error("the file holds no numbers", hint=_HINT)
    table = np.asarray(rows)
    bad = ~np.isfinite(table).all(1)
    if bad.any():
        raise source.error("a value that is not finite", line=lines[int(bad.argmax())], hint=_HINT)
    return table, lines


def _of_matrices(rows: Float[np.ndarray, "m 12"], path: str | os.PathLike[str], lines: list[int]
                 ) -> Float[np.ndarray, "m 4 4"]:
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    R = poses[:, :3, :3]
    skew = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max((1, 2))
    bad = ~((skew <= MAX_SKEW) & (np.linalg.det(R) > 0))
    if bad.any():
        raise FileFormatError("the numbers are not a rotation and a shift",
                              where=f"{path}:{lines[int(bad.argmax())]}", hint=_HINT)
    poses[:, :3, :3] = nearest_rotations(R)
    return poses


def _of_quaternions(rows: Float[np.ndarray, "m 8"], path: str | os.PathLike[str], lines: list[int]
                    ) -> Float[np.ndarray, "m 4 4"]:
    length = np.linalg.norm(rows[:, 4:], axis=1)
    bad = ~(np.abs(length - 1) <= MAX_SKEW)
    if bad.any():
        k = int(bad.argmax())
        raise FileFormatError(f"the quaternion has length {length[k]:.4g}, not 1",
                              where=f"{path}:{lines[k]}", hint=_HINT)
    return poses_of(rows[:, [7, 4, 5, 6]], rows[:, 1:4])


def nearest_rotations(matrices: Float[np.ndarray, "m 3 3"]) -> Float[np.ndarray, "m 3 3"]:
    """Return the rotation nearest to each matrix of positive determinant, in Frobenius norm."""
    u, _, vt = np.linalg.svd(matrices)
    return np.asarray(u @ vt)


def poses_of(quaternions: Float[np.ndarray, "m 4"], places: Float[np.ndarray, "m 3"]
             ) -> Float[np.ndarray, "m 4 4"]:
    """Return the (M, 4, 4) poses of quaternions (w, x, y, z), of any length, and places."""
    q = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    w, x, y, z = q.T
    poses = np.tile(np.eye(4), (len(q), 1, 1))
    R = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                  2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                  2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1)
    poses[:, :3, :3], poses[:, :3, 3] = R.reshape(-1, 3, 3), places
    return poses


def trajectory_text(poses: Float[np.ndarray, "m 4 4"],
                    stamps: Float[np.ndarray, " m"] | None = None, format: str = "kitti") -> str:
    """Return poses as the text of a file.

    stamps : seconds; TUM needs them, KITTI has no place for them.

    Raises ShapeError, UsageError, UnknownNameError for what does not fit together.
    """
    if format not in COLUMNS:
        raise unknown_name("format of poses", format, COLUMNS, where="format")
    poses = np.asarray(poses, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise ShapeError(f"poses of shape {poses.shape}", where="poses", hint="(M, 4, 4)")
    if format == "kitti":
        rows = poses[:, :3].reshape(-1, 12)
    else:
        if stamps is None:
            raise UsageError("TUM's format needs stamps", where="stamps",
                             hint="give the seconds of each pose, or write format kitti")
        if np.shape(stamps) != (len(poses),):
            raise ShapeError(f"stamps of shape {np.shape(stamps)} for {len(poses)} poses",
                             where="stamps", hint="one for each pose")
        from scipy.spatial.transform import Rotation

        turns = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
        rows = np.column_stack([stamps, poses[:, :3, 3], turns])
    return "".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist())


def write_trajectory(path: str | os.PathLike[str], poses: Float[np.ndarray, "m 4 4"],
                     stamps: Float[np.ndarray, " m"] | None = None, *, format: str = "kitti",
                     force: bool = False) -> None:
    """Write poses; the file is whole or not there.

    Raises what `trajectory_text` does, UsageError where the file exists and not `force`.
    """
    text = trajectory_text(poses, stamps, format)
    with replacing(Path(path), force=force) as stream:
        stream.write(text.encode())
