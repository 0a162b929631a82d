"""Average precision of boxes as KITTI and nuScenes define it, on cases worked out by hand."""

import numpy as np
import pytest

from pcinv.metrics.detection import (
    DIFFICULTIES,
    Frame,
    _thresholds,
    counts_at,
    kitti_ap,
    match_centres,
    nuscenes_ap,
)
from pcinv.metrics.detection_errors import nuscenes_scores, true_positive_errors
from pcinv.types import Boxes


def boxes(places, label=0, yaw=0.0, size=(4.0, 2.0, 1.5), velocity=(0.0, 0.0), points=100):
    count = len(places)
    centre = np.zeros((count, 3))
    centre[:, :2] = np.reshape(places, (-1, 2))
    return Boxes(centre, np.tile(np.array(size, float), (count, 1)), np.full(count, yaw),
                 np.full(count, label), np.arange(count), np.tile(np.array(velocity), (count, 1)),
                 np.full(count, points))


PLACES = [(10.0 * k, 5.0) for k in range(10)]
NONE = boxes([])


def frame(truth, found, score):
    return Frame(boxes(truth), boxes(found), np.array(score, float))


def test_all_found_and_nothing_else():
    perfect = frame(PLACES, PLACES, np.linspace(0.9, 0.1, 10))
    assert kitti_ap([perfect], 0, 0.7) == pytest.approx(1)
    for distance in (0.5, 1, 2, 4):
        assert nuscenes_ap([perfect], 0, distance) == pytest.approx(1)


def devkit_thresholds(scores, total):
    """getThresholds of KITTI's evaluate_object.cpp."""
    v, chosen, current = sorted(scores, reverse=True), [], 0.0
    for i in range(len(v)):
        left = (i + 1) / total
        right = (i + 2) / total if i < len(v) - 1 else left
        if right - current < current - left and i < len(v) - 1:
            continue
        chosen.append(v[i])
        current += 1 / 40
    return chosen


@pytest.mark.parametrize("found, total", [(500, 1000), (987, 1000), (300, 301), (90, 401)])
def test_scores_are_those_of_the_devkit_where_there_are_enough(found, total):
    scores = np.random.default_rng(found).random(found)
    mine, devkit = _thresholds(scores, total), devkit_thresholds(scores, total)
    assert abs(len(mine) - len(devkit)) <= 1
    rank = {score: k for k, score in enumerate(sorted(scores, reverse=True))}
    assert all(abs(rank[a] - rank[b]) <= 1 for a, b in zip(mine, devkit, strict=False))


def test_nothing_found():
    silent = Frame(boxes(PLACES), NONE, np.zeros(0))
    assert kitti_ap([silent], 0, 0.7) == 0 and nuscenes_ap([silent], 0, 2) == 0


def test_nothing_true():
    alone = Frame(NONE, boxes(PLACES), np.ones(10))
    assert kitti_ap([alone], 0, 0.7) is None and nuscenes_ap([alone], 0, 2) is None
    assert nuscenes_scores([alone], ("car",))["map"] == 0


def test_half_found():
    """Recall ends at one half: half of the 40 recalls have precision 1, the others 0."""
    half = frame(PLACES, PLACES[:5], np.linspace(0.9, 0.5, 5))
    assert kitti_ap([half], 0, 0.7) == pytest.approx(0.5, abs=0.026)
    # recalls 0.11 to 0.5 of 0.11 to 1
    assert nuscenes_ap([half], 0, 2) == pytest.approx(40 / 90)


def test_false_alarms_that_are_surer():
    """Each true box comes after a false alarm: precision is never above one half."""
    far = [(x, -40.0) for x, _ in PLACES]
    both = frame(PLACES, [p for pair in zip(far, PLACES, strict=True) for p in pair],
                 np.linspace(0.9, 0.1, 20))
    assert kitti_ap([both], 0, 0.7) == pytest.approx(0.5, abs=1e-9)
    # between two found boxes precision rises from k / (2 k + 1) to one half
    assert 0.40 < nuscenes_ap([both], 0, 2) < (0.5 - 0.1) / 0.9


