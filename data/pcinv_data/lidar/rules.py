"""What a sequence must be: numbers that follow, a pose and a stamp a scan, time that goes on.

Each rule raises a typed error, or with `skip` leaves out the scans at fault and says so.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from itertools import pairwise
from math import gcd
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError
from pcinv_data.lidar.sequence import Listing, ScanSequence, SequenceWarning

FASTEST = 100.0
"""Metres a second that no vehicle drives: between neighbours at 10 Hz that is 10 m."""
FARTHEST = 10.0
"""Metres between neighbours that are never too far."""
MOST_NAMED = 1000
SKIP = 'on_error="skip" leaves out what is not whole'


def settle(listing: Listing, format: str, skip: bool = False) -> ScanSequence:
    """Return the sequence of a listing that keeps the rules.

    Raises DatasetError, with file and line where there is one, for the first rule that is broken;
    with `skip`, only where no scan is left.
    """
    skipped: dict[str, str] = {}
    _numbers_follow(listing, skip, skipped)
    kept = np.arange(len(listing.names))
    for position in sorted(listing.lacking):
        reason, where = listing.lacking[position]
        if not skip:
            raise DatasetError(reason, where=where, hint=f"get it again, or {SKIP}")
        skipped[listing.names[position]] = reason
    kept = np.array([k for k in kept if k not in listing.lacking], np.int64)
    poses, kept = _one_each(listing, kept, listing.poses, listing.poses_file, "pose", skip, skipped)
    stamps, kept = _one_each(listing, kept, listing.stamps, listing.times_file, "stamp", skip,
                             skipped)
    if poses is not None:
        poses = poses[kept]
    if stamps is not None:
        on = _time_goes_on(listing, kept, stamps[kept], skip, skipped)
        kept, stamps = kept[on], stamps[kept][on]
        poses = None if poses is None else poses[on]
    if not len(kept):
        raise DatasetError(f"no scan of {len(listing.names)} can be used: " + "; ".join(
            f"{name}: {why}" for name, why in list(skipped.items())[:2]), where=str(listing.path),
            hint="pcinv data verify says what is missing")
    names = [listing.names[k] for k in kept]
    notes = list(listing.notes)
    steps = np.diff(kept if listing.numbers is None else np.asarray(listing.numbers)[kept])
    jumps = _jumps(poses, stamps, steps)
    if len(jumps):
        far = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)[jumps[0]]
        notes.append(f"the pose jumps {len(jumps)} times, first by {far:.1f} m from"
                     f" {names[jumps[0]]} to {names[jumps[0] + 1]}")
        warnings.warn(f"{listing.path}: {notes[-1]}", SequenceWarning, stacklevel=3)
    notes += _holes(stamps, names)
    positions = kept.tolist()
    return ScanSequence(
        name=listing.name, format=format, path=listing.path, class_names=listing.class_names,
        names=names, poses=poses, stamps=stamps, num_jumps=len(jumps), skipped=skipped, notes=notes,
        missing=list(listing.missing), _read=lambda k: listing.read(positions[k]), _skip=skip)


def gaps(numbers: list[int]) -> list[tuple[int, int, int]]:
    """Return (before, after, step) where increasing numbers leave some out.

    The step is the greatest that fits all differences: 0, 10, 20, 40 lack 30, and 0, 10, 20 none.
    """
    between = [b - a for a, b in pairwise(numbers)]
    step = gcd(*between) or 1
    return [(a, a + d, step) for a, d in zip(numbers, between, strict=False) if d > step]


def _numbers_follow(listing: Listing, skip: bool, skipped: dict[str, str]) -> None:
    for before, after, step in gaps(listing.numbers or []):
        width = max(map(len, listing.names))
        first = f"{before + step:0{width}d}"
        if not skip:
            raise DatasetError(
                f"scan {first} is not there: the names jump from {before:0{width}d} to"
                f" {after:0{width}d}", where=str(listing.path),
                hint=f"get the file again, or {SKIP}")
        for number in range(before + step, after, step)[:MOST_NAMED]:
            skipped[f"{number:0{width}d}"] = "no such scan"


def _one_each(listing: Listing, kept: np.ndarray, values: np.ndarray | None, file: Path | None,
              what: str, skip: bool, skipped: dict[str, str]
              ) -> tuple[np.ndarray | None, np.ndarray]:
    """Return one value for each scan of the listing, and the scans that have one."""
    count = len(listing.names)
    if values is None or file is None or len(values) == count:
        return values, kept
    if not skip:
        raise DatasetError(
            f"{len(values)} {what}s for {count} scans", where=str(file),
            hint=f"get the scans or the file again; on_error=\"skip\" takes the {what} of a line by"
                 " the number of the scan")
    rows = np.arange(count) if listing.numbers is None else np.asarray(listing.numbers)
    there = rows < len(values)
    for k in kept[~there[kept]]:
        skipped[listing.names[k]] = f"no {what}"
    return values[np.minimum(rows, len(values) - 1)], kept[there[kept]]


def _time_goes_on(listing: Listing, kept: np.ndarray, stamps: np.ndarray, skip: bool,
                  skipped: dict[str, str]) -> np.ndarray:
    """Return which scans (K,) to keep so that each comes after those before it; as many as can."""
    back = np.flatnonzero(np.diff(stamps) <= 0) + 1
    if len(back) and not skip:
        k = back[0]
        raise DatasetError(
            f"time does not go on at {listing.names[kept[k]]}: its stamp {stamps[k]:.6f} s is not"
            f" after {stamps[k - 1]:.6f} s", hint=f"put the scans in order, or {SKIP}",
            where=str(listing.times_file or listing.path / listing.names[kept[k]]))
    on = longest_rise(stamps) if len(back) else np.ones(len(stamps), bool)
    for k in np.flatnonzero(~on):
        skipped[listing.names[kept[k]]] = f"its stamp {stamps[k]:.6f} s does not fit the others"
    return on


def longest_rise(values: np.ndarray) -> np.ndarray:
    """Return which values (K,) make the longest strictly increasing row, the earlier ones if equal.

    One stray value costs itself alone, however far it is off.
    """
    ends: list[float] = []  # of the rows of each length, from the back, with the sign turned
    places: list[int] = []
    before = np.full(len(values), -1)
    for k in range(len(values) - 1, -1, -1):
        length = bisect_left(ends, -values[k])
        before[k] = places[length - 1] if length else -1
        ends[length:length + 1] = [-values[k]]
        places[length:length + 1] = [k]
    on = np.zeros(len(values), bool)
    k = places[-1] if places else -1
    while k >= 0:
        on[k] = True
        k = int(before[k])
    return on


def _jumps(poses: np.ndarray | None, stamps: np.ndarray | None, steps: np.ndarray) -> np.ndarray:
    """Return the positions behind which the pose is too far away.

    steps : (M - 1,) how many scans further the next one is.
    """
    if poses is None or len(poses) < 2:
        return np.zeros(0, np.int64)
    far = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    limit = FARTHEST * np.maximum(steps, 1)
    if stamps is not None:
        limit = np.maximum(FARTHEST, FASTEST * np.diff(stamps))
    return np.flatnonzero(~(far <= limit))


def _holes(stamps: np.ndarray | None, names: list[str]) -> list[str]:
    """Return a note where scans seem to be missing in time."""
    if stamps is None or len(stamps) < 3:
        return []
    between = np.diff(stamps)
    holes = np.flatnonzero(between > 1.7 * np.median(between))
    if not len(holes):
        return []
    return [f"{len(holes)} times the next scan is late, first {between[holes[0]]:.2f} s after"
            f" {names[holes[0]]}"]
