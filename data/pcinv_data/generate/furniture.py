"""Builders of furniture: each draws the proportions of one piece and returns its solids.

z points up and the floor is near z = 0. Solids that touch overlap a little, so that no face
hidden inside the object is left on its skin. Part indices follow the names in `classes.py`.
"""

from __future__ import annotations

import math

import numpy as np

from pcinv_data.generate.primitives import Piece, Revolved, bar, box, rod, turn

Rng = np.random.Generator
OVERLAP = 0.01


def _legs(rng: Rng, width: float, depth: float, height: float, part: int,
          count: int = 4) -> list[Piece]:
    """Legs under a top of this size, square, round or tapered, splayed outwards by chance."""
    thick = rng.uniform(0.05, 0.11)
    splay = rng.uniform(0.0, 0.15) if rng.random() < 0.5 else 0.0
    kind = rng.integers(3)
    if count == 4:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        feet = corners * [width / 2 - thick, depth / 2 - thick]
    else:
        angle = 2 * math.pi * np.arange(count) / count
        feet = np.column_stack([np.cos(angle), np.sin(angle)]) * (min(width, depth) / 2 - thick)
    legs = []
    for x, y in feet:
        top, foot = (x, y, height + OVERLAP), (x * (1 + splay), y * (1 + splay), 0.0)
        if kind == 0:
            legs.append(bar(top, foot, 1.6 * thick, part))
        else:
            legs.append(rod(top, foot, thick, part, thick if kind == 1 else 0.55 * thick))
    return legs


def chair(rng: Rng) -> list[Piece]:
    """Seat, back, leg, arm."""
    width, depth = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.1)
    height, thick = rng.uniform(0.75, 1.15), rng.uniform(0.06, 0.18)
    pieces = [box((width, depth, thick), (0, 0, height + thick / 2), 0)]
    pieces += _chair_support(rng, width, depth, height)
    pieces += _chair_back(rng, width, depth, height + thick)
    if rng.random() < 0.45:
        rise, bulk = rng.uniform(0.25, 0.4), rng.uniform(0.06, 0.12)
        top = height + thick + rise
        for side in (-1, 1):
            x = side * (width / 2 - bulk / 2)
            pieces.append(box((bulk, depth * 0.92, bulk), (x, 0.03 * depth, top), 3))
            pieces.append(bar((x, -0.35 * depth, top), (x, -0.35 * depth, height), bulk * 0.8, 3))
    return pieces


def _chair_support(rng: Rng, width: float, depth: float, height: float) -> list[Piece]:
    kind = rng.random()
    if kind < 0.65:
        legs = _legs(rng, width, depth, height, 2)
        if rng.random() < 0.4:  # side stretchers
            low, inset = rng.uniform(0.2, 0.45) * height, 0.1
            for side in (-1, 1):
                x = side * (width / 2 - inset)
                legs.append(bar((x, -depth / 2 + inset, low), (x, depth / 2 - inset, low), 0.06, 2))
        return legs
    if kind < 0.85:  # one column on a star of feet
        count = int(rng.integers(4, 7))
        legs = [rod((0, 0, 0.12), (0, 0, height + OVERLAP), rng.uniform(0.05, 0.09), 2)]
        reach = rng.uniform(0.45, 0.6)
        for k in range(count):
            angle = 2 * math.pi * k / count
            legs.append(bar((0, 0, 0.16), (reach * math.cos(angle), reach * math.sin(angle), 0.05),
                            0.09, 2))
        return legs
    thick = rng.uniform(0.06, 0.1)  # two side panels
    return [box((thick, depth * 0.9, height + OVERLAP),
                (side * (width / 2 - thick), 0, height / 2 + OVERLAP / 2), 2) for side in (-1, 1)]


