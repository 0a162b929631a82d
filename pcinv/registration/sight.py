"""From where the clouds were seen: what is told, what the data suggests, and how to do without.

Features need normals that all point to the side of the camera, and free space needs the camera
itself. Files of people often lack the place, so several guesses are tried in turn, until the
answer of one of them is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.errors import InputError
from pcinv.registration.outward import CLOSED, orient_outward
from pcinv.registration.prepare import VOXEL, Prepared
from pcinv.registration.viewpoint import (
    find_view_point,
    looks_like_view_point,
    orient_towards,
)

Pair = tuple[Prepared, Prepared]
Places = tuple[Float[np.ndarray, "3"] | None, Float[np.ndarray, "3"] | None]
WORDS = ("auto", "origin", "none")
FAR = 3.0
"""An origin farther from the cloud than so many times its extent is no view point."""
NEAR = 2.0
"""Nor is one that is nearer to a point than so many voxels."""


@dataclass(frozen=True)
class Sight:
    """One guess. places : of the cameras; None for a cloud that was seen from all round."""

    words: str
    pair: Pair
    places: Places

    @property
    def sign_free(self) -> bool:
        """Whether the features must do without oriented normals."""
        return any(place is None and not cloud.is_closed
                   for place, cloud in zip(self.places, self.pair, strict=True))

    def prepared(self) -> Pair:
        """Return the clouds with their view points, and the normals turned to these."""
        if self.sign_free:
            return self.pair
        source, target = (
            cloud if place is None else
            replace(cloud, view_point=place, _described={},
                    normals=orient_towards(cloud.points, cloud.normals, place))
            for cloud, place in zip(self.pair, self.places, strict=True))
        return source, target

    def on(self, pair: Pair) -> Sight:
        """Return the same guess for the same clouds, prepared in another way."""
        clouds = [replace(new, is_closed=True,
                          normals=orient_outward(new.points, new.normals, VOXEL)[0])
                  if old.is_closed else new for old, new in zip(self.pair, pair, strict=True)]
        places = [None if place is None else _place(new, old.origin + old.unit * place)
                  for place, old, new in zip(self.places, self.pair, pair, strict=True)]
        return Sight(self.words, (clouds[0], clouds[1]), (places[0], places[1]))


def sights(pair: Pair, view_point: Any = "auto", told: Places = (None, None)) -> Iterator[Sight]:
    """Yield guesses, the most promising first.

    view_point : "auto", "origin", "none", or (3,) in the frames of both clouds.
    told : (3,) or None, the places that came with the clouds, in their frames; for "auto".

    Raises InputError for anything else.
    """
    if not isinstance(view_point, str):
        place = np.asarray(view_point, np.float64)
        if place.shape != (3,) or not np.isfinite(place).all():
            raise InputError(f"view point {view_point}", where="view_point",
                             hint="three finite numbers")
        yield Sight("as given", pair, (_place(pair[0], place), _place(pair[1], place)))
        return
    if view_point not in WORDS:
        raise InputError(f"view point '{view_point}'", where="view_point",
                         hint="auto, origin, none, or X,Y,Z")
    origins = _place(pair[0], np.zeros(3)), _place(pair[1], np.zeros(3))
    if view_point == "origin":
        yield Sight("the origin, as asked", pair, origins)
        return
    if view_point == "auto":
        known = tuple(None if place is None else _place(cloud, place)
                      for cloud, place in zip(pair, told, strict=True))
        believed = [place if place is not None else origin if is_plausible(cloud, origin) else None
                    for cloud, place, origin in zip(pair, known, origins, strict=True)]
        if believed[0] is not None and believed[1] is not None:
            words = ("the origin", "of one cloud told, the origin for the other", "told by both")
            yield Sight(words[sum(place is not None for place in known)], pair,
                        (believed[0], believed[1]))
        if known[0] is None or known[1] is None:
            first, second = (cloud if place is not None else as_closed(cloud)
                             for cloud, place in zip(pair, known, strict=True))
            count = first.is_closed + second.is_closed
            if count:
                places = [None if cloud.is_closed else place if place is not None else
                          _guess(cloud)
                          for cloud, place in zip((first, second), believed, strict=True)]
                words = "both" if count == 2 else "one of them"
                yield Sight(f"from all round, {words}", (first, second), (places[0], places[1]))
            guesses = [place if place is not None else _guess(cloud)
                       for cloud, place in zip(pair, known, strict=True)]
            yield Sight("guessed from what is visible", pair, (guesses[0], guesses[1]))
    yield Sight("none: features that need no orientation", pair, (None, None))


def _place(cloud: Prepared, place: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Return a place of the cloud's own frame in the prepared one."""
    return np.asarray((place - cloud.origin) / cloud.unit)


def _guess(cloud: Prepared) -> Float[np.ndarray, "3"]:
    return find_view_point(cloud.points, cloud.normals, VOXEL).position


def as_closed(cloud: Prepared) -> Prepared:
    """Return a shape that was seen from all round with its normals outward, others as they are."""
    normals, sure = orient_outward(cloud.points, cloud.normals, VOXEL)
    return replace(cloud, is_closed=True, normals=normals) if sure >= CLOSED else cloud


def is_plausible(cloud: Prepared, place: Float[np.ndarray, "3"]) -> bool:
    """Return whether a camera may have been there: off the surface, not far away, and it looks so.
    """
    extent = float(np.linalg.norm(np.ptp(cloud.points, axis=0)))
    distance = float(np.linalg.norm(cloud.points - place, axis=1).min())
    return NEAR * VOXEL < distance < FAR * extent and looks_like_view_point(
        cloud.points, cloud.normals, VOXEL, place)
