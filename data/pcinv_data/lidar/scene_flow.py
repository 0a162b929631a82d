"""Pairs of KITTI scene flow and FlyingThings3D, each a sequence of two scans.

FlowNet3D's layout: an npz a pair, with points1, points2, flow and valid_mask1 (FlyingThings3D), or
with pos1, pos2, gt (KITTI). HPLFlowNet's: a folder a pair, with pc1.npy and pc2.npy, row for row,
so that the flow is pc2 - pc1. Flow is NaN where the mask says that it is not to be scored.

Points come from stereo pictures, not from a scanner, and keep the axes of their files, which differ
between the releases: depth is along z, the ground is not below z. Nothing is left out or drawn.
Liu, Qi, Guibas, CVPR 2019; Gu, Wang, Wu, Lee, Wang, CVPR 2019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcinv.errors import FileFormatError
from pcinv.io.numpy_files import parse_npy, read_members
from pcinv.io.source import Source, open_source
from pcinv.types import Scan
from pcinv_data.lidar.sequence import Listing, Request, checked

KEYS = (("points1", "points2", "flow"), ("pos1", "pos2", "gt"))
FOLDER = ("pc1.npy", "pc2.npy")


def find(path: Path) -> dict[str, Path]:
    """Return name -> file or folder of the pairs; the path may be one of them."""
    if path.is_file():
        return {path.stem: path} if path.suffix.lower() == ".npz" and _is_pair(path) else {}
    if _is_folder(path):
        return {path.absolute().name: path}
    if not path.is_dir():
        return {}
    files = sorted(path.glob("*.npz"))
    if files:
        return {file.stem: file for file in files} if _is_pair(files[0]) else {}
    return {folder.name: folder for folder in sorted(path.iterdir()) if _is_folder(folder)}


def _is_folder(path: Path) -> bool:
    return all((path / name).is_file() for name in FOLDER)


def _is_pair(file: Path) -> bool:
    """Tell from the names in an archive whether it is a pair; nothing is unpacked."""
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    return any(set(keys[:2]) <= names for keys in KEYS)


def open_listing(request: Request) -> Listing:
    """List the two scans of a pair."""
    path = request.path

    def read(position: int) -> Scan:
        first, second, flow = read_pair(path)
        name = listing.names[position]
        return checked(Scan(second, name, is_deskewed=True) if position else
                       Scan(first, name, flow=flow, is_deskewed=True), path)

    name = path.stem if path.is_file() else path.absolute().name
    listing = Listing(name, path, [f"{name}/1", f"{name}/2"], read)
    listing.notes.append("axes as in the file: depth is along z")
    return listing


def read_pair(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both clouds (N, 3), (M, 3) and the flow (N, 3) of the first, all float32.

    Raises FileFormatError where arrays are missing, of other shapes, or damaged.
    """
    if path.is_dir():
        first, second = (_points(parse_npy(source, source.data), source) for source in map(
            open_source, (path / name for name in FOLDER)))
        if len(first) != len(second):
            raise FileFormatError(f"{len(second)} points for {len(first)} of {FOLDER[0]}; they must"
                                  " be row for row", where=str(path / FOLDER[1]),
                                  hint="get both files again")
        return first, second, second - first
    source = open_source(path)
    arrays = read_members(source)
    keys = next((keys for keys in KEYS if set(keys) <= set(arrays)), None)
    if keys is None:
        raise source.error(f"no points1, points2, flow and no pos1, pos2, gt; there is"
                           f" {', '.join(list(arrays)[:8]) or 'nothing'}")
    first, second, flow = (_points(arrays[key], source, key) for key in keys)
    if len(flow) != len(first):
        raise source.error(f"{len(flow)} rows of {keys[2]} for {len(first)} points")
    mask = arrays.get("valid_mask1")
    if mask is not None:
        mask = mask.reshape(-1)
        if len(mask) != len(first):
            raise source.error(f"{len(mask)} values of valid_mask1 for {len(first)} points")
        flow = np.where(mask[:, None].astype(bool), flow, np.float32(np.nan))
    return first, second, flow


def _points(array: np.ndarray, source: Source, name: str = "") -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise source.error(f"{name or 'it'} is an array {array.shape} of {array.dtype}, expected"
                           " numbers (N, 3)")
    source.check_count(len(array), "points")
    return np.ascontiguousarray(array, np.float32)