def _chair_back(rng: Rng, width: float, depth: float, seat: float) -> list[Piece]:
    tall, thick = rng.uniform(0.75, 1.4), rng.uniform(0.06, 0.12)
    lean = turn(0, -rng.uniform(0.0, 0.3))
    foot = np.array([0.0, depth / 2 - thick / 2, seat - 0.04])
    kind = rng.integers(3)
    if kind == 0:
        narrow = rng.uniform(0.7, 1.0)
        at = foot + lean @ [0, 0, tall / 2]
        return [box((width * 0.98, thick, tall), at, 1, top=(narrow, 1.0), rotation=lean)]
    pieces = []
    for side in (-1, 1):
        x = side * (width / 2 - 0.05)
        pieces.append(box((0.09, thick, tall), foot + lean @ [x, 0, tall / 2], 1, rotation=lean))
    count = int(rng.integers(2, 5))
    if kind == 1:  # rungs across
        for z in np.linspace(0.4, 0.95, count) * tall:
            size = (width - 0.08, thick * 0.6, 0.5 * tall / (count + 1))
            pieces.append(box(size, foot + lean @ [0, 0, z - size[2] / 2], 1, rotation=lean))
        return pieces
    pieces.append(box((width - 0.08, thick * 0.8, 0.14), foot + lean @ [0, 0, tall - 0.08], 1,
                      rotation=lean))
    for x in np.linspace(-0.5, 0.5, count + 2)[1:-1] * width:  # upright slats
        size = (0.4 * width / (count + 1), thick * 0.5, tall - 0.1)
        pieces.append(box(size, foot + lean @ [x, 0, tall / 2 - 0.04], 1, rotation=lean))
    return pieces


def stool(rng: Rng) -> list[Piece]:
    """Seat, leg, rung: a small seat on high legs, no back."""
    width, height = rng.uniform(0.8, 1.05), rng.uniform(1.35, 2.2)
    thick, count = rng.uniform(0.08, 0.25), int(rng.integers(3, 5))
    if count == 4 and rng.random() < 0.5:
        seat = box((width, width * rng.uniform(0.85, 1.0), thick), (0, 0, height + thick / 2), 0)
    else:
        seat = rod((0, 0, height), (0, 0, height + thick), width / 2, 0,
                   width / 2 * rng.uniform(0.85, 1.0))
    inner = width * 0.68
    angle = 2 * math.pi * (np.arange(count) + 0.5) / count
    feet = np.column_stack([np.cos(angle), np.sin(angle)])
    thin, spread = rng.uniform(0.035, 0.06), rng.uniform(1.0, 1.5)
    pieces = [seat]
    for x, y in feet * inner / 2:
        pieces.append(rod((x, y, height + OVERLAP), (x * spread, y * spread, 0), thin, 1))
    for level in rng.uniform(0.15, 0.3) * np.arange(1, rng.integers(2, 4)):
        ring = feet * inner / 2 * (spread + (1 - spread) * level)
        for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            pieces.append(rod((*a, level * height), (*b, level * height), 0.8 * thin, 2))
    return pieces


def table(rng: Rng) -> list[Piece]:
    """Top, leg: wider than high."""
    height, thick = rng.uniform(0.75, 1.0), rng.uniform(0.05, 0.14)
    depth = rng.uniform(1.2, 1.6)
    width = depth * rng.uniform(1.0, 1.9)
    at = height + thick / 2
    kind = rng.random()
    if kind < 0.35:  # round
        radius = rng.uniform(0.75, 1.1)
        top = rod((0, 0, height), (0, 0, height + thick), radius, 0)
        if rng.random() < 0.5:
            foot = rng.uniform(0.35, 0.6) * radius
            return [top, rod((0, 0, 0.03), (0, 0, height + OVERLAP), rng.uniform(0.07, 0.14), 1),
                    rod((0, 0, 0), (0, 0, 0.07), foot, 1, foot * rng.uniform(0.6, 1.0))]
        return [top, *_legs(rng, 1.4 * radius, 1.4 * radius, height, 1, int(rng.integers(3, 5)))]
    pieces = [box((width, depth, thick), (0, 0, at), 0)]
    if kind < 0.85:
        pieces += _legs(rng, width, depth, height, 1)
        if rng.random() < 0.4:  # apron
            pieces.append(box((width * 0.85, depth * 0.8, 0.14), (0, 0, height - 0.06), 0))
        return pieces
    for side in (-1, 1):  # trestles
        x = side * width * rng.uniform(0.32, 0.4)
        pieces.append(box((0.08, depth * 0.75, height + OVERLAP), (x, 0, height / 2), 1))
    pieces.append(bar((-width * 0.36, 0, height / 3), (width * 0.36, 0, height / 3), 0.09, 1))
    return pieces


