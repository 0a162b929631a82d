"""Layers that are compiled or worked on in pieces have the values and gradients of the formulas."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcinv.nn import fused, pooling
from pcinv.nn.fused import attend_norm_relu, linear_norm_relu
from pcinv.nn.pooling import linear_norm_relu_max

PRECISION = {torch.float32: 2e-3, torch.float64: 1e-11}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Several chunks, the last one shorter, also for small tensors."""
    for module in (fused, pooling):
        monkeypatch.setattr(module, "CHUNK_ROWS", 48)


def norm_of(width, dtype):
    norm = nn.BatchNorm1d(width).to(dtype)
    with torch.no_grad():  # negative weights turn maxima into minima
        norm.weight.normal_()
        norm.bias.normal_()
    return norm


def outcome(function, inputs, modules):
    """Values, gradients of inputs and parameters, and running statistics after one call."""
    leaves = [t for t in inputs if t is not None and t.requires_grad]
    parameters = [p for module in modules for p in module.parameters()]
    y = function(*inputs, *modules)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).cos().view_as(y)
    grads = torch.autograd.grad((y * weights).sum(), leaves + parameters)
    buffers = [b for module in modules for b in module.buffers()]
    return [y.detach(), *grads, *buffers]


def assert_same(ours, plain, inputs, modules, dtype):
    pairs = zip(outcome(ours, inputs, deepcopy(modules)),
                outcome(plain, inputs, deepcopy(modules)), strict=True)
    for i, (a, b) in enumerate(pairs):
        # the gradient of a bias before a norm is zero but for rounding: no scale of its own
        error = float((a - b).abs().max() / b.abs().max().clamp_min(1))
        assert error <= PRECISION[dtype], f"result {i}: {error}"


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_norm_relu(dtype, bias):
    torch.manual_seed(0)
    modules = [nn.Linear(5, 7, bias=bias).to(dtype), norm_of(7, dtype)]
    x = torch.randn(5, 130, dtype=dtype).t().requires_grad_()  # not contiguous
    assert_same(linear_norm_relu, lambda x, linear, norm: F.relu(norm(linear(x))), [x], modules,
                dtype)


def plain_attention(x, maps, norm):
    query, key, moved, own = maps(x).split((3, 3, 8, 8), dim=-1)
    a = torch.softmax(query @ key.transpose(1, 2), dim=-1)
    a = a / (a.sum(1, keepdim=True) + 1e-9)
    y = own - a.transpose(1, 2) @ moved
    return x + F.relu(norm(y.flatten(0, 1))).view_as(x)


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("k", [1, 5, 64])
def test_attend_norm_relu(dtype, k):
    torch.manual_seed(0)
    modules = [nn.Linear(8, 22).to(dtype), norm_of(8, dtype)]
    x = torch.randn(23, k, 8, dtype=dtype, requires_grad=True)
    assert_same(lambda x, maps, norm: attend_norm_relu(x, maps.weight, maps.bias, 3, norm),
                plain_attention, [x], modules, dtype)


def plain_maximum(x, carried, rows, linear, norm):
    z = linear(x)
    if carried is not None:
        z = z + carried[rows].view_as(z)
    return F.relu(norm(z.flatten(0, 1))).view_as(z).amax(1)


def maximum_inputs(dtype, carries, clouds=4, groups=6, k=9, points=5):
    torch.manual_seed(0)
    x = torch.randn(clouds * groups, k, 8, dtype=dtype, requires_grad=True)
    if not carries:
        return [x, None, None]
    carried = torch.randn(clouds * points, 7, dtype=dtype, requires_grad=True)
    rows = torch.cat([torch.randint(points, (groups * k,)) + points * b for b in range(clouds)])
    return [x, carried, rows]


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("carries", [True, False])
def test_linear_norm_relu_max(dtype, carries):
    inputs = maximum_inputs(dtype, carries)
    modules = [nn.Linear(8, 7).to(dtype), norm_of(7, dtype)]
    assert_same(
        lambda x, carried, rows, linear, norm: linear_norm_relu_max(linear, norm, clouds=4)(
            x, carried, rows),
        plain_maximum, inputs, modules, dtype)


@pytest.mark.parametrize("carries", [True, False])
def test_the_maximum_in_evaluation_with_and_without_gradients(carries):
    x, carried, rows = maximum_inputs(torch.float64, carries)
    linear, norm = nn.Linear(8, 7).double(), norm_of(7, torch.float64).eval()
    norm.running_mean.normal_()
    pool = linear_norm_relu_max(linear, norm)
    plain = plain_maximum(x, carried, rows, linear, norm)
    torch.testing.assert_close(pool(x, carried, rows), plain)
    with torch.no_grad():
        torch.testing.assert_close(pool(x, carried, rows), plain.detach())


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_do_not_depend_on_the_threads(threads):
    inputs = maximum_inputs(torch.float32, True)
    modules = [nn.Linear(8, 7), norm_of(7, torch.float32)]
    results, before = [], torch.get_num_threads()
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            results.append(outcome(
                lambda x, carried, rows, linear, norm: linear_norm_relu_max(linear, norm, 4)(
                    x, carried, rows), inputs, deepcopy(modules)))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_constant_column_has_finite_gradients():
    x = torch.ones(96, 5, requires_grad=True)
    linear, norm = nn.Linear(5, 7), norm_of(7, torch.float32)
    y = linear_norm_relu(x, linear, norm)
    grads = torch.autograd.grad(y.sum(), [x, *linear.parameters(), *norm.parameters()])
    assert all(torch.isfinite(g).all() for g in (y, *grads))
