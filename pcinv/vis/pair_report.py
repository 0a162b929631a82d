"""One registration as a page: the verdict, its evidence, and what it looks like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pcinv.registration.result import RegistrationResult
from pcinv.vis.build import scene_of_files, with_matches
from pcinv.vis.report import Report
from pcinv.vis.scene import Scene, with_layers
from pcinv.vis.software import draw

MOVED, TARGET, BEFORE = range(3)
"""Layers of `scene_of_pair`."""
NEAR_VOXELS = 2
"""As far as the verdict takes points for overlapping."""
MOTIONS = ("loosest", "2nd", "3rd", "4th", "5th", "firmest")
WIDTH, HEIGHT = 800, 600


def scene_of_pair(source: str | Path, target: str | Path, found: RegistrationResult, *,
                  limit: int | None = None) -> Scene:
    """Return the source before and after, the target, the overlap and the matches.

    limit : points that are drawn.
    """
    scene = scene_of_files([source, target], transform=found.transform, limit=limit,
                           near=NEAR_VOXELS * found.voxel)
    if found.matches is not None:
        scene = with_matches(scene, found.matches.source, found.matches.target,
                             found.matches.agree)
    return replace(scene, title=f"{scene.title}: {found.verdict}")


def report_of_pair(scene: Scene, found: RegistrationResult, command: str) -> Report:
    """Return the page of a registration.

    scene : of `scene_of_pair`.  command : that was typed.
    """
    page = Report(scene.title)
    page.code(command)
    for reason in found.reasons:
        page.text(reason)
    page.heading("Before and after")
    page.pictures([
        (_drawn(_only(scene, BEFORE, TARGET)), "as they come"),
        (_drawn(_only(scene, MOVED, TARGET)), "after the motion"),
        (_drawn(replace(_only(scene, MOVED, TARGET), color_by="overlap")),
         "what lies in the overlap"),
        (_drawn(_matched(scene)),
         "matches: inliers agree with the motion, outliers do not"),
    ], least_rem=26)
    page.heading("The scene")
    page.text("Turn it with the mouse; hidden layers and lines are switched on at the side.")
    page.scene(scene)
    page.heading("Evidence")
    page.facts(_evidence(found))
    page.table(("direction", "how firmly the surfaces hold it"),
               list(zip(MOTIONS, found.condition, strict=False)))
    page.heading("T_target_source")
    page.table(("", "", "", ""), [[f"{value:.9g}" for value in row] for row in found.transform])
    if found.stages:
        page.heading("What was done")
        page.table(("stage", "what it did", "ms"),
                   [(stage.name, stage.words, round(stage.time_ms)) for stage in found.stages])
    return page


def _drawn(scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
    return draw(scene, width=WIDTH, height=HEIGHT)


def _evidence(found: RegistrationResult) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "verdict": found.verdict,
        "overlap": f"{found.overlap:.0%} of the source, {found.overlap_target:.0%} of the target",
        "distance where they overlap, RMSE": found.inlier_rmse,
        "matches that agree": f"{found.num_inliers:,} of {found.num_correspondences:,}",
        "score": found.score,
        "the best other pose fits": f"{found.runner_up:.0%} as well",
        "points that would have hidden what the other camera saw": f"{found.contradiction:.1%}",
        "open motions": found.open_motions,
        "turned by": f"{found.rotation_angle_deg:.2f} degrees",
        "moved by": found.translation_norm,
        "method, features": f"{found.method}, {found.features}",
        "view points": found.view_points,
        "spacing of the points, source and target": found.spacing,
        "voxel": found.voxel,
    }
    return facts if found.scale == 1 else {**facts, "scale": found.scale}


def _only(scene: Scene, *layers: int) -> Scene:
    """Return the scene with these layers visible, each in its own colour, and no lines."""
    shown = with_layers(scene, [(k, {"visible": k in layers}) for k in range(len(scene.layers))])
    return replace(shown, lines=(), title="", notes=())


def _matched(scene: Scene) -> Scene:
    """Return source and target side by side, with the matches between them."""
    shown = _only(scene, BEFORE, TARGET)
    low, high = (np.stack(ends) for ends in zip(*(
        (layer.points.min(axis=0), layer.points.max(axis=0))
        for layer in (shown.layers[BEFORE], shown.layers[TARGET])), strict=True))
    aside = np.zeros(3, np.float32)
    aside[0] = low[1, 0] - high[0, 0] - 0.15 * (high - low).max()  # left of the target
    before = shown.layers[BEFORE]
    layers = with_layers(shown, [(BEFORE, {"points": before.points + aside})]).layers
    lines = tuple(replace(each, start=each.start + aside, visible=True) for each in scene.lines
                  if "matches" in each.name)
    return replace(shown, layers=layers, lines=lines)
