"""One trial of a registration benchmark: two clouds in, one row of plain values out."""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import PcinvError
from pcinv.registration.shipped import network_of
from pcinv_data.pairs import PAIR_SETS, RegistrationPair, measure_overlap, read_points

REACH = 4.0
"""Largest shift of a moved cloud along each axis, in metres, as all sets of pairs are."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What decides the answer to a trial; two runs that differ in any of it must not be mixed.

    view_point : "auto", "origin", "none" or "given".
    rotate : each cloud is moved by a motion of its own.
    matches : inlier ratios are measured.
    """

    dataset: str
    root: str
    version: str
    method: str = "auto"
    view_point: str = "auto"
    rotate: bool = False
    fast: bool = False
    voxel: float | None = None
    matches: bool = False
    seed: int = 0
    weights: str | None = None


@dataclass(frozen=True, eq=False)
class Trial:
    """Two clouds to register. pair : with the true motion, or None for clouds that do not meet."""

    name: str
    scene: str
    source_file: Path
    target_file: Path
    pair: RegistrationPair | None = None


def trial_of(pair: RegistrationPair) -> Trial:
    """Return the trial of a pair."""
    return Trial(pair.name, pair.scene, pair.source_file, pair.target_file, pair)


def run_trial(trial: Trial, settings: Settings) -> Row:
    """Register two clouds and return all that scoring needs; an error becomes part of the row.

    pose, truth : (4, 4) `T_target_source` as nested lists, between the clouds as they were given
        to the method; None without an answer, and for clouds that do not meet.
    source_motion, target_motion : (4, 4) that moved the clouds, or None.
    information : (6, 6) between the clouds as they are stored, or None.
    body : of the pair, in the frame of the source as it is stored, or None.
    """
    pair = trial.pair
    row: Row = {
        "name": trial.name, "scene": trial.scene, "negative": pair is None,
        "consecutive": pair is not None and pair.consecutive, "overlap": None,
        "pose": None, "truth": None, "source_motion": None, "target_motion": None,
        "information": None if pair is None or pair.information is None
        else pair.information.tolist(), "body": None if pair is None else pair.body,
        "verdict": "failed", "score": 0.0, "inlier_ratio": None, "numbers": {}, "time_ms": None,
        "error": None}
    motions = motions_of(trial.name, settings.seed) if settings.rotate else None
    if motions is not None:
        row["source_motion"], row["target_motion"] = (motion.tolist() for motion in motions)
    truth = None if pair is None else moved_truth(pair.T_target_source, motions)
    row["truth"] = None if truth is None else truth.tolist()
    from pcinv.ops.threads import one_thread

    try:
        with one_thread():
            if pair is not None:
                row["overlap"] = _overlap(pair, settings.dataset)
            row.update(_answer(trial, settings, motions, truth))
    except PcinvError as error:
        row["error"] = {"code": error.code, "message": error.message, "where": error.where}
    except Exception as error:  # noqa: BLE001 one bad pair must not end a run of hours
        row["error"] = {"code": "internal", "message": f"{type(error).__name__}: {error}",
                        "where": None}
    if settings.matches and truth is not None and row["inlier_ratio"] is None:
        row["inlier_ratio"] = 0.0
    plain: Row = _plain(row)
    return plain


