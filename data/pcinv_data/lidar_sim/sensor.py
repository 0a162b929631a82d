"""The spinning scanner: where its beams point, when each column is fired, what comes back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RATE = 10.0
"""Turns a second."""
BEAMS = (16, 32, 64, 128)
COLUMNS = (64, 4096)
NEAR = 1.0
"""The nearest that is measured, in metres."""


class Echoes(NamedTuple):
    """What a turn met, a row for each point, column by column and from the lowest beam up.

    column, ring : (N,).  distance : (N,) without noise.  label, owner : (N,) owner -1 for what
        is of the street.  cosine : (N,) between ray and surface.  shine : (N,).
    """

    column: np.ndarray
    ring: np.ndarray
    distance: np.ndarray
    label: np.ndarray
    owner: np.ndarray
    cosine: np.ndarray
    shine: np.ndarray


def elevations(beams: int) -> np.ndarray:
    """Return the elevation of each beam in radians, from the lowest up.

    16 as VLP-16, 32 as HDL-32E, 64 as HDL-64E, whose upper half is denser; 128 evenly.
    """
    table = {
        16: np.linspace(-15, 15, 16),
        32: np.linspace(-30.67, 10.67, 32),
        64: np.concatenate([np.linspace(-24.33, -8.83, 32), np.linspace(-8.33, 2, 32)]),
        128: np.linspace(-25, 15, 128),
    }
    return np.deg2rad(table[beams])


def firing(columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return azimuth (C,) in radians, and when each column is fired, in seconds about the stamp.

    The scanner turns clockwise as seen from above, begins behind, and looks ahead at its stamp.
    """
    share = (np.arange(columns) + 0.5) / columns
    return np.pi - 2 * np.pi * share, (share - 0.5) / RATE


def directions(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Return unit vectors (C, B, 3) of all beams of all columns."""
    flat = np.cos(elevation)
    return np.stack([np.cos(azimuth)[:, None] * flat, np.sin(azimuth)[:, None] * flat,
                     np.broadcast_to(np.sin(elevation), (len(azimuth), len(elevation)))], -1)


def returns(echoes: Echoes, noise: float, dropout: bool, rng: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which echoes are measured (N,), their distances and intensities with noise.

    The light that comes back falls with the square of the distance, on dark surfaces and at
    grazing angles; the less there is, the more often nothing is measured.
    """
    count = len(echoes.distance)
    error, chance, flicker = rng.standard_normal(count), rng.random(count), rng.random(count)
    light = echoes.shine * np.sqrt(echoes.cosine) * (70 / echoes.distance) ** 2
    kept = chance < 0.995 * (1 - np.exp(-4 * light)) if dropout else np.ones(count, bool)
    distance = np.maximum(echoes.distance + noise * error, NEAR / 2)
    intensity = echoes.shine * (0.35 + 0.65 * echoes.cosine) * (0.85 + 0.3 * flicker)
    return kept, distance, np.clip(intensity, 0, 1).astype(np.float32)
