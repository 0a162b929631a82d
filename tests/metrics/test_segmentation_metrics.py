"""Mean IoU against scikit-learn, and against PointNet++'s loop written out."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from pcinv.metrics.segmentation import class_miou, instance_miou, restrict, shape_iou

PARTS = [[0, 1, 2], [3], [4, 5]]


def allowed(categories):
    mask = torch.zeros(len(categories), 6, dtype=torch.bool)
    for row, category in enumerate(categories):
        mask[row, PARTS[category]] = True
    return mask


def published(predicted, target, parts):
    """Return the IoU of one shape as part_seg/evaluate.py of PointNet++ computes it."""
    ious = []
    for part in parts:
        if np.sum(target == part) == 0 and np.sum(predicted == part) == 0:
            ious.append(1.0)
        else:
            ious.append(np.sum((target == part) & (predicted == part))
                        / np.sum((target == part) | (predicted == part)))
    return np.mean(ious)


@pytest.mark.parametrize("seed", range(10))
def test_the_iou_of_a_shape_is_the_published_one(seed):
    rng = np.random.default_rng(seed)
    categories = rng.integers(0, 3, 5)
    target = np.stack([rng.choice(PARTS[c], 20) for c in categories])
    predicted = np.stack([rng.choice(PARTS[c], 20) for c in categories])
    ours = shape_iou(torch.from_numpy(predicted), torch.from_numpy(target), allowed(categories))
    for row, category in enumerate(categories):
        assert float(ours[row]) == pytest.approx(
            published(predicted[row], target[row], PARTS[category]))
        scikit = jaccard_score(target[row], predicted[row], labels=PARTS[category],
                               average="macro", zero_division=1.0)
        assert float(ours[row]) == pytest.approx(scikit)


def test_a_part_that_is_neither_present_nor_predicted_counts_one():
    target = torch.tensor([[0, 0, 1, 1]])
    assert float(shape_iou(target, target, allowed([0]))) == 1.0
    wrong = torch.tensor([[0, 0, 1, 2]])  # part 2 is predicted, not present: it counts 0
    assert float(shape_iou(wrong, target, allowed([0]))) == pytest.approx((1 + 0.5 + 0) / 3)


def test_predictions_stay_within_the_parts_of_the_category():
    logits = torch.tensor([[[9.0, 1, 2, 8, 3, 4]]]).expand(3, 2, 6)
    assert restrict(logits, allowed([0, 1, 2])).tolist() == [[0, 0], [3, 3], [5, 5]]


def test_means_weigh_shapes_or_categories():
    iou, count = torch.tensor([3.0, 0.5, 0.0]).double(), torch.tensor([4, 1, 0])
    assert instance_miou(iou, count) == pytest.approx(3.5 / 5)
    assert class_miou(iou, count) == pytest.approx((0.75 + 0.5) / 2)
    assert instance_miou(0 * iou, 0 * count) == class_miou(0 * iou, 0 * count) == 0.0
