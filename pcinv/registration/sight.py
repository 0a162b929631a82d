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
from pcinv.registration.prepare import VOXEL, Prepared
from pcinv.registration.viewpoint import (
    find_view_point,
    looks_like_view_point,
    orient_towards,
)

Pair = tuple[Prepared, Prepared]
WORDS = ("auto", "origin", "none")
FAR = 3.0
"""An origin farther from the cloud than so many times its extent is no view point."""
NEAR = 2.0
"""Nor is one that is nearer to a point than so many voxels."""


@dataclass(frozen=True)
class Sight:
    """One guess. sign_free : features that need no orientation, where there is no view point."""

    words: str
    pair: Pair
    places: tuple[Float[np.ndarray, "3"] | None, Float[np.ndarray, "3"] | None]

    @property
    def sign_free(self) -> bool:
        """Whether the features must do without oriented normals."""
        return self.places[0] is None or self.places[1] is None

    def prepared(self) -> Pair:
        """Return the clouds with their view points, and the normals turned to these."""
        if self.sign_free:
            return self.pair
        source, target = (
            replace(cloud, view_point=place, _described={},
                    normals=orient_towards(cloud.points, cloud.normals, place))
            for cloud, place in zip(self.pair, self.places, strict=True))
        return source, target


def sights(pair: Pair, view_point: Any = "auto") -> Iterator[Sight]:
    """Yield guesses, the most promising first.

    view_point : "auto", "origin", "none", or (3,) in the frames of both clouds.

    Raises InputError for anything else.
    """
    origins = tuple(_place(cloud, np.zeros(3)) for cloud in pair)
    if isinstance(view_point, str):
        if view_point not in WORDS:
            raise InputError(f"view point '{view_point}'", where="view_point",
                             hint="auto, origin, none, or X,Y,Z")
        if view_point == "origin":
            yield Sight("the origin, as asked", pair, (origins[0], origins[1]))
            return
        if view_point == "auto":
            if all(is_plausible(cloud, place) for cloud, place in zip(pair, origins, strict=True)):
                yield Sight("the origin", pair, (origins[0], origins[1]))
            guesses = tuple(
                find_view_point(cloud.points, cloud.normals, VOXEL).position for cloud in pair)
            yield Sight("guessed from what is visible", pair, (guesses[0], guesses[1]))
        yield Sight("none: features that need no orientation", pair, (None, None))
        return
    place = np.asarray(view_point, np.float64)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise InputError(f"view point {view_point}", where="view_point",
                         hint="three finite numbers")
    yield Sight("as given", pair, (_place(pair[0], place), _place(pair[1], place)))


def _place(cloud: Prepared, place: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Return a place of the cloud's own frame in the prepared one."""
    return np.asarray((place - cloud.origin) / cloud.unit)


def is_plausible(cloud: Prepared, place: Float[np.ndarray, "3"]) -> bool:
    """Return whether a camera may have been there: off the surface, not far away, and it looks so.
    """
    extent = float(np.linalg.norm(np.ptp(cloud.points, axis=0)))
    distance = float(np.linalg.norm(cloud.points - place, axis=1).min())
    return NEAR * VOXEL < distance < FAR * extent and looks_like_view_point(
        cloud.points, cloud.normals, VOXEL, place)
