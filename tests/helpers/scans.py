"""Rooms to train matching with that cost nothing: bumpy bodies seen from a few sides."""

from typing import NamedTuple

import numpy as np

from helpers.surfaces import body_view


class Room(NamedTuple):
    """A body from some sides, 25 degrees apart."""

    fragments: list[np.ndarray]
    T_room_fragment: np.ndarray


def body_rooms(count: int, views: int = 3) -> list[Room]:
    """Return rooms of a body each."""
    rooms = []
    for seed in range(count):
        seen = [body_view(25.0 * k, 3000, seed) for k in range(views)]
        rooms.append(Room([cloud.astype(np.float32) for cloud, _ in seen],
                          np.stack([np.linalg.inv(pose) for _, pose in seen])))
    return rooms