def desk(rng: Rng) -> list[Piece]:
    """Top, drawers, panel: a table with one or two blocks of drawers."""
    width, depth = rng.uniform(1.6, 2.3), rng.uniform(0.75, 1.05)
    height, thick = rng.uniform(0.8, 1.0), rng.uniform(0.05, 0.1)
    pieces = [box((width, depth, thick), (0, 0, height + thick / 2), 0)]
    block = width * rng.uniform(0.22, 0.32)
    double = rng.random() < 0.45
    low = rng.uniform(0.0, 0.25) * height
    for side in (-1, 1) if double else (1,):
        x = side * (width / 2 - block / 2 - 0.02)
        tall = height - low + OVERLAP
        pieces.append(box((block, depth * 0.9, tall), (x, 0, low + tall / 2), 1))
        count = int(rng.integers(2, 5))
        pitch = (height - low) / count
        for k in range(count):  # drawer fronts stand proud
            z = low + (k + 0.5) * pitch
            pieces.append(box((block * 0.86, 0.08, pitch * 0.8), (x, -depth * 0.45, z), 1))
    if not double:
        pieces.append(box((0.07, depth * 0.9, height + OVERLAP),
                          (-width / 2 + 0.06, 0, height / 2), 2))
    if rng.random() < 0.7:  # modesty panel
        drop = rng.uniform(0.35, 0.9) * height
        pieces.append(box((width * 0.94, 0.05, drop),
                          (0, depth * 0.4, height - drop / 2 + OVERLAP), 2))
    return pieces


def bed(rng: Rng) -> list[Piece]:
    """Mattress, board, frame, pillow."""
    length, width = 2.0, rng.uniform(0.95, 1.9)
    leg, base, soft = rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.25), rng.uniform(0.15, 0.3)
    top = leg + base + soft
    pieces = [box((length, width, base), (0, 0, leg + base / 2), 2),
              box((length * 0.98, width * 0.97, soft + OVERLAP), (0, 0, top - soft / 2), 0,
                  top=(rng.uniform(0.94, 1.0),) * 2)]
    for x in (-0.92, 0.92):
        for y in (-0.45, 0.45):
            pieces.append(box((0.1, 0.1, leg + OVERLAP), (x, y * width, leg / 2), 2))
    thick, head = rng.uniform(0.06, 0.15), top + rng.uniform(0.25, 0.7)
    pieces.append(box((thick, width * rng.uniform(1.0, 1.1), head),
                      (-length / 2 - thick / 2 + 0.03, 0, head / 2), 1,
                      top=(1.0, rng.uniform(0.75, 1.0))))
    if rng.random() < 0.5:
        foot = top + rng.uniform(0.0, 0.2)
        pieces.append(box((thick, width, foot), (length / 2 + thick / 2 - 0.03, 0, foot / 2), 1))
    count = 2 if width > 1.3 else 1
    for k in range(count):
        y = (k - (count - 1) / 2) * width / 2
        pieces.append(box((0.4, width / count * 0.75, 0.16), (-0.7, y, top + 0.05), 3,
                          top=(0.7, 0.85)))
    return pieces


