"""InfoNCE of corresponding places: against a loop, and what must not count."""

import math

import pytest
import torch

from pcinv.losses.matching import matching_loss


def data(seed=0, k=12, pairs=2, c=8):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.nn.functional.normalize(torch.randn(k, c, generator=generator,
                                                      dtype=torch.float64), dim=1)
            for _ in range(2))
    x, y = (torch.rand(k, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return a, b, x, y, torch.arange(pairs).repeat_interleave(k // pairs)


def by_loops(a, b, scale, x, y, pair, radius):
    losses = []
    for i in range(len(a)):
        total = 0.0
        for one, other, own in ((a[i], b, a), (b[i], a, b)):
            right = float(one @ other[i]) * scale
            logits = []
            for j in range(len(a)):
                near = pair[i] == pair[j] and i != j and min(
                    float((x[i] - x[j]).norm()), float((y[i] - y[j]).norm())) < radius
                if not near:
                    logits.append(float(one @ other[j]) * scale)
                if not near and i != j and pair[i] == pair[j]:
                    logits.append(float(one @ own[j]) * scale)
            total += math.log(sum(math.exp(value - right) for value in logits))
        losses.append(total / 2)
    return losses


@pytest.mark.parametrize("radius", [0.0, 0.3, 10.0])
def test_against_a_loop(radius):
    a, b, x, y, pair = data()
    found, _ = matching_loss(a, b, torch.tensor(5.0), x, y, pair, radius)
    assert found.tolist() == pytest.approx(by_loops(a, b, 5.0, x, y, pair, radius), abs=1e-9)


def test_perfect_descriptors_have_no_loss_and_are_found():
    a, _, x, y, pair = data(k=8, c=8)
    a = torch.eye(8, dtype=torch.float64)
    losses, found = matching_loss(a, a, torch.tensor(50.0), x, y, pair, 0.0)
    assert losses.max() < 1e-9 and found.all()
    losses, found = matching_loss(a, a.roll(1, 0), torch.tensor(50.0), x, y, pair, 0.0)
    assert losses.min() > 10 and not found.any()


def test_neighbours_do_not_count_against_each_other():
    """All places of a pair near each other: only the other pair can be mistaken."""
    a, b, x, y, pair = data()
    near, _ = matching_loss(a, b, torch.tensor(5.0), x * 1e-3, y, pair, 0.1)
    alone, _ = matching_loss(a[[0, 6]], b[[0, 6]], torch.tensor(5.0), x[[0, 6]], y[[0, 6]],
                             pair[[0, 6]], 0.1)
    apart, _ = matching_loss(a, b, torch.tensor(5.0), x, y, pair, 0.0)
    assert (near < apart).all() and near[0] != alone[0]


def test_swapping_the_sides_changes_nothing():
    a, b, x, y, pair = data(3)
    one, _ = matching_loss(a, b, torch.tensor(9.0), x, y, pair, 0.2)
    other, _ = matching_loss(b, a, torch.tensor(9.0), y, x, pair, 0.2)
    assert torch.allclose(one, other)
