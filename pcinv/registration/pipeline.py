"""Register two clouds of any sensor, units and pose: no configuration.

Read, choose the voxel, find out from where the clouds were seen, describe, match, propose poses
that many matches agree on, refine them by their surfaces, score, judge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pcinv.errors import InputError, unknown_name
from pcinv.models.registry import weights_file
from pcinv.ops.threads import each_alone
from pcinv.registration.clouds import LEAST_POINTS, Source, name_of, points_of
from pcinv.registration.evidence import gather_evidence
from pcinv.registration.prepare import (
    SUPPORTS,
    VOXEL,
    Prepared,
    prepare,
    to_clouds,
    to_prepared,
)
from pcinv.registration.refine import polish
from pcinv.registration.result import Matches, RegistrationResult, Stage
from pcinv.registration.scale import MIN_SPACINGS, choose_voxel, spacing
from pcinv.registration.search import ESTIMATORS, Found, agree, judge, match, search
from pcinv.registration.sight import Sight, sights
from pcinv.registration.similarity import ScaleEstimate, estimate_scale
from pcinv.registration.verdict import AMBIGUOUS, SAME_UNITS, is_settled, judge_evidence

METHODS = ("auto", "patch", "roitr", *ESTIMATORS, "icp")
LEARNED = {"patch": "learned patches", "roitr": "RoITr"}
"""Kinds of features that are learned, and what they are called."""
FAST_SUPPORTS = (SUPPORTS[1],)
FINER = 0.75
"""Share of the voxel that a second attempt works at."""


@dataclass
class _Log:
    """Times and words of the stages."""

    time_ms: dict[str, float] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        start, said = time.perf_counter(), list[str]()
        yield said.append
        spent = (time.perf_counter() - start) * 1e3
        self.time_ms[name] = self.time_ms.get(name, 0.0) + spent
        self.stages.append(Stage(name, "; ".join(said), spent))


def register(
    source: Source, target: Source, *, method: str = "auto", view_point: Any = "auto",
    voxel: float | None = None, init: Float[np.ndarray, "4 4"] | None = None, fast: bool = False,
    scale: bool = False, seed: int = 0, descriptor: torch.nn.Module | None = None,
) -> RegistrationResult:
    """Find the motion that takes the source into the frame of the target.

    Parameters
    ----------
    source, target : files, clouds, meshes or arrays (N, 3), in the same units unless `scale`.
    method : "auto" (histograms of angles first; learned patches where these leave a doubt), "sc2",
        "patch" or "roitr" (histograms, patches or RoITr alone), "ransac", "fgr" or "kiss" (other
        estimators, to compare with sc2; all before and after them is the same), or "icp" (from
        `init`, or from where the clouds are).
    view_point : where the cameras were: "auto", "origin", "none", or (3,) in both frames. auto is
        where a file or a `PointCloud` says, or the origin if it looks so, or a guess, or none.
    voxel : working size, in the units of the clouds; chosen from the data where None.
    init : (4, 4) a pose to refine; nothing is searched for.
    fast : one support instead of two, and no patches.
    scale : the scale between the clouds is not known either, and is found first; the transform is
        then scale * R | t. Takes several times as long.
    seed : of the sampling of meshes; nothing else is drawn.
    descriptor : a network for patches or a RoITr, `pcinv.load_model(run).model`; None for the one
        that comes with the package.

    Raises
    ------
    InputError, ShapeError : too few points, points at one place, arrays of other shapes, a pose
        that is not rigid.
    FileFormatError and the other errors of `pcinv.read`.

    >>> import numpy as np
    >>> cloud = np.random.default_rng(0).normal(size=(500, 3)) * [3, 2, 1]
    >>> register(cloud, cloud + [5, 0, 0]).transform.round(3)[:3, 3]
    array([5., 0., 0.])
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    log = _Log()
    with log.stage("read") as say:
        clouds, told, notes = zip(*(points_of(item, name, seed=seed) for item, name in (
            (source, "source"), (target, "target"))), strict=True)
        said = [note for both in notes for note in both]
        say("; ".join([f"{len(clouds[0]):,} and {len(clouds[1]):,} points", *said]))
    found_scale = None
    if scale:
        if init is not None or method == "icp":
            raise InputError("a scale is searched for, not refined", where="scale",
                             hint="leave out the initial pose and icp")
        with log.stage("units") as say:
            found_scale = estimate_scale(clouds[0], clouds[1])
            factor = found_scale.scale
            clouds = (clouds[0] * factor, clouds[1])
            told = (None if told[0] is None else told[0] * factor, told[1])
            say(f"the source is {factor:.5g} times as large in the units of the target, +- "
                f"{found_scale.uncertainty:.2%}; the best other scale fits "
                f"{found_scale.runner_up:.0%} as well")
    with log.stage("scale") as say:
        gaps = tuple(each_alone(spacing, clouds))
        chosen = voxel if voxel is not None else choose_voxel(*clouds, gap=max(gaps))
        if not 0 < chosen < np.inf:
            raise InputError(f"voxel is {chosen}, expected more than 0", where="voxel",
                             hint="a working size in the units of the clouds")
        say(f"spacing {gaps[0]:.3g} and {gaps[1]:.3g}, voxel {chosen:.3g}"
            + (" as asked" if voxel is not None else ""))
    supports = FAST_SUPPORTS if fast else SUPPORTS
    with log.stage("prepare") as say:
        start = _checked_pose(init) if init is not None else None
        prepared = tuple(each_alone(lambda cloud: prepare(cloud, chosen, supports), clouds))
        say(f"{len(prepared[0].points):,} and {len(prepared[1].points):,} points with normals")
    if min(len(cloud.points) for cloud in prepared) < LEAST_POINTS:
        if not _unit_mismatch(clouds, gaps):
            raise _too_coarse(prepared, (name_of(source, "source"), name_of(target, "target")))
        nothing = _conclude(clouds, prepared, Found([], []), "none", method, gaps, chosen, log)
        return nothing if found_scale is None else with_scale(nothing, found_scale)
    if method == "icp" and start is None:
        start = np.eye(4)
    if start is not None:
        return _from_start(clouds, prepared, start, gaps, chosen, log)
    prepared = tuple(replace(cloud, descriptor=descriptor) for cloud in prepared)
    finer: tuple[Prepared, Prepared] | None = None
    best: RegistrationResult | None = None
    for sight, (kind, size) in ((one, attempt) for one in sights(prepared, view_point, told)
                                for attempt in _attempts(one, method, fast, voxel, descriptor)):
        used = chosen
        if size < 1:
            used = min(chosen, max(size * chosen, MIN_SPACINGS * max(gaps)))
            finer = finer or _finer(clouds, used, descriptor, log)
            sight = sight.on(finer)
        with log.stage("view points") as say:
            seen = sight.prepared()
            say(sight.words)
        try:
            found = _search(seen, kind, method, log)
        except InputError as error:
            if best is None:
                raise
            with log.stage("features") as say:  # what is there already stands
                say(f"{LEARNED.get(kind, kind)} left out: {error}")
            continue
        result = _conclude(clouds, seen, found, sight.words, method, gaps, used, log, kind)
        if best is None or _rank(result) > _rank(best):
            best = result
        if is_settled(result.verdict, result.reasons):
            break
    if best is None:
        raise InputError("no way to look at the clouds", where="view_point", hint="use auto")
    best = replace(best, time_ms=dict(log.time_ms), stages=tuple(log.stages))
    return best if found_scale is None else with_scale(best, found_scale)


