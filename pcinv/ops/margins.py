"""How close the discrete decisions of a computation were: the measure of what a tie could change.

A neighbour set or a farthest point sample is exact up to ties. On a lattice two answers are equally
right, and rounding picks one; on a generic cloud the runner-up is far behind and no rounding can
change the answer. `track_margins` records the narrowest decision, so that a difference between two
poses can be told apart: a wide margin and a large difference is an error, a margin of zero a tie.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Margins:
    """The narrowest decision so far.

    smallest : (gap between the accepted and the rejected distance) / (radius of the cloud);
        infinity when no decision had an alternative.
    count : how many values were recorded.
    """

    smallest: float = float("inf")
    count: int = 0


_active: ContextVar[Margins | None] = ContextVar("pcinv_margins", default=None)


@contextmanager
def track_margins() -> Iterator[Margins]:
    """Record the margins of all decisions inside the block into the yielded `Margins`.

    An inner block records for itself and passes its result on to the outer one.

        with track_margins() as margins:
            knn(xyz, xyz, 16)
        if margins.smallest < 1e-9: ...   # a tie: the answer may depend on the pose
    """
    margins = Margins()
    token = _active.set(margins)
    try:
        yield margins
    finally:
        _active.reset(token)
        outer = _active.get()
        if outer is not None and margins.count:
            outer.smallest = min(outer.smallest, margins.smallest)
            outer.count += margins.count


def tracking() -> bool:
    """Return whether a `track_margins` block is active."""
    return _active.get() is not None


def record_margin(value: float) -> None:
    """Add the margin of one decision (relative to the radius of its cloud), if anybody listens."""
    margins = _active.get()
    if margins is not None:
        margins.smallest = min(margins.smallest, float(value))
        margins.count += 1
