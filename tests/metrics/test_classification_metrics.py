"""Accuracies against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from torchmetrics.functional.classification import multiclass_accuracy

from pcinv.metrics.classification import (
    class_accuracy,
    confusion_matrix,
    mean_class_accuracy,
    overall_accuracy,
)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_figures_equal_those_of_scikit_learn(count, classes, seed):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, count)
    predicted = np.where(rng.random(count) < 0.6, target, rng.integers(0, classes, count))
    matrix = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(target), classes)
    wanted = oracle.confusion_matrix(target, predicted, labels=range(classes))
    assert matrix.tolist() == wanted.tolist()
    assert overall_accuracy(matrix) == oracle.accuracy_score(target, predicted)
    recall = oracle.recall_score(target, predicted, labels=np.unique(target), average="macro")
    assert mean_class_accuracy(matrix) == pytest.approx(recall)


def test_figures_equal_those_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(60) % 6
    predicted = torch.randint(0, 6, (60,), generator=generator)
    matrix = confusion_matrix(predicted, target, 6)
    for average, ours in (("micro", overall_accuracy), ("macro", mean_class_accuracy)):
        wanted = multiclass_accuracy(predicted, target, num_classes=6, average=average)
        assert ours(matrix) == pytest.approx(float(wanted))


def test_matrices_add_up_over_batches():
    target, predicted = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 2, 2, 1])
    halves = [confusion_matrix(predicted[part], target[part], 3)
              for part in (slice(0, 2), slice(2, 4))]
    assert torch.equal(sum(halves), confusion_matrix(predicted, target, 3))


def test_absent_classes_and_empty_sets_do_not_divide_by_zero():
    matrix = confusion_matrix(torch.tensor([0, 2]), torch.tensor([0, 0]), 3)
    assert class_accuracy(matrix)[0] == 0.5 and class_accuracy(matrix)[1:].isnan().all()
    assert mean_class_accuracy(matrix) == 0.5
    empty = torch.zeros(3, 3, dtype=torch.int64)
    assert overall_accuracy(empty) == mean_class_accuracy(empty) == 0.0