def test_the_order_of_frames_and_rows_does_not_matter():
    rng = np.random.default_rng(3)
    frames = [frame(PLACES, np.array(PLACES) + rng.normal(0, 0.4, (10, 2)), rng.random(10))
              for _ in range(4)]
    shuffled = []
    for each in frames[::-1]:
        order = rng.permutation(10)
        found = boxes(each.found.centre[order, :2])
        shuffled.append(Frame(each.truth, found, each.score[order]))
    for limit in (0.5, 0.7):
        assert kitti_ap(frames, 0, limit) == pytest.approx(kitti_ap(shuffled, 0, limit))
    assert nuscenes_ap(frames, 0, 0.5) == pytest.approx(nuscenes_ap(shuffled, 0, 0.5))


def test_a_box_is_found_once():
    twice = frame(PLACES[:1], [PLACES[0], PLACES[0]], [0.9, 0.8])
    assert list(match_centres([twice], 0, 2).hit) == [True, False]


def test_overlap_decides_for_kitti_and_distance_for_nuscenes():
    off = frame(PLACES, [(x + 1.0, y) for x, y in PLACES], np.linspace(0.9, 0.1, 10))
    # 3 m of 4 m in common: 6 / (8 + 8 - 6)
    assert kitti_ap([off], 0, 0.55) == pytest.approx(1) and kitti_ap([off], 0, 0.65) == 0
    assert nuscenes_ap([off], 0, 0.5) == 0 and nuscenes_ap([off], 0, 2) == pytest.approx(1)


def test_height_counts_in_3d_only():
    high = boxes(PLACES)
    high.centre[:, 2] += 1.0
    raised = Frame(boxes(PLACES), high, np.linspace(0.9, 0.1, 10))
    assert kitti_ap([raised], 0, 0.7, solid=False) == pytest.approx(1)
    assert kitti_ap([raised], 0, 0.7) == 0


def test_what_does_not_count_may_be_found_or_not():
    near, far = [(10.0, 0.0)], [(45.0, 0.0)]  # 721.5 x 1.5 / 45 = 24 pixels
    moderate = DIFFICULTIES["moderate"]
    assert list(counts_at(boxes(near + far), moderate)) == [True, False]
    assert list(counts_at(boxes(near, points=7), moderate)) == [False]
    for found in (near, near + far):
        seen = frame(near + far, found, np.linspace(0.9, 0.1, len(found)))
        assert kitti_ap([seen], 0, 0.7, moderate) == pytest.approx(1, abs=0.03)
    assert kitti_ap([frame(near + far, near, [0.9])], 0, 0.7) < 0.6


def test_errors_of_found_boxes():
    truth = boxes(PLACES, velocity=(3.0, 0.0))
    found = boxes([(x, y + 0.3) for x, y in PLACES], yaw=0.2, size=(4.0, 2.0, 1.2),
                  velocity=(3.0, 4.0))
    errors = true_positive_errors([Frame(truth, found, np.linspace(0.9, 0.1, 10))], 0)
    assert errors == pytest.approx({"translation": 0.3, "scale": 0.2, "orientation": 0.2,
                                    "velocity": 4.0})


def test_headings_are_compared_around_the_circle():
    truth, found = boxes(PLACES, yaw=np.pi - 0.1), boxes(PLACES, yaw=-np.pi + 0.1)
    errors = true_positive_errors([Frame(truth, found, np.linspace(0.9, 0.1, 10))], 0)
    assert errors["orientation"] == pytest.approx(0.2)


def test_the_score_is_made_of_the_parts():
    truth = boxes(PLACES)
    found = boxes([(x, y + 0.3) for x, y in PLACES])
    scores = nuscenes_scores([Frame(truth, found, np.linspace(0.9, 0.1, 10))], ("car", "bus"))
    assert list(scores["by_class"]) == ["car"] and scores["map"] == pytest.approx(1)
    assert scores["nds_no_attributes"] == pytest.approx((5 + 0.7 + 1 + 1 + 1) / 9)
    missed = nuscenes_scores([Frame(truth, NONE, np.zeros(0))], ("car",))
    assert missed["nds_no_attributes"] == 0  # errors of 1 where recall does not get to 0.1


def test_velocities_that_are_not_known_do_not_count():
    truth = boxes(PLACES, velocity=(3.0, 0.0))
    found = boxes(PLACES, velocity=(3.0, 4.0))
    scores = np.linspace(0.9, 0.1, 10)
    truth.velocity[1::2] = np.nan
    assert true_positive_errors([Frame(truth, found, scores)], 0)["velocity"] == pytest.approx(4)
    truth.velocity[:] = np.nan
    assert true_positive_errors([Frame(truth, found, scores)], 0)["velocity"] == 1