def _answer(trial: Trial, settings: Settings, motions: Motions | None, truth: np.ndarray | None
            ) -> Row:
    import pcinv

    clouds = [read_points(trial.source_file), read_points(trial.target_file)]
    if motions is not None:
        clouds = [moved(cloud, motion) for cloud, motion in zip(clouds, motions, strict=True)]
    cameras = [np.zeros(3), np.zeros(3)]
    view_point = settings.view_point
    if view_point == "given":  # the clouds are laid so that both cameras stand at the origin
        view_point = "origin"
        if motions is not None:
            cameras = [motion[:3, 3] for motion in motions]
    laid = [cloud - camera for cloud, camera in zip(clouds, cameras, strict=True)]
    start = time.perf_counter()
    found = pcinv.register(*laid, method=settings.method, view_point=view_point,
                           voxel=settings.voxel, fast=settings.fast, seed=settings.seed,
                           descriptor=network_of(settings.weights))
    spent = (time.perf_counter() - start) * 1e3
    pose = np.array(found.transform, np.float64)
    pose[:3, 3] += cameras[1] - pose[:3, :3] @ cameras[0]
    numbers = found.to_dict()
    for key in ("transform", "verdict", "score", "alternatives"):
        numbers.pop(key, None)
    ratio = None
    if settings.matches and truth is not None:
        laid_truth = truth.copy()
        laid_truth[:3, 3] -= cameras[1] - truth[:3, :3] @ cameras[0]
        ratio = _inlier_ratio(laid, found, view_point, settings, laid_truth)
    return {"pose": pose.tolist(), "verdict": found.verdict, "score": float(found.score),
            "inlier_ratio": ratio, "numbers": numbers, "time_ms": spent}


def _overlap(pair: RegistrationPair, dataset: str) -> float:
    if pair.overlap is not None:
        return pair.overlap
    return measure_overlap(pair, PAIR_SETS[dataset].overlap_radius)


def _inlier_ratio(clouds: list[np.ndarray], found: Any, view_point: str, settings: Settings,
                  truth: np.ndarray) -> float:
    """Return the share of right matches among those that the answer was found from."""
    from pcinv.metrics.registration import inlier_ratio
    from pcinv.registration.clouds import points_of
    from pcinv.registration.pipeline import FAST_SUPPORTS
    from pcinv.registration.prepare import SUPPORTS, prepare
    from pcinv.registration.search import match
    from pcinv.registration.sight import sights

    supports = FAST_SUPPORTS if settings.fast else SUPPORTS
    source, target = (replace(prepare(points_of(cloud, name).points, found.voxel, supports),
                              descriptor=network_of(settings.weights))
                      for cloud, name in zip(clouds, ("source", "target"), strict=True))
    chosen = None
    for sight in sights((source, target), view_point):
        if chosen is None or sight.words == found.view_points:
            chosen = sight
        if sight.words == found.view_points:
            break
    if chosen is None:
        return 0.0
    source, target = chosen.prepared()
    matches = match(source, target, found.features)
    x = np.concatenate([source.origin + source.unit * matched.x for matched in matches])
    y = np.concatenate([target.origin + target.unit * matched.y for matched in matches])
    return inlier_ratio(x, y, truth)


Motions = tuple[np.ndarray, np.ndarray]


def motions_of(name: str, seed: int) -> Motions:
    """Return the motions (4, 4) of the source and the target of a trial.

    Rotations are uniform over all (Haar), shifts within `REACH`; the same for the same name and
    seed, whichever other trials there are.
    """
    source, target = (_motion(f"{name}/{side}", seed) for side in ("source", "target"))
    return source, target


def _motion(name: str, seed: int) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    motion[:3, 3] = rng.uniform(-REACH, REACH, 3)
    return motion


def moved(points: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Return points (N, 3) after a motion (4, 4)."""
    return np.asarray(points @ motion[:3, :3].T + motion[:3, 3])


def moved_truth(T: np.ndarray, motions: Motions | None) -> np.ndarray:
    """Return the motion between two moved clouds, from the one between the clouds as stored."""
    return T if motions is None else motions[1] @ T @ np.linalg.inv(motions[0])


def as_stored(T: np.ndarray, motions: Motions | None) -> np.ndarray:
    """Return the motion between two clouds as stored, from the one between the moved ones."""
    return T if motions is None else np.linalg.inv(motions[1]) @ T @ motions[0]


def _plain(value: Any) -> Any:
    """Return what JSON can hold: arrays as lists, numbers that are not finite as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
