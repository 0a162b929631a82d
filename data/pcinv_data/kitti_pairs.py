"""LiDAR scans of KITTI about 10 m apart: three files a pair, `000_pts_src.ply`, `000_pts_dst.ply`
and `000_trans.txt`, whose 4x4 matrix takes the source into the frame of the target (dst).

The clouds are thinned to a 0.3 m grid; their origin is the scanner. Nothing tells which sequence
and frame a pair is from, so all are of one scene.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError, unknown_name
from pcinv_data.files import read_lines
from pcinv_data.pairs import RegistrationPair, as_motion, numbers
from pcinv_data.recognise import nearest_thing

SCENE = "kitti"
_FILE = re.compile(r"(\d+)_(pts_src\.ply|pts_dst\.ply|trans\.txt)")
_PARTS = ("pts_src.ply", "pts_dst.ply", "trans.txt")


def open_kitti_pairs(root: Path, scene: str | None = None) -> list[RegistrationPair]:
    """List the pairs of a folder by number. Raises DatasetError where a file of one is missing."""
    found = [m for m in map(_FILE.fullmatch, _names(root)) if m]
    if not found:
        raise DatasetError(f"not kitti-pairs: no 000_trans.txt; {nearest_thing(root)}",
                           where=str(root), hint="each pair is NNN_pts_src.ply, NNN_pts_dst.ply and"
                                                 " NNN_trans.txt in this folder")
    if scene not in (None, SCENE):
        raise unknown_name("scene", str(scene), [SCENE])
    there = {m.string for m in found}
    pairs = []
    for number in sorted({m[1] for m in found}, key=lambda text: (int(text), text)):
        absent = [f"{number}_{part}" for part in _PARTS if f"{number}_{part}" not in there]
        if absent:
            raise DatasetError(f"pair {number} has no {absent[0]}", where=str(root),
                               hint="get this file again, or remove the rest of the pair")
        pairs.append(RegistrationPair(
            name=f"{SCENE}/{number}", scene=SCENE, source_id=int(number), target_id=int(number),
            T_target_source=read_motion(root / f"{number}_trans.txt"),
            source_file=root / f"{number}_pts_src.ply",
            target_file=root / f"{number}_pts_dst.ply"))
    return pairs


def read_motion(file: Path) -> np.ndarray:
    """Return the (4, 4) float64 matrix of a text file with four rows of four numbers."""
    rows = [numbers(text, 4, f"{file}:{line}") for line, text in read_lines(file)]
    if len(rows) != 4:
        raise DatasetError(f"{len(rows)} rows, expected the 4 of a 4x4 matrix", where=str(file),
                           hint="the file is damaged; get it again")
    return as_motion(rows, str(file))


def _names(root: Path) -> list[str]:
    return [p.name for p in root.iterdir()] if root.is_dir() else []
