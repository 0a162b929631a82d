"""Boxes of nuScenes: `sample_annotation`, `instance` and `category` of the tables, of key frames.

Velocities are those of the devkit: from the place one key frame before to the one after, not over
more than 1.5 s between two neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.errors import FileFormatError
from pcinv.registration.trajectories import poses_of
from pcinv.types import Boxes
from pcinv_data.lidar.nuscenes_tables import records

TABLES = ("sample_annotation", "instance", "category")
OF_CATEGORY = {
    "movable_object.barrier": "barrier", "movable_object.trafficcone": "traffic_cone",
    "vehicle.bicycle": "bicycle", "vehicle.bus.bendy": "bus", "vehicle.bus.rigid": "bus",
    "vehicle.car": "car", "vehicle.construction": "construction_vehicle",
    "vehicle.motorcycle": "motorcycle", "vehicle.trailer": "trailer", "vehicle.truck": "truck",
    "human.pedestrian.adult": "pedestrian", "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
}
"""The ten classes of the detection challenge; others are of none."""
LONGEST_S = 1.5
_KEYS = ("sample_token", "instance_token", "translation", "size", "rotation", "num_lidar_pts")


@dataclass(frozen=True)
class Annotations:
    """Boxes of a scene, in its world, row by row.

    sample : (M,) token of the key frame.  pose : (M, 4, 4).  size : (M, 3) length, width, height.
    label : (M,), -1 for none of the classes.  instance : (M,) from 1.  velocity : (M, 2), NaN where
        it is not known.  num_points : (M,).
    """

    sample: np.ndarray
    pose: Float[np.ndarray, "m 4 4"]
    size: Float[np.ndarray, "m 3"]
    label: np.ndarray
    instance: np.ndarray
    velocity: Float[np.ndarray, "m 2"]
    num_points: np.ndarray

    def at(self, sample: str, T_world_sensor: Float[np.ndarray, "4 4"]) -> Boxes:
        """Return the boxes of a key frame in the sensor's frame."""
        rows = np.flatnonzero(self.sample == sample)
        pose = np.linalg.inv(T_world_sensor) @ self.pose[rows]
        flat = np.concatenate([self.velocity[rows], np.zeros((len(rows), 1))], axis=1)
        return Boxes(pose[:, :3, 3], self.size[rows], np.arctan2(pose[:, 1, 0], pose[:, 0, 0]),
                     self.label[rows], self.instance[rows],
                     (flat @ T_world_sensor[:3, :3])[:, :2], self.num_points[rows])


def read_boxes(
    folder: Path, stamps: dict[str, float], classes: tuple[str, ...]
) -> Annotations | None:
    """Return the boxes of the key frames of a scene; None where the tables are not there.

    stamps : token of a key frame -> seconds.

    Raises FileFormatError for damaged tables.
    """
    if not all((folder / f"{name}.json").is_file() for name in TABLES):
        return None
    file = folder / "sample_annotation.json"
    found = list(records(file, _KEYS, lambda record: record["sample_token"] in stamps))
    things = {record["instance_token"] for record in found}
    of_thing = {record["token"]: record["category_token"] for record in records(
        folder / "instance.json", ("token", "category_token"),
        lambda record: record["token"] in things)}
    names = {record["token"]: str(record["name"]) for record in records(
        folder / "category.json", ("token", "name"))}
    known = {name: k for k, name in enumerate(classes)}
    try:
        label = [known.get(OF_CATEGORY.get(names[of_thing[row["instance_token"]]], ""), -1)
                 for row in found]
        place, size, turn = (_column(found, key, width, file) for key, width in (
            ("translation", 3), ("size", 3), ("rotation", 4)))
        points = np.array([int(row["num_lidar_pts"]) for row in found], np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"an annotation without its instance, category or points: {error}",
                              where=str(file), hint="get all tables of one release") from error
    order = {token: k + 1 for k, token in enumerate(sorted(things))}
    instance = np.array([order[row["instance_token"]] for row in found], np.int64)
    stamp = np.array([stamps[row["sample_token"]] for row in found])
    return Annotations(
        np.array([row["sample_token"] for row in found], dtype=object),
        poses_of(turn, place), size[:, [1, 0, 2]], np.array(label, np.int64), instance,
        _velocity(place[:, :2], stamp, instance), points)


def _column(found: list[dict[str, Any]], key: str, width: int, file: Path) -> np.ndarray:
    values = np.array([row[key] for row in found], np.float64).reshape(-1, width)
    if not np.isfinite(values).all() or (key == "size" and (values <= 0).any()) or (
            key == "rotation" and (np.linalg.norm(values, axis=1) < 0.5).any()):
        raise FileFormatError(f"a {key} that is none", where=str(file),
                              hint="the table is damaged; get it again")
    return values


def _velocity(
    place: Float[np.ndarray, "m 2"], stamp: Float[np.ndarray, " m"], instance: np.ndarray
) -> Float[np.ndarray, "m 2"]:
    found = np.full((len(place), 2), np.nan)
    rows_of = defaultdict(list)
    for row in np.argsort(stamp, kind="stable"):
        rows_of[int(instance[row])].append(int(row))
    for rows in rows_of.values():
        for k, row in enumerate(rows):
            first, last = rows[max(k - 1, 0)], rows[min(k + 1, len(rows) - 1)]
            spent = stamp[last] - stamp[first]
            limit = LONGEST_S * (2 if first != row != last else 1)
            if 0 < spent <= limit:
                found[row] = (place[last] - place[first]) / spent
    return found
