"""Retrieval metrics, against scikit-learn and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from pcinv.metrics import retrieval
from pcinv.metrics.retrieval import average_precision, found_within, retrieval_metrics


def random_case(seed, queries=40, count=60, levels=None):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(queries, count))
    if levels is not None:  # many ties
        scores = np.round(scores * levels) / levels
    relevant = rng.random((queries, count)) < 0.2
    relevant[:, 0] |= ~relevant.any(1)
    return torch.from_numpy(scores), torch.from_numpy(relevant)


@pytest.mark.parametrize("levels", [None, 1, 3])
def test_average_precision_is_that_of_scikit_learn(levels):
    scores, relevant = random_case(0, levels=levels)
    expected = [average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(average_precision(scores, relevant), expected, atol=1e-12)


def test_the_order_of_equal_scores_does_not_matter():
    scores, relevant = random_case(1, levels=1)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(average_precision(scores, relevant),
                               average_precision(scores[:, order], relevant[:, order]))


def test_by_hand():
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0]] * 3)
    relevant = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
    found = average_precision(scores, relevant)
    assert found[:2].tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 4])
    assert math.isnan(float(found[2]))
    assert [found_within(scores, relevant, k).tolist() for k in (1, 4, 9)] == [
        [True, False, False], [True, True, False], [True, True, False]]


def test_each_vector_searches_among_all_others(monkeypatch):
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0], [1.0, 1.0]])
    labels = torch.tensor([0, 0, 1, 1, 2])  # the last asks nothing, and disturbs
    found = retrieval_metrics(vectors, labels, ks=(1, 2))
    assert found == {"map": 1.0, "recall_at_1": 1.0, "recall_at_2": 1.0}
    mixed = retrieval_metrics(vectors, torch.tensor([0, 1, 0, 1, 2]), ks=(1,))
    assert mixed["map"] < 0.5 and mixed["recall_at_1"] == 0.0
    monkeypatch.setattr(retrieval, "_SCORES", 5)  # a query at a time
    assert retrieval_metrics(vectors, labels, ks=(1, 2)) == found


def test_the_mean_is_that_of_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (50,), generator=generator)
    unit = (vectors / vectors.norm(dim=1, keepdim=True)).numpy()
    precisions, hits = [], []
    for k in range(50):
        others = np.arange(50) != k
        scores, relevant = (unit @ unit[k])[others], (labels == labels[k]).numpy()[others]
        precisions.append(average_precision_score(relevant, scores))
        hits.append(relevant[np.argsort(-scores)[:5]].any())
    found = retrieval_metrics(vectors, labels, ks=(5,))
    assert found["map"] == pytest.approx(np.mean(precisions), abs=1e-12)
    assert found["recall_at_5"] == pytest.approx(np.mean(hits))
