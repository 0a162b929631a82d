"""The loss of classifiers on prefixes, against torch's own cross entropy."""

import math

import pytest
import torch
import torch.nn.functional as F

from pcinv.losses.nested import nested_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_sum_of_cross_entropies(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    target, weights = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1.0, 0.5, 2.0])
    loss = nested_cross_entropy(logits, target, weights, smoothing)
    expected = sum(w * F.cross_entropy(logits[:, g], target, label_smoothing=smoothing,
                                       reduction="none") for g, w in enumerate(weights))
    torch.testing.assert_close(loss, expected)
    assert torch.autograd.gradcheck(
        lambda x: nested_cross_entropy(x, target, weights, smoothing), (logits,))


def test_half_precision_does_not_overflow():
    logits = torch.full((1, 2, 3), 1e4, dtype=torch.float16)
    loss = nested_cross_entropy(logits, torch.tensor([0]), torch.ones(2))
    torch.testing.assert_close(loss, torch.tensor([2 * math.log(3)]))
