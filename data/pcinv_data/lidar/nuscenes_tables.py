"""The tables of nuScenes: JSON lists of records, read one record at a time.

sample_data.json of the whole data set has 2.6 million records in 1.3 GB; only those of the wanted
scene are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import FileFormatError
from pcinv.io.source import open_source
from pcinv.registration.trajectories import poses_of

CHUNK = 2**20
LONGEST = 2**16
"""Characters of one record; true ones have a few hundred."""
_AGAIN = "the table is damaged; get it again"


@dataclass(frozen=True)
class Scene:
    """Where the tables of a scene are, and its token in them."""

    folder: Path
    token: str


@dataclass(frozen=True)
class Row:
    """A scan as the tables have it.

    labels : file of its lidarseg, or None.  sample : the key frame that it is, or None.
    """

    filename: str
    stamp_us: int
    T_world_scanner: np.ndarray
    labels: str | None
    sample: str | None


def scenes(root: Path) -> dict[str, Scene]:
    """Return name -> scene of all tables below the root; empty where there are none."""
    return {str(record["name"]): Scene(table.parent, record["token"])
            for table in sorted(root.glob("v1.0-*/scene.json"), reverse=True)
            for record in records(table, ("name", "token"))}


def read_scene(root: Path, scene: Scene, sensor: str, with_sweeps: bool) -> tuple[list[Row], bool]:
    """Return the scans of a scene in the order of time, and whether there are labels.

    Raises FileFormatError for damaged tables, and for a token that no table has.
    """
    folder = scene.folder
    samples = {record["token"] for record in records(
        folder / "sample.json", ("token", "scene_token"),
        lambda record: record["scene_token"] == scene.token)}
    keys = ("token", "sample_token", "filename", "timestamp", "ego_pose_token",
            "calibrated_sensor_token", "is_key_frame")
    scans = list(records(folder / "sample_data.json", keys, lambda record: (
        record["sample_token"] in samples and f"/{sensor}/" in str(record["filename"])
        and (with_sweeps or bool(record["is_key_frame"])))))
    scans.sort(key=lambda record: int(record["timestamp"]))
    poses = {table: _poses(folder / f"{table}.json", {scan[f"{table}_token"] for scan in scans})
             for table in ("ego_pose", "calibrated_sensor")}
    labels, listed = {}, folder / "lidarseg.json"
    if listed.is_file():
        tokens = {scan["token"] for scan in scans}
        labels = {record["sample_data_token"]: str(record["filename"]) for record in records(
            listed, ("sample_data_token", "filename"),
            lambda record: record["sample_data_token"] in tokens)}
    for scan in scans:
        inside = Path(str(scan["filename"]))
        if inside.is_absolute() or ".." in inside.parts:
            raise FileFormatError(f"a scan outside the data set: {inside}",
                                  where=str(folder / "sample_data.json"), hint=_AGAIN)
    return [Row(str(scan["filename"]), int(scan["timestamp"]),
                poses["ego_pose"][scan["ego_pose_token"]]
                @ poses["calibrated_sensor"][scan["calibrated_sensor_token"]],
                labels.get(scan["token"]),
                str(scan["sample_token"]) if scan["is_key_frame"] else None)
            for scan in scans], bool(labels)


def _poses(file: Path, tokens: set[str]) -> dict[str, np.ndarray]:
    found = {}
    for record in records(file, ("token", "translation", "rotation"),
                          lambda record: record["token"] in tokens):
        try:
            q, t = (np.asarray(record[key], np.float64) for key in ("rotation", "translation"))
            good = q.shape == (4,) and t.shape == (3,) and abs(np.linalg.norm(q) - 1) <= 0.02
        except (TypeError, ValueError):
            good = False
        if not good or not np.isfinite(t).all():
            raise FileFormatError(f"pose {record['token']} is not a unit quaternion and a shift",
                                  where=str(file), hint=_AGAIN)
        found[record["token"]] = poses_of(q[None], t[None])[0]
    lacking = tokens - set(found)
    if lacking:
        raise FileFormatError(f"no record {min(lacking)}, which sample_data.json names",
                              where=str(file), hint="get all tables of one release")
    return found


def records(file: Path, keys: tuple[str, ...],
            wanted: Callable[[dict[str, Any]], bool] = lambda record: True
            ) -> Iterator[dict[str, Any]]:
    """Yield the wanted records of a table, of which none but one is in memory.

    Raises FileFormatError for what is no list of records with these keys.
    """
    open_source(file)
    decoder, text, place, opened = json.JSONDecoder(), "", 0, False
    with file.open(encoding="utf-8", errors="replace") as stream:
        while True:
            more = stream.read(CHUNK)
            text, place = text[place:] + more, 0
            if not opened:
                if not text.lstrip().startswith("["):
                    raise FileFormatError("not a list of records", where=str(file), hint=_AGAIN)
                place, opened = text.index("[") + 1, True
            while True:
                start = place + len(text[place:place + LONGEST]) - len(
                    text[place:place + LONGEST].lstrip(" ,\r\n\t"))
                if text[start:start + 1] == "]":
                    return
                try:
                    record, place = decoder.raw_decode(text, start)
                except ValueError as error:
                    if more and len(text) - start < LONGEST + CHUNK:
                        place = start
                        break
                    raise FileFormatError("the table ends within a record, or holds what is none",
                                          where=str(file), hint=_AGAIN) from error
                if not isinstance(record, dict) or any(key not in record for key in keys):
                    raise FileFormatError(f"a record without {', '.join(keys)}: {str(record)[:80]}",
                                          where=str(file), hint=_AGAIN)
                if wanted(record):
                    yield {key: record[key] for key in keys}
