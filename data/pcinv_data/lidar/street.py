"""Generated streets as `pcinv data make lidar_sim` writes them: SemanticKITTI's layout and more.

    sequences/XX/flow/NNNNNN.npz   flow (N, 3) float32, ring (N,) uint8, and time (N,) float32 of
                                   scans that were not fired at one instant
    sequences/XX/boxes/NNNNNN.csv  one thing a line, as its first line says: class, number, centre,
                                   size, heading, velocity, points; in the scan's frame

Numbers are written so that they read as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pcinv.io.numpy_files import read_members
from pcinv.io.source import open_source
from pcinv.types import Boxes, Scan
from pcinv_data.files import read_lines
from pcinv_data.lidar import semantickitti
from pcinv_data.lidar.sequence import Listing, Request, of_points

FLOW, BOXES = "flow", "boxes"
COLUMNS = ("class", "instance", "x", "y", "z", "length", "width", "height", "yaw", "vx", "vy",
           "num_points")
_GROUND = (8, 9, 10, 11, 16)


def find(path: Path) -> dict[str, Path]:
    """Return name -> folder of the sequences that have flow and boxes."""
    return {name: folder for name, folder in semantickitti.find(path).items()
            if (folder / FLOW).is_dir() and (folder / BOXES).is_dir()}


def open_listing(request: Request) -> Listing:
    """List the scans of a sequence; one whose flow or boxes are not there is lacking."""
    listing = semantickitti.open_listing(request)
    read, names, path = listing.read, listing.names, request.path
    for position, name in enumerate(names):
        for file in (path / FLOW / f"{name}.npz", path / BOXES / f"{name}.csv"):
            if not file.is_file():
                listing.lacking.setdefault(position, (f"scan {name} has no {file.parent.name}",
                                                      str(file)))
    listing.read = lambda position: _whole(read(position), path, names[position])
    return listing


def _whole(scan: Scan, path: Path, name: str) -> Scan:
    file = path / FLOW / f"{name}.npz"
    source = open_source(file)
    arrays = read_members(source)
    if not {"flow", "ring"} <= set(arrays) or arrays["flow"].shape[1:] != (3,):
        raise source.error("there is no flow (N, 3) and ring (N,)", hint="make the sequence again")
    for key in sorted(arrays):
        of_points(arrays[key], len(scan), file, f"rows of {key}")
    return replace(scan, flow=arrays["flow"], ring=arrays["ring"], time=arrays.get("time"),
                   is_deskewed="time" not in arrays, is_ground=np.isin(scan.label, _GROUND),
                   boxes=read_boxes(path / BOXES / f"{name}.csv"))


def read_boxes(file: Path, class_names: Sequence[str] = semantickitti.CLASSES) -> Boxes:
    """Read the boxes of a scan. Raises FileFormatError with the line at fault."""
    rows = []
    lines = list(read_lines(file))
    if not lines or tuple(lines[0][1].split(",")) != COLUMNS:
        raise open_source(file).error(f"the first line is not {','.join(COLUMNS)}", line=1,
                                      hint="make the sequence again")
    for number, text in lines[1:]:
        name, *values = text.split(",")
        try:
            rows.append([class_names.index(name), *map(float, values)])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != len(COLUMNS) or not np.isfinite(rows[-1]).all():
            raise open_source(file).error(f"'{text[:60]}' is no box", line=number,
                                          hint="make the sequence again")
    table = np.array(rows, np.float64).reshape(-1, len(COLUMNS))
    return Boxes(table[:, 2:5], table[:, 5:8], table[:, 8], table[:, 0].astype(np.int64),
                 table[:, 1].astype(np.int64), table[:, 9:11], table[:, 11].astype(np.int64))


def boxes_text(boxes: Boxes, class_names: Sequence[str] = semantickitti.CLASSES) -> str:
    """Return the text of a file of boxes."""
    velocity = np.zeros((len(boxes), 2)) if boxes.velocity is None else boxes.velocity
    points = np.zeros(len(boxes), np.int64) if boxes.num_points is None else boxes.num_points
    numbers = np.column_stack([boxes.centre, boxes.size, boxes.yaw, velocity]).tolist()
    lines = [",".join([class_names[label], str(instance), *map(repr, row), str(count)])
             for label, instance, row, count in zip(
                 boxes.label, boxes.instance, numbers, points, strict=True)]
    return "\n".join([",".join(COLUMNS), *lines]) + "\n"
