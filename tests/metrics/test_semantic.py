"""Must hold 8: mIoU of scans by the official rule."""

import numpy as np
import pytest
import torch

from pcinv.metrics.semantic import class_iou, semantic_confusion, semantic_scores


def official(predicted, truth, num_classes):
    """semantic-kitti-api's np_ioueval, word for word, its class 0 being our -1."""
    conf = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    np.add.at(conf, (predicted + 1, truth + 1), 1)
    conf = conf.astype(np.float64)
    conf[:, [0]] = 0
    tp = np.diag(conf)
    fp = conf.sum(axis=1) - tp
    fn = conf.sum(axis=0) - tp
    include = np.arange(1, num_classes + 1)
    iou = tp / (tp + fp + fn + 1e-15)
    return (tp[include] / (tp[include] + fp[include] + fn[include] + 1e-15)).mean(), iou[include]


def scores(predicted, truth, num_classes=19):
    return semantic_scores(semantic_confusion(
        torch.as_tensor(predicted), torch.as_tensor(truth), num_classes))


def test_8_perfect_is_one():
    truth = torch.arange(19).repeat(3)
    assert scores(truth, truth)["miou"] == pytest.approx(1.0)
    assert scores(truth, truth)["oa"] == 1.0


def test_8_saying_nothing_everywhere_is_zero():
    truth = torch.arange(19)
    assert scores(torch.full((19,), -1), truth)["miou"] == 0.0


def test_8_points_without_a_class_never_count():
    truth = torch.cat([torch.arange(19), torch.full((100,), -1)])
    predicted = torch.cat([torch.arange(19), torch.randint(0, 19, (100,))])
    assert scores(predicted, truth)["miou"] == pytest.approx(1.0)


def test_saying_nothing_of_a_labelled_point_is_a_miss():
    found = scores(torch.tensor([0, -1]), torch.tensor([0, 0]), 1)
    assert found["miou"] == pytest.approx(0.5)


def test_absent_classes_are_zero_in_the_official_figure_only():
    found = scores(torch.tensor([0, 1]), torch.tensor([0, 1]), 4)
    assert found["miou"] == pytest.approx(0.5) and found["miou_present"] == pytest.approx(1.0)


def test_equals_the_official_script():
    rng = np.random.default_rng(0)
    for _ in range(5):
        predicted, truth = rng.integers(-1, 19, (2, 400))
        confusion = semantic_confusion(torch.from_numpy(predicted), torch.from_numpy(truth), 19)
        mean, each = official(predicted, truth, 19)
        assert semantic_scores(confusion)["miou"] == pytest.approx(mean, abs=1e-12)
        assert np.allclose(class_iou(confusion).numpy(), each, atol=1e-12)
