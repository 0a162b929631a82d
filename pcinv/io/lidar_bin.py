"""KITTI-style .bin: float32 rows x y z intensity, or x y z intensity ring as nuScenes has them."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from pcinv.io.columns import coordinates
from pcinv.io.format import Array, Format, Raw
from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

_NAMES = ("x", "y", "z", "intensity", "ring")
_FARTHEST = 1e6  # metres; no lidar sees that far, random bytes do
_SHARE = 0.99


def read_bin(source: Source) -> Raw:
    """Read rows of 4 or 5 float32; size and values decide, and a decision is told."""
    fitting = [c for c in (4, 5) if source.size % (4 * c) == 0]
    if not fitting:
        raise source.error(
            f"{source.size} bytes are not rows of 4 or 5 float32 (16 or 20 bytes)",
            hint="get the file again, or convert it to npy with its own number of columns",
        )
    plausible = [c for c in fitting if _plausible(_rows(source, c))]
    if not plausible:
        raise source.error(
            f"the values are not coordinates (rows of {' or '.join(map(str, fitting))} float32)",
            hint="is this a scan of x, y, z, intensity?",
        )
    columns = plausible[0]
    if len(plausible) > 1 and _is_ring(_rows(source, 5)[:, 4]):
        columns = 5
    if len(fitting) > 1 or columns == 5:
        other = 9 - columns
        reason = "the size does not fit" if other not in fitting else "the values do not fit"
        if len(plausible) > 1:
            reason = (
                "the fifth column is a ring number"
                if columns == 5
                else "the fifth is no ring number"
            )
        source.warn(
            f"read as rows of {columns} float32 ({' '.join(_NAMES[:columns])}), not {other}:"
            f" {reason};"
            f" format bin{other} would read rows of {other}"
        )
    return _raw(source, columns)


def read_bin4(source: Source) -> Raw:
    """Read rows of x y z intensity."""
    return _raw(source, 4)


def read_bin5(source: Source) -> Raw:
    """Read rows of x y z intensity ring."""
    return _raw(source, 5)


def _rows(source: Source, columns: int) -> Array:
    return np.frombuffer(source.data, "<f4").reshape(-1, columns)


def _raw(source: Source, columns: int) -> Raw:
    if source.size % (4 * columns):
        raise source.error(
            f"{source.size} bytes are not rows of {columns} float32 ({4 * columns} bytes)",
            byte=source.size - source.size % (4 * columns),
        )
    source.check_count(source.size // (4 * columns), "points")
    rows = _rows(source, columns)
    attributes = {
        name: np.ascontiguousarray(rows[:, k]) for k, name in enumerate(_NAMES[3:columns], 3)
    }
    return Raw(rows[:, :3], attributes)


def _plausible(rows: Array) -> bool:
    """Tell whether nearly all rows have coordinates in reach, no negative intensity, a ring."""
    good = np.isfinite(rows[:, :3]).all(1) & (np.abs(rows[:, :3]) < _FARTHEST).all(1)
    share = float((good & (rows[:, 3] >= 0)).mean())
    return share >= _SHARE and (rows.shape[1] == 4 or _is_ring(rows[:, 4]))


def _is_ring(values: Array) -> bool:
    return bool(((values >= 0) & (values < 1024) & (values == np.floor(values))).mean() >= _SHARE)


def write_bin(stream: BinaryIO, data: PointCloud | Mesh) -> list[str]:
    """Write x y z intensity; intensity is zero where there is none."""
    xyz = coordinates(data)
    intensity = data.attributes.get("intensity")
    plain = intensity is not None and intensity.ndim == 1 and intensity.dtype.kind in "biuf"
    rows = np.zeros((len(data), 4), "<f4")
    rows[:, :3] = xyz
    if plain and intensity is not None:
        rows[:, 3] = intensity
    stream.write(rows.tobytes())
    lost = ["digits beyond float32"] if xyz.dtype == np.float64 else []
    return lost + [name for name in data.attributes if name != "intensity" or not plain]


FORMATS = [
    Format(
        "bin", (".bin",), read_bin, write=write_bin, about="lidar scans, float32 rows of 4 or 5"
    ),
    Format("bin4", (), read_bin4, about="x y z intensity, by name only"),
    Format("bin5", (), read_bin5, about="x y z intensity ring, by name only"),
]
