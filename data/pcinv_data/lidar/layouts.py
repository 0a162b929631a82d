"""The one table of layouts of LiDAR sequences, and what is asked of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pcinv.errors import DatasetError, UsageError, unknown_name
from pcinv_data.lidar import (
    argoverse2,
    kitti,
    nuscenes,
    plain,
    scene_flow,
    semantickitti,
    street,
)
from pcinv_data.lidar.rules import settle
from pcinv_data.lidar.sequence import Listing, Request, ScanSequence
from pcinv_data.recognise import nearest_thing

ON_ERROR = ("raise", "skip")


@dataclass(frozen=True)
class Layout:
    """One row of the table.

    find : folder -> name -> folder (or file) of each sequence below it, or of itself.
    open : a request whose path is one of these -> what is there.
    expects : what its folder holds, for a person.
    options : those of `open_sequence` that it takes besides.
    """

    name: str
    find: Callable[[Path], dict[str, Path]]
    open: Callable[[Request], Listing]
    expects: str
    options: tuple[str, ...] = ()


LAYOUTS: dict[str, Layout] = {
    row.name: row for row in (
        Layout("argoverse2", argoverse2.find, argoverse2.open_listing,
               "LOG/sensors/lidar/*.feather", ("flow",)),
        Layout("nuscenes", nuscenes.find, nuscenes.open_listing,
               "samples/LIDAR_TOP/*.pcd.bin, with v1.0-*/ beside samples/ for poses"),
        Layout("lidar_sim", street.find, street.open_listing,
               "sequences/XX/ as semantickitti, with flow/*.npz and boxes/*.csv"),
        Layout("semantickitti", semantickitti.find, semantickitti.open_listing,
               "sequences/XX/velodyne/*.bin and sequences/XX/labels/*.label"),
        Layout("kitti", kitti.find, kitti.open_listing,
               "sequences/XX/velodyne/*.bin, calib.txt, times.txt; poses/XX.txt"),
        Layout("scene-flow", scene_flow.find, scene_flow.open_listing,
               "*.npz of points1, points2, flow (or pos1, pos2, gt), or PAIR/pc1.npy, pc2.npy"),
        Layout("plain", plain.find, plain.open_listing,
               "scans in formats that pcinv reads", ("poses", "times")),
    )
}
"""In the order in which a folder is held against them; a folder of any scans is plain."""


def open_sequence(path: str | os.PathLike[str], format: str | None = None, *,
                  sequence: str | int | None = None, poses: str | os.PathLike[str] | None = None,
                  times: str | os.PathLike[str] | None = None,
                  flow: str | os.PathLike[str] | None = None, on_error: str = "raise"
                  ) -> ScanSequence:
    """Open a sequence of LiDAR scans; nothing is read but its lists.

    path : the folder of a sequence, that of its scans, or one that holds sequences.
    format : a key of `LAYOUTS`; None: what the folder looks like.
    sequence : which one, where the folder holds several: 0 or "00" of KITTI, the name of a scene,
        a log or a pair. FOLDER/SCENE does for nuScenes, where a scene has no folder of its own.
    poses : of a plain folder, a file of 12 (KITTI) or 8 (TUM) numbers a line, T_world_sensor;
        `poses.txt` in the folder if None.
    times : of a plain folder, a file of seconds, one a line; `times.txt` in the folder if None.
    flow : of Argoverse 2, a folder with a feather file of flow for each sweep.
    on_error : "raise", or "skip": scans that are damaged, missing or without a pose are left out,
        and `ScanSequence.skipped` says which and why.

    Raises
    ------
    DatasetError : the folder is no such sequence, or breaks a rule of `pcinv_data.lidar.rules`.
    FileFormatError : a list is damaged.
    UsageError : several sequences, and none chosen; an option that does not go with the layout.
    UnknownNameError : no such format or sequence.
    DependencyError : Argoverse 2 without pyarrow.
    """
    path = Path(path)
    if on_error not in ON_ERROR:
        raise unknown_name("way", on_error, ON_ERROR, where="on_error")
    found = find_layout(path, format)
    given = {"poses": poses, "times": times, "flow": flow}
    for option, value in given.items():
        if value is not None and option not in found.options:
            fits = [row.name for row in LAYOUTS.values() if option in row.options]
            raise UsageError(f"{option} does not go with {found.name}", where=option,
                             hint=f"it is for {' and '.join(fits)}")
    name, chosen = _chosen(found, path, sequence)
    files = {name: None if value is None else Path(value) for name, value in given.items()}
    skip = on_error == "skip"
    asked = Request(chosen, name, **files, skip=skip)
    return settle(found.open(asked), found.name, skip)


def is_sequence(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a folder, or one of the other things that `open_sequence` takes.

    These are a pair of scene flow in one file, and FOLDER/SCENE of nuScenes.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() != ".npz":
        return False
    return path.is_dir() or any(layout.find(path) for layout in LAYOUTS.values())


def find_layout(path: Path, format: str | None = None) -> Layout:
    """Return the layout of this name, or the first that finds a sequence in the folder.

    Raises UnknownNameError, DatasetError.
    """
    if format is not None:
        if format not in LAYOUTS:
            raise unknown_name("format of sequences", format, LAYOUTS, where="format")
        if LAYOUTS[format].find(path):
            return LAYOUTS[format]
        raise DatasetError(f"no sequence of {format}; {nearest_thing(path)}", where=str(path),
                           hint=f"its layout: {LAYOUTS[format].expects}")
    for layout in LAYOUTS.values():
        if layout.find(path):
            return layout
    raise DatasetError(f"no LiDAR sequence; {nearest_thing(path)}", where=str(path),
                       hint="a folder of scans, or one of: " + ", ".join(LAYOUTS))


def list_sequences(path: str | os.PathLike[str], format: str | None = None) -> dict[str, Path]:
    """Return name -> folder of the sequences in a folder, by name; raises as `open_sequence`."""
    path = Path(path)
    return find_layout(path, format).find(path)


def _chosen(layout: Layout, path: Path, sequence: str | int | None) -> tuple[str, Path]:
    there = layout.find(path)
    if sequence is None:
        if len(there) == 1:
            return next(iter(there.items()))
        some = ", ".join(list(there)[:4]) + (", ..." if len(there) > 4 else "")
        raise UsageError(f"{len(there)} sequences ({some}), and none is chosen", where=str(path),
                         hint=f"sequence={next(iter(there))!r}, or name its own folder")
    wanted = str(sequence)
    for name in (wanted, f"{wanted:0>2}"):
        if name in there:
            return name, there[name]
    raise unknown_name("sequence", wanted, there)
