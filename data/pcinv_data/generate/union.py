"""Sampling of the visible skin of a union of solids."""

from __future__ import annotations

import numpy as np

from pcinv.errors import InputError
from pcinv_data.generate.primitives import Piece

FIRST_EXCESS = 1.7
"""Proposals a wanted point in the first round; later rounds follow the measured yield."""
MAX_ROUNDS = 40


def sample_union(pieces: list[Piece], num_points: int, rng: np.random.Generator
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw points uniformly by area from the outer surface of the union.

    Returns points (N, 3) float64, outward unit normals (N, 3) float64, parts (N,) int64.
    Raises InputError where the union has no visible surface.
    """
    shares = np.array([piece.solid.envelope for piece in pieces])
    shares /= shares.sum()
    rounds: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    found, proposed = 0, 0
    while found < num_points:
        if len(rounds) == MAX_ROUNDS:
            raise InputError(f"{found} of {num_points} points after {MAX_ROUNDS} rounds",
                             where="pieces", hint="the solids hide each other's surface")
        excess = proposed / found * 1.1 if found else FIRST_EXCESS
        wanted = int((num_points - found) * min(excess, 20.0)) + 16
        rounds.append(_propose(pieces, rng.multinomial(wanted, shares), rng))
        found, proposed = found + len(rounds[-1][0]), proposed + wanted
    points, normals, parts = (np.concatenate(column) for column in zip(*rounds, strict=True))
    chosen = rng.permutation(found)[:num_points]
    return points[chosen], normals[chosen], parts[chosen]


def _propose(pieces: list[Piece], counts: np.ndarray, rng: np.random.Generator
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns = [_place(piece, int(n), rng) for piece, n in zip(pieces, counts, strict=True)]
    owner = np.repeat(np.arange(len(pieces)), [len(c[0]) for c in columns])
    points, normals, parts = (np.concatenate(column) for column in zip(*columns, strict=True))
    visible = np.ones(len(points), dtype=bool)
    if len(pieces) > 1:
        for i, piece in enumerate(pieces):
            local = points - piece.shift
            if piece.rotation is not None:
                local = local @ piece.rotation
            visible &= ~piece.solid.inside(local) | (owner == i)
    return points[visible], normals[visible], parts[visible]


def _place(piece: Piece, n: int, rng: np.random.Generator
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points, normals = piece.solid.propose(rng, n)
    if callable(piece.part):
        parts = piece.part(points).astype(np.int64)
    else:
        parts = np.full(len(points), piece.part, dtype=np.int64)
    if piece.rotation is not None:
        points, normals = points @ piece.rotation.T, normals @ piece.rotation.T
    return points + piece.shift, normals, parts
