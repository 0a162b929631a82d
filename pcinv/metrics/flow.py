"""Scene flow: how far estimated motions of points are from the true ones.

Total flow F is where a point will be in the frame of the next sensor, less where it is; its rigid
part F_r is what the sensor's own motion makes of a point that stands still; the residual F - F_r is
what moves. Errors of points are the same of both, relative ones are not: they refer to the total.

Sources: end-point error and accuracies, Liu, Qi, Guibas, CVPR 2019 (FlowNet3D); three-way error,
Chodosh, Ramanan, Lucey, WACV 2024; bucket-normalised error, Khatri et al., ECCV 2024 (Trackflow),
as the Argoverse 2 challenge of 2024 counts it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pcinv.errors import InputError, ShapeError

DYNAMIC = 0.05
"""Metres of residual flow in 0.1 s from which a point counts as moving."""
CLOSE = 35.0
"""Half the side of the box around the sensor that is scored, metres."""
SPEED_EDGES = np.append(np.linspace(0, 2.0, 51), np.inf)
"""Of the buckets, metres in 0.1 s; a point at an edge belongs to the bucket above it."""
META_CLASSES = ("BACKGROUND", "CAR", "OTHER_VEHICLES", "PEDESTRIAN", "WHEELED_VRU")

_META = {
    "CAR": ("car", "regular_vehicle"),
    "OTHER_VEHICLES": ("truck", "other-vehicle", "bus", "lorry", "box_truck", "large_vehicle",
                       "railed_vehicle", "truck_cab", "vehicular_trailer", "articulated_bus",
                       "school_bus"),
    "PEDESTRIAN": ("person", "pedestrian", "stroller", "wheelchair", "official_signaler"),
    "WHEELED_VRU": ("bicycle", "bicyclist", "motorcycle", "motorcyclist", "wheeled_device",
                    "wheeled_rider", "cyclist"),
}
_UNSCORED = ("animal", "bollard", "construction_barrel", "construction_cone", "dog",
             "message_board_trailer", "mobile_pedestrian_crossing_sign", "sign", "stop_sign",
             "traffic_light_trailer")


def meta_classes(class_names: list[str] | tuple[str, ...]) -> Int[np.ndarray, "c"]:
    """Return for each class its index in `META_CLASSES`, -1 for classes that are not scored.

    Names of Argoverse 2 and of SemanticKITTI are known; what moves in neither is background.
    """
    of_name = {name: META_CLASSES.index(meta) for meta, names in _META.items() for name in names}
    return np.array([-1 if name.lower() in _UNSCORED else of_name.get(name.lower(), 0)
                     for name in class_names], dtype=np.int64)


def is_close(xyz: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
    """Return which points lie in the box of 70 x 70 m around the sensor."""
    found: np.ndarray = np.abs(xyz[:, :2]).max(axis=1) < CLOSE
    return found


@dataclass
class FlowScore:
    """Sums over all points of all pairs of scans; `compute` makes figures of them.

    Every figure weighs points alike, whichever pair they are of. interval_s : between the scans;
    speeds are compared as metres in 0.1 s.
    """

    interval_s: float = 0.1
    sums: dict[str, float] = field(default_factory=dict)
    errors: Float[np.ndarray, "5 51"] = field(default_factory=lambda: np.zeros((5, 51)))
    speeds: Float[np.ndarray, "5 51"] = field(default_factory=lambda: np.zeros((5, 51)))
    counts: Int[np.ndarray, "5 51"] = field(default_factory=lambda: np.zeros((5, 51), np.int64))

    def add(
        self, estimated: Float[np.ndarray, "n 3"], truth: Float[np.ndarray, "n 3"],
        rigid: Float[np.ndarray, "n 3"], category: Int[np.ndarray, "n"],
        scored: Bool[np.ndarray, "n"] | None = None,
    ) -> None:
        """Add the points of a pair: total flows, the rigid part, and meta classes.

        category : index in `META_CLASSES`, -1 for points that belong to no bucket.
        scored : which points count, all whose truth is known where None; of a benchmark these are
            the close ones off the ground.

        Raises ShapeError for arrays of other lengths, InputError for an estimate that is not finite
        where it counts.
        """
        count = len(truth)
        for name, values in (("estimated", estimated), ("rigid", rigid), ("category", category)):
            if len(values) != count:
                raise ShapeError(f"{len(values)} rows, {count} of the truth", where=name,
                                 hint="one row for each point")
        known = np.isfinite(truth).all(axis=1)
        known = known if scored is None else known & scored
        if not np.isfinite(estimated[known]).all():
            raise InputError("a flow is not finite", where="estimated",
                             hint="every point that is scored needs a flow")
        estimated, truth, rigid = (np.asarray(v[known], dtype=np.float64)
                                   for v in (estimated, truth, rigid))
        category = category[known]
        error = np.linalg.norm(estimated - truth, axis=1)
        length = np.linalg.norm(truth, axis=1)
        relative = error / (length + 1e-10)
        per_tenth = 0.1 / self.interval_s
        residual = np.linalg.norm(truth - rigid, axis=1) * per_tenth
        moves = residual >= DYNAMIC
        said = np.linalg.norm(estimated - rigid, axis=1) * per_tenth >= DYNAMIC
        front = category != 0
        groups = {"fd": front & moves, "fs": front & ~moves, "bs": ~front & ~moves}
        found = {
            "points": float(len(error)), "error": error.sum(),
            "strict": float(((error < 0.05) | (relative < 0.05)).sum()),
            "relaxed": float(((error < 0.1) | (relative < 0.1)).sum()),
            "outliers": float(((error > 0.3) | (relative > 0.1)).sum()),
            "angle": _angles(estimated, truth, self.interval_s).sum(),
            "true_positive": float((moves & said).sum()),
            "either": float((moves | said).sum()),
        }
        for name, group in groups.items():
            found[f"{name}_error"], found[f"{name}_points"] = error[group].sum(), float(group.sum())
        for name, value in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        bucket = np.searchsorted(SPEED_EDGES, residual + 1e-12, side="right") - 1
        inside = category >= 0
        place = category[inside], bucket[inside]
        np.add.at(self.errors, place, (error * per_tenth)[inside])
        np.add.at(self.speeds, place, residual[inside])
        np.add.at(self.counts, place, 1)

    def compute(self) -> dict[str, Any]:
        """Return the figures; None where no point is of the kind.

        epe, accuracy_strict, accuracy_relaxed, outliers, angle_rad; epe_foreground_dynamic,
        epe_foreground_static, epe_background_static and three_way_epe, the mean of those of the
        three that there are; dynamic_iou; bucket_static (metres) and bucket_dynamic (shares of the
        speed, by meta class), and dynamic_bucket_epe, the mean over the classes that move.
        """
        sums = {key: self.sums.get(key, 0.0) for key in _SUMS}
        points = sums["points"]
        three = {name: _ratio(sums[f"{name}_error"], sums[f"{name}_points"])
                 for name in ("fd", "fs", "bs")}
        there = [value for value in three.values() if value is not None]
        static, dynamic = self._buckets()
        moving = [value for value in dynamic.values() if value is not None]
        return {
            "num_points": int(points),
            "epe": _ratio(sums["error"], points),
            "accuracy_strict": _ratio(sums["strict"], points),
            "accuracy_relaxed": _ratio(sums["relaxed"], points),
            "outliers": _ratio(sums["outliers"], points),
            "angle_rad": _ratio(sums["angle"], points),
            "epe_foreground_dynamic": three["fd"],
            "epe_foreground_static": three["fs"],
            "epe_background_static": three["bs"],
            "three_way_epe": float(np.mean(there)) if there else None,
            "dynamic_iou": _ratio(sums["true_positive"], sums["either"]),
            "bucket_static": static,
            "bucket_dynamic": dynamic,
            "dynamic_bucket_epe": float(np.mean(moving)) if moving else None,
        }

    def _buckets(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        static, dynamic = {}, {}
        for row, name in enumerate(META_CLASSES):
            count = self.counts[row]
            static[name] = _ratio(self.errors[row, 0], float(count[0]))
            moving = np.flatnonzero(count[1:]) + 1
            # background has no speed of its own: what moves there is not labelled
            dynamic[name] = None if name == "BACKGROUND" or len(moving) == 0 else float(
                np.mean(self.errors[row, moving] / self.speeds[row, moving]))
        return static, dynamic


_SUMS = ("points", "error", "strict", "relaxed", "outliers", "angle", "true_positive", "either",
         "fd_error", "fd_points", "fs_error", "fs_points", "bs_error", "bs_points")


def _ratio(total: float, count: float) -> float | None:
    return float(total) / count if count else None


def _angles(
    first: Float[np.ndarray, "n 3"], second: Float[np.ndarray, "n 3"], interval_s: float
) -> Float[np.ndarray, "n"]:
    """Return the angle between two flows in space and time, (N,) radians."""
    a, b = (np.concatenate([v, np.full((len(v), 1), interval_s)], axis=1) for v in (first, second))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    found: np.ndarray = 2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=1) / 2, 0, 1))
    return found
