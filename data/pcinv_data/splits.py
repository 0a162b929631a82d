"""Which items belong to a split. Pure functions of the labels, never of the training seed."""

from __future__ import annotations

import numpy as np

SPLITS = ("train", "val", "trainval", "test")
VALIDATION_STREAM = 0x76616C  # own random stream, so that no other draw can shift the split


def validation_mask(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Choose `fraction` of each class (at least one of two or more) for validation.

    The choice depends on the labels alone: runs with other seeds share one validation split.
    """
    mask = np.zeros(len(labels), dtype=bool)
    if fraction <= 0:
        return mask
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        rng = np.random.default_rng([VALIDATION_STREAM, int(label)])
        mask[rng.permutation(members)[:count]] = True
    return mask


def split_indices(labels: np.ndarray, split: str, fraction: float,
                  official: np.ndarray | None) -> np.ndarray:
    """Return the positions of a split within its official part ("test" takes them all)."""
    if split in ("test", "trainval"):
        return np.arange(len(labels))
    mask = validation_mask(labels, fraction) if official is None else official
    return np.flatnonzero(mask if split == "val" else ~mask)


def balanced(labels: np.ndarray, limit: int) -> np.ndarray:
    """Return at most `limit` positions, the first of each class in turn, in rising order."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, rank))[:limit])
