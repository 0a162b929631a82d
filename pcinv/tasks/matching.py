"""Matching: descriptors of places that are alike where the places are the same."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pcinv.tasks.batch import Labels

IN_COMMON = 0.1
"""Matches are right within this, in units of prepared clouds: two voxels."""
VAL_PAIRS = 24
"""Pairs that are matched as a whole after each epoch."""
ENOUGH = 0.05
"""Share of right matches from which on a pair counts as matched (feature matching recall)."""


def num_outputs(labels: Labels) -> int:
    """Return 1: a descriptor has no classes."""
    return 1


def new_state(labels: Labels, device: torch.device) -> dict[str, Tensor]:
    """Return sums of zero."""
    return {name: torch.zeros((), dtype=torch.float64, device=device)
            for name in ("loss", "found", "count")}


def update(state: dict[str, Tensor], losses: Tensor, found: Tensor) -> None:
    """Add the correspondences of a batch."""
    state["loss"] += losses.detach().double().sum()
    state["found"] += found.double().sum()
    state["count"] += len(losses)


def compute(state: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean loss, and the share of correspondences that were found in their batch."""
    count = max(1.0, float(state["count"]))
    return {"loss": float(state["loss"]) / count, "found": float(state["found"]) / count}


def share_right(
    source: Float[np.ndarray, "k 3"], target: Float[np.ndarray, "k 3"],
    T_target_source: Float[np.ndarray, "4 4"],
) -> float:
    """Return the share of matches (inlier ratio) that the motion brings within `IN_COMMON`."""
    moved = source @ T_target_source[:3, :3].T + T_target_source[:3, 3]
    off = np.linalg.norm(moved - target, axis=1)
    return float((off < IN_COMMON).mean()) if len(off) else 0.0


def matching_metrics(ratios: list[float]) -> dict[str, float]:
    """Return the mean inlier ratio of pairs, and the share of pairs with enough inliers."""
    values = np.array(ratios, np.float64)
    return {"inlier_ratio": float(values.mean()),
            "feature_matching_recall": float((values > ENOUGH).mean())}
