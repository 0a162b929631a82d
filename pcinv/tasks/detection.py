"""Detection in LiDAR scans: boxes of a few kinds of road users, from maps of their centres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pcinv.losses.centres import box_loss, heat_loss
from pcinv.metrics.detection import DIFFICULTIES, Frame, kitti_ap, take
from pcinv.metrics.detection_errors import nuscenes_scores
from pcinv.metrics.rotated_iou import rotated_iou
from pcinv.nn.lidar_heads import Centres
from pcinv.nn.pillars import Grid
from pcinv.tasks.batch import Labels
from pcinv.types import Boxes

CLASSES = ("car", "other-vehicle", "pedestrian", "wheeled-vru")
"""What classes of data sets become, in the order of `pcinv.metrics.flow.META_CLASSES` from 1 on."""
LIMITS = (0.7, 0.7, 0.5, 0.5)
"""Overlap from which KITTI takes each for found."""
MIN_POINTS = 5
"""On a box that is learned and asked for; one with fewer is nowhere to be seen."""
MIN_OVERLAP = 0.1
"""Of a box that is off by the radius of its heat, with the true one."""
LEAST_RADIUS = 2
TOP = 100
SURE = 0.05
"""Score from which a centre counts as found."""
MAX_SHARED = 0.2
"""Overlap from above of two boxes of a class of which the surer one stays."""
BOX_WEIGHT = 0.25


class Targets(NamedTuple):
    """What maps of scans should say.

    heat : (B, K, H, W).  cells, scan : (M,) of true centres.  wanted : (M, 10), NaN not known.
    """

    heat: Tensor
    cells: Tensor
    wanted: Tensor
    scan: Tensor


def num_outputs(labels: Labels) -> int:
    """Return the number of maps of heat."""
    return len(labels.class_names)


def visible(boxes: Boxes, grid: Grid) -> Boxes:
    """Return the boxes on the map with a class and enough points."""
    place = (boxes.centre[:, :2] - np.array(grid.low)) / grid.cell
    kept = ((place >= 0) & (place < np.array(grid.shape[::-1]))).all(1) & (boxes.label >= 0)
    if boxes.num_points is not None:
        kept &= boxes.num_points >= MIN_POINTS
    return take(boxes, kept)


def heat_radius(length: float, width: float) -> int:
    """Return by how many cells a centre may be off for boxes (in cells) to keep `MIN_OVERLAP`.

    The smallest of the three cases of CornerNet (Law, Deng, ECCV 2018), with its formula mended.
    """
    total, share = length + width, MIN_OVERLAP
    cases = (
        (1, -total, length * width * (1 - share) / (1 + share)),
        (4, -2 * total, (1 - share) * length * width),
    )
    roots = [(-b - math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a) for a, b, c in cases]
    a, b, c = 4 * share, 2 * share * total, (share - 1) * length * width
    roots.append((-b + math.sqrt(b * b - 4 * a * c)) / (2 * a))
    return max(LEAST_RADIUS, int(min(roots)))


def make_targets(scenes: Sequence[Boxes], grid: Grid, num_classes: int) -> Targets:
    """Return targets of scans from their boxes; those that are not `visible` are left out."""
    height, width = grid.shape
    heat = np.zeros((len(scenes), num_classes, height, width), np.float32)
    cells, wanted, owner = [], [], []
    for scan, scene in enumerate(scenes):
        boxes = visible(scene, grid)
        for k in range(len(boxes)):
            x, y = (boxes.centre[k, :2] - np.array(grid.low)) / grid.cell
            column, row = int(x), int(y)
            size = boxes.size[k]
            radius = heat_radius(size[0] / grid.cell, size[1] / grid.cell)
            _splat(heat[scan, boxes.label[k]], column, row, radius)
            velocity = (np.nan, np.nan) if boxes.velocity is None else boxes.velocity[k]
            wanted.append([x - column, y - row, boxes.centre[k, 2], *np.log(size),
                           np.sin(boxes.yaw[k]), np.cos(boxes.yaw[k]), *velocity])
            cells.append(row * width + column)
            owner.append(scan)
    return Targets(torch.from_numpy(heat), torch.tensor(cells, dtype=torch.int64),
                   torch.tensor(np.array(wanted, np.float32).reshape(-1, 10)),
                   torch.tensor(owner, dtype=torch.int64))


def _splat(heat: np.ndarray, column: int, row: int, radius: int) -> None:
    """Raise heat to a bell around a cell."""
    rows = np.arange(max(0, row - radius), min(heat.shape[0], row + radius + 1))
    columns = np.arange(max(0, column - radius), min(heat.shape[1], column + radius + 1))
    away = (rows[:, None] - row) ** 2 + (columns[None] - column) ** 2
    bell = np.exp(-away / (2 * ((2 * radius + 1) / 6) ** 2)).astype(np.float32)
    part = heat[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    np.maximum(part, bell, out=part)


def loss(centres: Centres, targets: Targets) -> Float[Tensor, " b"]:
    """Return the loss of each scan."""
    boxes = box_loss(centres.box.float(), targets.cells, targets.wanted, targets.scan)
    return heat_loss(centres.heat.float(), targets.heat) + BOX_WEIGHT * boxes


@torch.no_grad()
def decode(centres: Centres, grid: Grid) -> list[tuple[Boxes, np.ndarray]]:
    """Return boxes and scores of each scan: peaks of heat that overlap no surer ones."""
    heat = centres.heat.float().sigmoid()
    peaks = torch.where(heat == F.max_pool2d(heat, 3, 1, 1), heat, 0.0)
    score, place = peaks.flatten(1).topk(min(TOP, peaks[0].numel()))
    height, width = grid.shape
    label, cell = place // (height * width), place % (height * width)
    box = centres.box.float().flatten(2)  # (B, 10, H W)
    found = box.gather(2, cell[:, None].expand(-1, 10, -1)).transpose(1, 2)  # (B, T, 10)
    answers = []
    for scan in range(len(heat)):
        sure = score[scan] > SURE
        values = found[scan][sure].double().cpu().numpy()
        where = cell[scan][sure].cpu().numpy()
        corner = np.stack([where % width, where // width], axis=1)
        centre = np.concatenate([(corner + values[:, :2]) * grid.cell + np.array(grid.low),
                                 values[:, 2:3]], axis=1)
        boxes = Boxes(
            centre=centre, size=np.exp(np.clip(values[:, 3:6], -3, 4)),
            yaw=np.arctan2(values[:, 6], values[:, 7]), label=label[scan][sure].cpu().numpy(),
            instance=np.arange(len(values)), velocity=values[:, 8:10])
        kept = _surest(boxes)
        answers.append((take(boxes, kept), score[scan][sure].double().cpu().numpy()[kept]))
    return answers


def _surest(boxes: Boxes) -> np.ndarray:
    """Return which boxes stay, of boxes in the order of their scores."""
    shared = rotated_iou(boxes, boxes)[0] * (boxes.label[:, None] == boxes.label[None])
    kept = np.ones(len(boxes), bool)
    for row in range(len(boxes)):
        if kept[row]:
            kept[row + 1:] &= shared[row, row + 1:] <= MAX_SHARED
    return np.flatnonzero(kept)


def scores(frames: Sequence[Frame], labels: Labels) -> dict[str, Any]:
    """Return figures of all frames.

    map : nuScenes, mean over the classes that occur and four distances; nds_no_attributes.
    ap_3d, ap_bev : KITTI, 40 recalls, mean over the classes; all boxes with points count.
    ap_3d_moderate : the first, of boxes that count at that difficulty.
    by_class : name -> {ap, ap_3d, ap_bev, errors}.
    """
    nuscenes = nuscenes_scores(frames, labels.class_names)
    by_class: dict[str, dict[str, Any]] = nuscenes.pop("by_class")
    ways = {"ap_3d": (True, None), "ap_bev": (False, None),
            "ap_3d_moderate": (True, DIFFICULTIES["moderate"])}
    found: dict[str, Any] = {key: nuscenes[key] for key in ("map", "nds_no_attributes")}
    for name, (solid, difficulty) in ways.items():
        each = {}
        for label, kind in enumerate(labels.class_names):
            limit = LIMITS[label] if labels.class_names == CLASSES else 0.5
            value = kitti_ap(frames, label, limit, difficulty, solid=solid)
            if value is not None:
                each[kind] = value
                by_class.setdefault(kind, {})[name] = value
        found[name] = float(np.mean(list(each.values()))) if each else 0.0
    return {**found, "by_class": by_class}