def sofa(rng: Rng) -> list[Piece]:
    """Seat, back, arm, leg: at least twice as wide as deep inside its arms."""
    width, depth = rng.uniform(1.7, 2.9), rng.uniform(0.8, 1.0)
    leg, base = rng.uniform(0.05, 0.2), rng.uniform(0.2, 0.3)
    cushion, arm = rng.uniform(0.12, 0.22), rng.uniform(0.12, 0.28)
    back, rise = rng.uniform(0.15, 0.28), rng.uniform(0.4, 0.65)
    seat = leg + base
    pieces = [box((width, depth, base), (0, 0, leg + base / 2), 0)]
    inside, count = width - 2 * arm, int(rng.integers(2, 4))
    for k in range(count):
        x = (k - (count - 1) / 2) * inside / count
        size = (inside / count * 0.97, depth - back, cushion + OVERLAP)
        pieces.append(box(size, (x, -back / 2, seat + cushion / 2), 0, top=(0.95, 0.97)))
    tall = rise + OVERLAP
    pieces.append(box((width * 0.99, back, tall),
                      (0, depth / 2 - back / 2 - 0.01, seat + tall / 2 - OVERLAP), 1,
                      top=(rng.uniform(0.9, 1.0), rng.uniform(0.5, 1.0))))
    high = rng.uniform(0.2, 0.4)
    for side in (-1, 1):
        x = side * (width / 2 - arm / 2 - 0.005)
        pieces.append(box((arm, depth * 0.97, high), (x, -0.01, seat + high / 2 - OVERLAP), 2))
        if leg > 0.1:
            for y in (-0.4, 0.4):
                pieces.append(rod((x, y * depth, 0), (x, y * depth, leg + OVERLAP), 0.05, 3))
    return pieces


def bookshelf(rng: Rng) -> list[Piece]:
    """Side, shelf, back."""
    width, height, depth = rng.uniform(0.8, 1.7), rng.uniform(1.7, 2.6), rng.uniform(0.3, 0.5)
    thick, count = rng.uniform(0.04, 0.08), int(rng.integers(3, 7))
    pieces = [box((thick, depth, height), (side * (width - thick) / 2, 0, height / 2), 0)
              for side in (-1, 1)]
    for z in np.linspace(thick / 2 + 0.02, height - thick / 2 - 0.02, count):
        pieces.append(box((width - 2 * thick + 2 * OVERLAP, depth * 0.97, thick * 0.8),
                          (0, 0, z), 1))
    if rng.random() < 0.4:  # upright in the middle
        x = rng.uniform(-0.15, 0.15) * width
        pieces.append(box((thick * 0.8, depth * 0.93, height * 0.97), (x, 0, height / 2), 0))
    if rng.random() < 0.6:
        pieces.append(box((width * 0.98, 0.03, height * 0.98),
                          (0, depth / 2 - 0.02, height / 2), 2))
    return pieces


def lamp(rng: Rng) -> list[Piece]:
    """Base, pole, shade: a hollow shade on a pole, straight or bent."""
    foot, thin = rng.uniform(0.25, 0.45), rng.uniform(0.03, 0.06)
    height = rng.uniform(1.0, 2.2)
    base = rod((0, 0, 0), (0, 0, rng.uniform(0.05, 0.14)), foot, 0, foot * rng.uniform(0.5, 1.0))
    top, rim, wall = rng.uniform(0.12, 0.3), rng.uniform(0.35, 0.6), 0.025
    tall = rng.uniform(0.35, 0.65)
    shade = Revolved([(rim - wall, 0), (rim, 0), (top, tall), (0, tall), (0, tall - wall),
                      (top - wall, tall - wall)])
    if rng.random() < 0.6:
        return [base, rod((0, 0, 0.02), (0, 0, height + tall - wall / 2), thin, 1),
                Piece(shade, 2, (0, 0, height))]
    bend = rng.uniform(0.3, 0.8)  # a desk lamp: two arms, tilted shade
    elbow = np.array([-rng.uniform(0.2, 0.6), 0.0, 0.55 * height])
    end = np.array([rng.uniform(0.2, 0.6), 0.0, height])
    tilt = turn(1, -bend)
    return [base, rod((0, 0, 0.02), elbow, thin, 1), rod(elbow, end, thin, 1),
            Piece(shade, 2, tuple(end + tilt @ [0, 0, -tall + wall / 2]), tilt)]
