"""Sequences of scans that are generated, by name."""

from __future__ import annotations

from typing import Any

from pcinv.errors import unknown_name
from pcinv_data.lidar.sequence import ScanSequence

GENERATED = ("lidar_sim",)


def generate_sequence(name: str, **settings: Any) -> ScanSequence:
    """Return a sequence of generated scans; each is made when it is asked for.

    settings : those of `pcinv_data.lidar_sim.lidar_sim`.

    Raises UnknownNameError for another name, InputError for a setting out of its range.
    """
    if name not in GENERATED:
        raise unknown_name("generated sequence", name, GENERATED)
    from pcinv_data.lidar_sim import lidar_sim

    return lidar_sim(**settings)
