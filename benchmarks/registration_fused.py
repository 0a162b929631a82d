"""Registration of scans that were fused from many views: no single place saw either of them.

    python benchmarks/registration_fused.py

Of each generated room the even fragments make one cloud and the odd ones another (or the first
half and the second); each is moved by a motion of its own.
"""

from __future__ import annotations

import numpy as np

import pcinv
from pcinv_data.benchmark_pair import motions_of, moved
from pcinv_data.rooms import Fragment, make_room, scan_room

SPLITS = {"even and odd fragments": (slice(0, None, 2), slice(1, None, 2)),
          "first and second half": (slice(0, 4), slice(4, None))}


def fused(fragments: list[Fragment]) -> np.ndarray:
    """Return the points (N, 3) of fragments in the frame of their room."""
    return np.concatenate([moved(one.points, one.T_room_fragment) for one in fragments])


def main(rooms: int = 8) -> None:
    """Print a line for each room and split."""
    for seed in range(rooms):
        fragments = scan_room(make_room(seed), seed, 8)
        for name, parts in SPLITS.items():
            motions = motions_of(f"room-{seed}/{name}", 0)
            clouds = [moved(fused(fragments[part]), motion)
                      for part, motion in zip(parts, motions, strict=True)]
            found = pcinv.register(*clouds)
            truth = motions[1] @ np.linalg.inv(motions[0])
            off = np.linalg.inv(truth) @ found.transform
            cosine = (np.trace(off[:3, :3]) - 1) / 2
            angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
            print(f"room-{seed:02d}, {name}: {angle:.2f} degrees, {found.verdict}, overlap "
                  f"{found.overlap:.2f} {found.overlap_target:.2f}, {found.view_points}",
                  flush=True)


if __name__ == "__main__":
    main()
