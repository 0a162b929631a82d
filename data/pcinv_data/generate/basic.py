"""Builders of plain solids, each one part. Their proportions keep the classes apart."""

from __future__ import annotations

import math

import numpy as np

from pcinv_data.generate.mechanical import helix
from pcinv_data.generate.primitives import Ellipsoid, Piece, Revolved, frustum, regular_polygon, rod
from pcinv_data.generate.swept import Tube

Rng = np.random.Generator


def sphere(rng: Rng) -> list[Piece]:
    """A ball, whole or with one flat side of at most a quarter of its radius."""
    if rng.random() < 0.3:
        return [Piece(Ellipsoid((1, 1, 1)), 0)]
    cut = math.acos(1 - rng.uniform(0.02, 0.25))
    line = [(math.sin(a), -math.cos(a)) for a in np.linspace(cut, math.pi, 60)]
    return [Piece(Revolved([(0.0, line[0][1]), *line]), 0)]


def ellipsoid(rng: Rng) -> list[Piece]:
    """Half axes 1, b, c with c at most 0.65: never near a ball."""
    small = rng.uniform(0.25, 0.65)
    return [Piece(Ellipsoid((1.0, rng.uniform(small, 1.0), small)), 0)]


def cone(rng: Rng) -> list[Piece]:
    """A round cone, pointed or cut; its top is at most half as wide as its base."""
    tip = rng.uniform(0.1, 0.5) if rng.random() < 0.5 else 0.0
    return [rod((0, 0, 0), (0, 0, rng.uniform(0.8, 3.5)), 1.0, 0, tip)]


def cylinder(rng: Rng) -> list[Piece]:
    """A round cylinder from a thick disc to a rod, by chance with bevelled rims."""
    height = math.exp(rng.uniform(math.log(0.4), math.log(7.0)))
    bevel = rng.uniform(0.03, 0.15) * min(1.0, height) if rng.random() < 0.5 else 0.0
    profile = [(0.0, 0.0), (1 - bevel, 0.0), (1.0, bevel), (1.0, height - bevel),
               (1 - bevel, height), (0.0, height)]
    return [Piece(Revolved(profile), 0)]


def torus(rng: Rng) -> list[Piece]:
    """A ring of round section."""
    return [Piece(Tube(helix(1.0, 0.0, 0.0, 1.0), rng.uniform(0.12, 0.5), closed=True), 0)]


def prism(rng: Rng) -> list[Piece]:
    """A straight or slightly tapered block on a polygon of three to six sides."""
    sides = int(rng.integers(3, 7))
    corners = regular_polygon(sides, 1.0) * [1.0, rng.uniform(0.6, 1.0)]
    height = math.exp(rng.uniform(math.log(0.5), math.log(4.0)))
    return [Piece(frustum(corners, corners * rng.uniform(0.75, 1.0), 0, height), 0)]
