"""Batches of scans: views of them, thinned out, from seeds alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.engine.lidar_views import View
from pcinv.nn.pillars import ScanBatch
from pcinv.types import Boxes, Scan


@dataclass(frozen=True)
class LabelledBatch:
    """Scans with what is to be said of them.

    scans : of the network.  label : (ΣN,) int64 or None.  boxes : of each scan, or None.
    """

    scans: ScanBatch
    label: Int[Tensor, " total"] | None
    boxes: list[Boxes] | None


def order_of(rows: Sequence[int], count: int, seed: Sequence[int]) -> Int[np.ndarray, " count"]:
    """Return `count` of the rows in an order of chance, each as often as any other or once more."""
    rng = np.random.default_rng(seed)
    rounds = -(-count // len(rows))
    found: np.ndarray = np.concatenate([rng.permutation(np.asarray(rows)) for _ in range(rounds)])
    return found[:count]


def draw_rows(scan: Scan, count: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Return `count` points of a scan at random, in their order; all where there are no more."""
    if len(scan) <= count:
        return np.arange(len(scan))
    return np.sort(rng.choice(len(scan), count, replace=False))


def input_of(scan: Scan, view: View, rows: np.ndarray | slice = slice(None)
             ) -> Float[Tensor, "n 4"]:
    """Return x, y, z, intensity of points in a view, (N, 4); zero where there is no intensity."""
    xyz = view.points(scan.xyz[rows])
    intensity = np.zeros(len(xyz), np.float32) if scan.intensity is None else scan.intensity[rows]
    return torch.from_numpy(np.concatenate([xyz, intensity[:, None]], axis=1).astype(np.float32))


def labelled(scans: Sequence[Scan], views: Sequence[View], rows: Sequence[np.ndarray | slice]
             ) -> LabelledBatch:
    """Put views of scans together, with what is known of them."""
    clouds = [input_of(*each) for each in zip(scans, views, rows, strict=True)]
    labels = [scan.label[kept] for scan, kept in zip(scans, rows, strict=True)
              if scan.label is not None]
    boxes = [view.boxes(scan.boxes) for scan, view in zip(scans, views, strict=True)
             if scan.boxes is not None]
    return LabelledBatch(
        ScanBatch.of(clouds),
        torch.from_numpy(np.concatenate(labels)) if len(labels) == len(scans) else None,
        boxes if len(boxes) == len(scans) else None)
