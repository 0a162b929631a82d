"""What each format file declares about itself, and the raw content that its reader returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pcinv.io.source import Source
from pcinv.types import Mesh, PointCloud

Array: TypeAlias = NDArray[Any]


@dataclass
class Raw:
    """What a reader found, before it is checked and put near an origin.

    xyz : (N, 3) of any real type.  faces : (F, 3) int64 below N, or None for a cloud.
    origin : (3,) float64 when the file itself stores coordinates relative to one.
    view_point : (3,) float64 absolute place of the sensor, where the file tells it.
    """

    xyz: Array
    attributes: dict[str, Array] = field(default_factory=dict)
    faces: NDArray[np.int64] | None = None
    origin: NDArray[np.float64] | None = None
    view_point: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Format:
    """One row of the table of formats.

    sniff : tells from a `Source` whether the content is of this format.
    magic : the format always starts with its own mark, so a file without it is something else.
    write : returns the names of what the format cannot keep.
    keeps_view_point : it writes where a cloud was seen from.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Source], Raw]
    sniff: Callable[[Source], bool] | None = None
    magic: bool = False
    write: Callable[[BinaryIO, PointCloud | Mesh], list[str]] | None = None
    writes_clouds: bool = True
    writes_meshes: bool = False
    keeps_view_point: bool = False
    about: str = ""
