"""Gathering, interpolation, means of groups, and padding."""

import numpy as np
import pytest
import torch
from helpers.clouds import clouds, rotations
from hypothesis import given
from hypothesis import strategies as st

from pcinv.errors import InputError, ShapeError
from pcinv.ops import gather, interpolate, scatter_mean, to_padded, to_ragged


@pytest.mark.parametrize("shape", [(7,), (7, 4)])
def test_gather_is_indexing_forward_and_backward(shape):
    features = torch.randn(3, 10, 5, dtype=torch.float64, requires_grad=True)
    index = torch.randint(0, 10, (3, *shape))
    batch = torch.arange(3).view(3, *[1] * len(shape))
    ours, plain = gather(features, index), features[batch, index]
    assert torch.equal(ours, plain)
    weight = torch.randn_like(plain)
    (a,), (b,) = (torch.autograd.grad((y * weight).sum(), features) for y in (ours, plain))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gather_has_right_gradients():
    features = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    index = torch.randint(0, 6, (2, 4, 3))
    assert torch.autograd.gradcheck(lambda f: gather(f, index), (features,))


def test_gather_refuses_another_batch():
    with pytest.raises(ShapeError, match="index of 3 clouds for features of 2"):
        gather(torch.zeros(2, 4, 1), torch.zeros(3, 4, dtype=torch.int64))


@given(xyz=clouds(min_size=3, max_size=60), seed=st.integers(0, 99))
def test_interpolation_is_a_finite_weighted_mean(xyz, seed):
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.permutation(xyz)[: max(1, len(xyz) // 3)])[None]
    features = torch.from_numpy(rng.normal(size=(1, coarse.shape[1], 2)))
    out = interpolate(torch.from_numpy(xyz)[None], coarse, features)
    assert out.shape == (1, len(xyz), 2)
    assert (out <= features.amax(1, keepdim=True) + 1e-9).all()
    assert (out >= features.amin(1, keepdim=True) - 1e-9).all()


def test_interpolation_follows_the_formula():
    coarse, fine = torch.randn(2, 20, 3).double(), torch.randn(2, 30, 3).double()
    features = torch.randn(2, 20, 4).double()
    dist2, index = torch.cdist(fine, coarse).square().topk(3, largest=False)
    weight = (1 / dist2) / (1 / dist2).sum(-1, keepdim=True)
    expected = (weight[..., None] * gather(features, index)).sum(2)
    torch.testing.assert_close(interpolate(fine, coarse, features), expected)


def test_interpolation_at_a_coarse_point_is_its_feature():
    coarse, features = torch.randn(1, 9, 3), torch.randn(1, 9, 2)
    out = interpolate(coarse, coarse, features)
    torch.testing.assert_close(out, features, atol=1e-5, rtol=1e-5)


@given(rotation=rotations(), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_interpolation_ignores_pose_and_scale(rotation, scale):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 20, 3, generator=generator, dtype=torch.float64)
    fine = torch.randn(1, 30, 3, generator=generator, dtype=torch.float64)
    features = torch.randn(1, 20, 4, generator=generator, dtype=torch.float64)
    turn = torch.from_numpy(rotation).T * scale
    torch.testing.assert_close(
        interpolate(fine @ turn + 3, coarse @ turn + 3, features),
        interpolate(fine, coarse, features), rtol=1e-6, atol=1e-6)


def test_interpolation_takes_fewer_points_than_k_and_has_gradients():
    coarse, fine = torch.randn(1, 2, 3).double(), torch.randn(1, 5, 3).double()
    features = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: interpolate(fine, coarse, f), (features,))


def test_interpolation_refuses_features_of_another_cloud():
    with pytest.raises(ShapeError, match="features of"):
        interpolate(torch.zeros(1, 5, 3), torch.zeros(1, 4, 3), torch.zeros(1, 5, 2))


def test_scatter_mean():
    values = torch.tensor([[1.0], [2.0], [5.0]], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([2, 0, 2])
    assert scatter_mean(values, index, 4).tolist() == [[2.0], [0.0], [3.0], [0.0]]
    assert torch.autograd.gradcheck(lambda v: scatter_mean(v, index, 4), (values,))
    assert scatter_mean(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 0).shape == (0, 2)


def test_scatter_mean_refuses_bad_groups():
    with pytest.raises(InputError, match="groups 0 to 4, expected 0 to 3"):
        scatter_mean(torch.zeros(2, 1), torch.tensor([0, 4]), 4)
    with pytest.raises(ShapeError, match="1 groups for 2 rows"):
        scatter_mean(torch.zeros(2, 1), torch.tensor([0]), 4)


@given(sizes=st.lists(st.integers(0, 9), max_size=6))
def test_padding_and_back(sizes):
    values = torch.randn(sum(sizes), 3)
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    padded, mask = to_padded(values, offsets)
    assert padded.shape == (len(sizes), max(sizes, default=0), 3)
    assert mask.sum(1).tolist() == sizes and (padded[~mask] == 0).all()
    for b, size in enumerate(sizes):
        assert torch.equal(padded[b, :size], values[offsets[b] : offsets[b + 1]])
    again, ends = to_ragged(padded, mask)
    assert torch.equal(again, values) and torch.equal(ends, offsets)


def test_padding_carries_gradients():
    values = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    offsets = torch.tensor([0, 2, 5])
    assert torch.autograd.gradcheck(lambda v: to_padded(v, offsets)[0], (values,))


@pytest.mark.parametrize("offsets", [[1, 4], [0, 3], [0, 3, 2, 4], []])
def test_bad_offsets(offsets):
    with pytest.raises(InputError):
        to_padded(torch.zeros(4, 2), torch.tensor(offsets, dtype=torch.int64))


def test_a_mask_of_another_shape():
    with pytest.raises(ShapeError, match="expected a boolean mask"):
        to_ragged(torch.zeros(2, 4, 1), torch.ones(2, 3, dtype=torch.bool))
