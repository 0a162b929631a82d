"""The record of how close decisions were."""

import torch

from pcinv.ops import knn, record_margin, track_margins
from pcinv.ops.margins import tracking


def test_nothing_is_recorded_outside():
    assert not tracking()
    record_margin(0.0)
    with track_margins() as margins:
        assert tracking()
    assert margins.smallest == float("inf") and margins.count == 0 and not tracking()


def test_the_smallest_is_kept_and_passed_outwards():
    with track_margins() as outer:
        record_margin(0.5)
        with track_margins() as inner:
            record_margin(0.25)
            record_margin(0.75)
        assert inner.smallest == 0.25 and inner.count == 2
    assert outer.smallest == 0.25 and outer.count == 3


def test_tracking_ends_with_an_error():
    try:
        with track_margins():
            raise KeyError
    except KeyError:
        pass
    assert not tracking()


def test_choices_without_an_alternative_are_no_ties():
    """All points asked for, or exact duplicates: any choice gives the same coordinates."""
    xyz = torch.randn(1, 6, 3)
    same = torch.ones(1, 6, 3)
    with track_margins() as margins:
        knn(xyz, xyz, 6)
        knn(same, same, 2)
    assert margins.smallest == float("inf")


def test_tracking_does_not_change_the_answer():
    xyz = torch.randn(2, 60, 3)
    plain = knn(xyz, xyz, 7)
    with track_margins():
        tracked = knn(xyz, xyz, 7)
    assert torch.equal(plain.index, tracked.index) and torch.equal(plain.dist2, tracked.dist2)