def _too_coarse(prepared: tuple[Prepared, Prepared], names: tuple[str, str]) -> InputError:
    count, voxel, name = min((len(cloud.points), cloud.unit * VOXEL, name)
                             for cloud, name in zip(prepared, names, strict=True))
    return InputError(f"{count} points are left at a voxel of {voxel:.3g}, at least {LEAST_POINTS} "
                      "needed", where=name,
                      hint="a smaller voxel, or a cloud without points far from all others")


def with_scale(result: RegistrationResult, found: ScaleEstimate) -> RegistrationResult:
    """Return the result for the source as it was before it was enlarged, doubted with its scale."""
    doubts = [] if np.isfinite(found.uncertainty) else [
        f"degenerate: the surfaces do not determine the scale, {found.scale:.3g}"]
    if found.runner_up > AMBIGUOUS:
        doubts.append(f"ambiguous: another scale, {found.runner_up_scale:.3g}, fits "
                      f"{found.runner_up:.0%} as well")

    def before(pose: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        return pose @ np.diag([found.scale, found.scale, found.scale, 1.0])

    matches = result.matches and replace(result.matches,
                                         source=result.matches.source / found.scale)
    return replace(result, transform=before(result.transform), scale=found.scale, matches=matches,
                   alternatives=tuple(before(pose) for pose in result.alternatives),
                   spacing=(result.spacing[0] / found.scale, result.spacing[1]),
                   verdict="suspect" if doubts and result.verdict == "trusted" else result.verdict,
                   reasons=(*result.reasons, *doubts))


def _rank(result: RegistrationResult) -> tuple[bool, bool, float]:
    """Scores of unlike features are not compared: what is learned is right more often."""
    return result.verdict == "trusted", result.features in LEARNED, result.score


def _finer(
    clouds: Any, voxel: float, descriptor: torch.nn.Module | None, log: _Log
) -> tuple[Prepared, Prepared]:
    """Return the clouds as patches need them."""
    with log.stage("prepare") as say:
        source, target = (replace(cloud, descriptor=descriptor) for cloud in each_alone(
            lambda cloud: prepare(cloud, voxel, ()), clouds))
        say(f"for patches {len(source.points):,} and {len(target.points):,} points, voxel "
            f"{voxel:.3g}")
    return source, target


def _attempts(
    sight: Sight, method: str, fast: bool, voxel: float | None,
    descriptor: torch.nn.Module | None,
) -> tuple[tuple[str, float], ...]:
    """Return the kinds of features to try, each with its share of the voxel, one after the other.

    Patches at a finer voxel find other answers, not better ones: both are needed. A network of
    one's own that describes no patches is one for whole pairs.
    """
    if sight.sign_free:
        return (("sign_free_fpfh", 1.0),)
    patches = (("patch", 1.0), ("patch", FINER)) if voxel is None else (("patch", 1.0),)
    if method == "patch":
        return patches
    if method == "roitr":
        return (("roitr", 1.0),)
    if method == "auto" and not fast and (
            descriptor is not None or weights_file("cylinder_patch").is_file()):
        of_pairs = descriptor is not None and not hasattr(descriptor, "describe_keys")
        return (("fpfh", 1.0), *((("roitr", 1.0),) if of_pairs else patches))
    return (("fpfh", 1.0),)


def _search(seen: tuple[Prepared, Prepared], kind: str, method: str, log: _Log) -> Found:
    source, target = seen
    with log.stage("features") as say:
        if kind != "roitr":
            each_alone(lambda cloud: cloud.features(kind), seen)
        matches = match(source, target, kind)
        say(LEARNED[kind] if kind in LEARNED else
            f"{'sign-free ' if kind == 'sign_free_fpfh' else ''}FPFH of radius "
            + " and ".join(f"{radius} voxels" for radius, _ in source.supports))
        say(f"{sum(len(m.x) for m in matches):,} matches")
    with log.stage("search") as say:
        found = search(source, target, matches,
                       estimator=method if method in ESTIMATORS else "sc2")
        say(f"{len(found.candidates)} poses; the best score "
            + ", ".join(f"{c.score:.3g}" for c in found.candidates[:3]))
    return found


def _from_start(
    clouds: Any, prepared: Any, start: Any, gaps: Any, voxel: float, log: _Log
) -> RegistrationResult:
    source, target = prepared
    with log.stage("search") as say:
        matches = match(source, target, "sign_free_fpfh")
        candidate = judge(source, target, matches, to_prepared(start, source, target))
        say("refined from the given pose; nothing is searched for")
    return _conclude(clouds, prepared, Found([candidate], matches), "none", "icp", gaps, voxel, log)


def _conclude(
    clouds: Any, seen: tuple[Prepared, Prepared], found: Found, words: str, method: str,
    gaps: tuple[float, float], voxel: float, log: _Log, kind: str = "sign_free_fpfh",
) -> RegistrationResult:
    """Polish the best pose on all points, gather the evidence and judge."""
    source, target = seen
    pose = found.candidates[0].T_target_source if found.candidates else np.eye(4)
    with log.stage("polish") as say:
        transform = to_clouds(pose, source, target)
        if found.candidates:
            transform, told = polish(clouds[0], clouds[1], transform, voxel, max(gaps))
            pose = to_prepared(transform, source, target)
            say(told)
    with log.stage("verdict") as say:
        evidence, more = gather_evidence(source, target, found, pose)
        verdict, reasons = judge_evidence(evidence)
        mismatch = _unit_mismatch(clouds, gaps)
        if mismatch:
            verdict, reasons = "failed", (mismatch, *reasons)
        say(verdict + "".join(f"; {reason}" for reason in reasons))
    return RegistrationResult(
        transform=transform, verdict=verdict, reasons=reasons, overlap=evidence.overlap,
        overlap_target=evidence.overlap_target, inlier_rmse=more.inlier_rmse * target.unit,
        num_correspondences=evidence.correspondences, num_inliers=evidence.inliers,
        score=evidence.score, runner_up=evidence.runner_up, contradiction=evidence.contradiction,
        condition=more.condition, open_motions=evidence.open_motions,
        alternatives=tuple(to_clouds(p, source, target) for p in more.alternatives),
        method=method, features=kind, view_points=words, spacing=gaps, voxel=voxel,
        time_ms=dict(log.time_ms), stages=tuple(log.stages),
        matches=_matches(source, target, found, pose))


def _matches(source: Prepared, target: Prepared, found: Found,
             pose: Float[np.ndarray, "4 4"]) -> Matches:
    """Return the matches of all kinds of features in the frames of the clouds."""
    nothing = np.zeros((0, 3))
    start, end, right = (np.concatenate(parts) for parts in zip(
        (nothing, nothing, np.zeros(0, bool)),
        *((m.x, m.y, agree(pose, m)) for m in found.matches), strict=True))
    return Matches(source.origin + source.unit * start, target.origin + target.unit * end, right)


def _unit_mismatch(clouds: Any, gaps: tuple[float, float]) -> str:
    """Return what to say of clouds whose spacing and extent both differ many times."""
    extents = [float(np.linalg.norm(np.ptp(cloud, axis=0))) for cloud in clouds]
    ratios = [max(pair) / max(min(pair), 1e-300) for pair in (gaps, extents)]
    if min(ratios) < SAME_UNITS:
        return ""
    return (f"scale mismatch: spacing differs {ratios[0]:.0f} times and extent {ratios[1]:.0f} "
            "times: are the units the same?")


def _checked_pose(init: Any) -> Float[np.ndarray, "4 4"]:
    pose = np.array(init, np.float64)
    rigid = pose.shape == (4, 4) and np.isfinite(pose).all() and np.allclose(
        pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-4) and np.linalg.det(pose[:3, :3]) > 0
    rigid = rigid and bool((pose[3] == (0, 0, 0, 1)).all())
    if not rigid:
        raise InputError("the initial pose is no rigid motion", where="init",
                         hint="a 4x4 matrix of a rotation and a translation, T_target_source")
    u, _, vt = np.linalg.svd(pose[:3, :3])  # few digits are made exact
    pose[:3, :3] = u @ vt
    return pose
