"""Optimal transport between patches: its sums, its gradient, and what is not there."""

import pytest
import torch
import torch.nn.functional as F

from pcinv.nn import sinkhorn as module
from pcinv.nn.sinkhorn import sinkhorn


def transport(scale=1.0, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    score = scale * torch.randn(4, 6, 5, generator=g, dtype=torch.float64)
    rows, columns = torch.rand(4, 6, generator=g) < 0.7, torch.rand(4, 5, generator=g) < 0.7
    rows[0], columns[0] = True, True
    rows[1], columns[1] = False, False
    rows[1, 2] = columns[1, 3] = True  # one valid point
    return score.to(dtype), rows, columns, torch.tensor(1.0, dtype=dtype)


@pytest.mark.parametrize("scale, dtype", [(1, torch.float64), (5, torch.float32)])
def test_8_rows_and_columns_sum_to_the_marginals(scale, dtype):
    score, rows, columns, slack = transport(scale, dtype)
    z = sinkhorn(score, rows, columns, slack, 100).exp()
    assert torch.isfinite(z).all() and z.shape == (4, 7, 6)
    n, m = rows.sum(1), columns.sum(1)
    for p in range(4):
        assert float((z[p, :-1].sum(1)[rows[p]] - 1).abs().max()) < 1e-3
        assert float((z[p, :, :-1].sum(0)[columns[p]] - 1).abs().max()) < 1e-3
        assert float(z[p, -1].sum() - m[p]) == pytest.approx(0, abs=5e-3)
        assert float(z[p, :, -1].sum() - n[p]) == pytest.approx(0, abs=1e-3)
        assert not z[p, :-1][~rows[p]].any() and not z[p, :, :-1][:, ~columns[p]].any()
    few = sinkhorn(score, rows, columns, slack, 1).exp()  # negative control: one round is not
    assert float((few[0, :-1].sum(1) - 1).abs().max()) > 1e-3


def test_8_scores_too_wide_for_products_are_finite_too():
    """Such sharp scores need more than 100 rounds for the rows; the columns come last and hold."""
    score, rows, columns, slack = transport(100)
    assert float(score.max() - score.min()) > module._RANGE
    z = sinkhorn(score, rows, columns, slack, 100).exp()
    assert torch.isfinite(z).all()
    assert float((z[:, :, :-1].sum(1)[columns] - 1).abs().max()) < 1e-9
    assert not z[:, :-1][~rows].any()


def test_8_products_and_logarithms_agree(monkeypatch):
    score, rows, columns, slack = transport(3.0)
    fast = sinkhorn(score, rows, columns, slack, 100)
    there = present(rows, columns)
    monkeypatch.setattr(module, "_RANGE", 0.0)
    slow = sinkhorn(score, rows, columns, slack, 100)
    assert float((fast - slow)[there].abs().max()) < 1e-9
    monkeypatch.undo()
    monkeypatch.setattr(module, "_CHUNK", 1)
    again = sinkhorn(score, rows, columns, slack, 100)
    assert torch.equal(again[there], fast[there])
    assert sinkhorn(score[:0], rows[:0], columns[:0], slack, 100).shape == (0, 7, 6)


def present(rows, columns):
    padded = [F.pad(mask, (0, 1), value=True) for mask in (rows, columns)]
    return padded[0][:, :, None] & padded[1][:, None]


def walked_back(score, rows, columns, slack, iterations):
    """The same by plain operations, whose gradient goes back through every iteration."""
    inner = F.pad(score, (0, 1, 0, 1))
    inner = inner + slack * (F.pad(torch.ones_like(score), (0, 1, 0, 1)) == 0)
    inner = inner.masked_fill(~present(rows, columns), module.MASKED)
    masses = (torch.cat((rows.to(score), columns.sum(1, keepdim=True).to(score)), 1),
              torch.cat((columns.to(score), rows.sum(1, keepdim=True).to(score)), 1))
    return module._by_logarithms(inner, *masses, iterations)


@pytest.mark.parametrize("scale", [1, 3])
def test_gradients_are_those_of_all_iterations(scale):
    score, rows, columns, slack = transport(scale)
    there = present(rows, columns)
    weight = torch.randn(there.shape, generator=torch.Generator().manual_seed(1)).double() * there
    found = []
    for function, iterations in ((sinkhorn, 3000), (walked_back, 3000), (walked_back, 1)):
        inputs = score.clone().requires_grad_(), slack.clone().requires_grad_()
        z = function(inputs[0], rows, columns, inputs[1], iterations)
        found.append((z, *torch.autograd.grad((z * weight).sum(), inputs)))
    for ours, plain, early in zip(*found, strict=True):
        if ours.dim() == 3 and ours.shape == there.shape:
            ours, plain, early = ours[there], plain[there], early[there]
        assert torch.allclose(ours, plain, rtol=1e-7, atol=1e-9)
        assert not torch.allclose(ours, early, rtol=1e-2)  # it does depend on the iterations
    assert not found[0][1][~there[:, :-1, :-1]].any()


def test_gradients_by_differences():
    score, rows, columns, slack = transport()
    there = present(rows, columns)

    def function(score, slack):
        return sinkhorn(score, rows, columns, slack, 500)[there]

    assert torch.autograd.gradcheck(function, (score.requires_grad_(), slack.requires_grad_()))


@pytest.mark.parametrize("scale, dtype", [(300, torch.float64), (40, torch.float32)])
def test_sharp_scores_have_finite_gradients_of_bounded_size(scale, dtype):
    score, rows, columns, slack = transport(scale, dtype)
    there = present(rows, columns)
    inputs = score.clone().requires_grad_(), slack.clone().requires_grad_()
    z = sinkhorn(inputs[0], rows, columns, inputs[1], 100)
    for grad in torch.autograd.grad(z[there].mean(), inputs):
        assert torch.isfinite(grad).all() and float(grad.abs().max()) < 10


def test_patches_without_points_are_of_no_weight():
    score, rows, columns, slack = transport()
    rows[0], columns[2] = False, False
    rows[3] = columns[3] = False
    slack.requires_grad_()
    z = sinkhorn(score.requires_grad_(), rows, columns, slack, 100)
    z[:, :-1, :-1][rows[:, :, None] & columns[:, None]].sum().backward()
    assert torch.isfinite(score.grad).all() and torch.isfinite(slack.grad)
    assert not score.grad[[0, 2, 3]].any() and score.grad[1].any()
