"""The balanced loss: rare classes get their due, and only where it is asked for."""

import pytest
import torch
import torch.nn.functional as F

from pcinv.losses import log_prior, smoothed_cross_entropy


def test_the_prior_is_the_logarithm_of_the_shares():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    assert torch.allclose(log_prior(labels, 3, 1.0).exp(), torch.tensor([0.6, 0.3, 0.1]))
    assert torch.equal(log_prior(labels, 3, 0.0), torch.zeros(3))
    assert torch.isfinite(log_prior(labels, 5, 1.0)).all()  # classes without a cloud


@pytest.mark.parametrize("strength, least, most", [(0.0, 0.0, 0.25), (1.0, 0.5, 0.9)])
def test_balance_decides_whether_a_rare_class_is_found(strength, least, most):
    """Two overlapping normal distributions, 95 to 5: the plain optimum ignores the rare one."""
    g = torch.Generator().manual_seed(0)
    x = torch.cat((torch.randn(950, generator=g), 1.5 + torch.randn(50, generator=g)))[:, None]
    labels = torch.cat((torch.zeros(950), torch.ones(50))).long()
    weight, bias = torch.zeros(2, 1, requires_grad=True), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100)

    def closure():
        optimizer.zero_grad()
        logits = F.linear(x, weight, bias) + log_prior(labels, 2, strength)
        loss = smoothed_cross_entropy(logits, labels).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = F.linear(x[950:], weight, bias).argmax(1).float().mean()
    assert least <= float(found) <= most
