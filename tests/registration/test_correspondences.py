"""Mutual matches against counting, under swap, permutation and ties, and on hostile input."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from pcinv.errors import InputError, ShapeError
from pcinv.registration import correspondences
from pcinv.registration.correspondences import mutual_matches


def features(generator, n, m, c=33, dtype=torch.float32, shared=0.6):
    a = torch.randn(n, c, generator=generator, dtype=dtype)
    b = torch.randn(m, c, generator=generator, dtype=dtype)
    same = int(shared * min(n, m))
    b[:same] = a[:same] + 0.8 * torch.randn(same, c, generator=generator, dtype=dtype)
    return a, b[torch.randperm(m, generator=generator)]


def pairs(matches):
    return set(zip(matches.source_index.tolist(), matches.target_index.tolist(), strict=True))


def counted(a, b, k):
    """The definition: at most k are as near, seen from either side."""
    dist = cdist(a.double().numpy(), b.double().numpy())
    from_a = (dist[:, None, :] <= dist[:, :, None]).sum(2) <= k
    from_b = (dist[None, :, :] <= dist[:, None, :]).sum(1) <= k
    return set(zip(*map(list, np.nonzero(from_a & from_b)), strict=True))


@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(60, 90), (1, 5), (3, 2), (150, 40)])
def test_against_counting(shape, k, generator, dtype):
    a, b = features(generator, *shape, dtype=dtype)
    found = mutual_matches(a, b, k)
    assert pairs(found) == counted(a, b, k)
    expected = (a[found.source_index] - b[found.target_index]).norm(dim=1)
    assert (found.distance - expected).abs().max() < 1e-5 and found.distance.dtype == dtype
    assert (found.distance.diff() >= 0).all()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_item_3_matching_is_symmetric(k, generator):
    a, b = features(generator, 700, 900)
    there, back = mutual_matches(a, b, k, limit=200), mutual_matches(b, a, k, limit=200)
    assert torch.equal(there.source_index, back.target_index)
    assert torch.equal(there.target_index, back.source_index)
    assert torch.equal(there.distance, back.distance)


def test_item_3_larger_k_only_adds(generator):
    a, b = features(generator, 700, 900)
    one, two, three = (pairs(mutual_matches(a, b, k, limit=10**6)) for k in (1, 2, 3))
    assert one < two < three


def test_nearest_neighbours_alone_are_not_symmetric(generator):
    a, b = features(generator, 200, 300)
    dist = torch.cdist(a, b)
    there = {(i, int(j)) for i, j in enumerate(dist.argmin(1))}
    assert there != {(int(i), j) for j, i in enumerate(dist.argmin(0))}


def test_limit_keeps_the_nearest(generator):
    a, b = features(generator, 300, 300)
    every, some = mutual_matches(a, b), mutual_matches(a, b, limit=17)
    assert len(some.distance) == 17
    assert all(torch.equal(x[:17], y) for x, y in zip(every, some, strict=True))


@pytest.mark.parametrize("kind", ["general", "equal distances", "rows repeated"])
def test_order_of_the_rows_is_no_matter(kind, generator):
    a, b = features(generator, 400, 300)
    if kind == "equal distances":  # whole numbers: exact ties in plenty
        a, b = a[:, :5].round(), b[:, :5].round()
    if kind == "rows repeated":
        a[200:], b[150:] = a[:200], b[:150]
    p = torch.randperm(len(a), generator=generator)
    q = torch.randperm(len(b), generator=generator)
    there, again = mutual_matches(a, b, limit=90), mutual_matches(a[p], b[q], limit=90)
    assert len(there.distance) == 90
    assert torch.equal(there.distance, again.distance)
    assert torch.equal(a[there.source_index], a[p][again.source_index])
    assert torch.equal(b[there.target_index], b[q][again.target_index])
    if kind == "general":
        assert torch.equal(p[again.source_index], there.source_index)


def test_blocks_and_threads_are_no_matter(generator, monkeypatch):
    a, b = features(generator, 500, 650)
    whole = mutual_matches(a, b)
    monkeypatch.setattr(correspondences, "_BLOCK", 37)
    torch.set_num_threads(2)
    try:
        again = mutual_matches(a, b)
    finally:
        torch.set_num_threads(1)
    for x, y in zip(whole, again, strict=True):
        assert torch.equal(x, y)


def test_no_more_than_a_block_is_held(monkeypatch):
    from pcinv.registration import matching_kernels

    seen, keep = [], matching_kernels.keep_smallest
    monkeypatch.setattr(matching_kernels, "keep_smallest",
                        lambda block, *rest: seen.append(block.size) or keep(block, *rest))
    mutual_matches(torch.rand(6000, 4), torch.rand(5000, 4))
    assert max(seen) == correspondences._BLOCK * 5000 and sum(seen) == 6000 * 5000


def test_one_pass_keeps_the_smallest_of_rows_and_columns():
    from pcinv.registration.matching_kernels import keep_smallest

    rng = np.random.default_rng(0)
    for shape in ((90, 200), (5, 63), (300, 128)):
        values = rng.normal(size=shape).astype(np.float32)
        kept = []
        for count in shape:
            kept += [np.full((count, 3), np.inf, np.float32), np.zeros((count, 3), np.int64)]
        for start in range(0, shape[0], 32):
            keep_smallest(values[start : start + 32], start, *kept, kept[2][:, -1].copy())
        assert np.array_equal(kept[0], np.sort(values, axis=1)[:, :3])
        assert np.array_equal(kept[2], np.sort(values, axis=0)[:3].T)
        assert np.array_equal(np.take_along_axis(values, kept[1], 1), kept[0])
        assert np.array_equal(np.take_along_axis(values.T, kept[3], 1), kept[2])


def test_nearly_equal_features_are_told_apart_in_double_precision(generator):
    """Differences that single precision cannot see: the products lose them."""
    a = torch.ones(40, 8, dtype=torch.float64)
    a += 1e-6 * torch.randn(40, 8, generator=generator, dtype=torch.float64)
    p = torch.randperm(40, generator=generator)
    found = mutual_matches(a, a[p], k=1)
    assert torch.equal(p[found.target_index], found.source_index) and len(found.distance) == 40


def test_features_that_are_all_alike_match_nothing():
    assert len(mutual_matches(torch.ones(50, 33), torch.ones(60, 33)).distance) == 0
    assert len(mutual_matches(torch.ones(2, 33), torch.ones(2, 33)).distance) == 4  # both are best
    half = torch.eye(33).repeat(3, 1)
    assert len(mutual_matches(half, half).distance) == 0  # three equally good partners, k = 2
    assert len(mutual_matches(half, half, k=3).distance) == 3 * 99


def test_autocast_changes_nothing(generator):
    a, b = features(generator, 300, 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mutual_matches(a, b)
    assert torch.equal(inside.source_index, mutual_matches(a, b).source_index)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same(generator):
    a, b = features(generator, 3000, 2500)
    for x, y in zip(mutual_matches(a, b), mutual_matches(a.cuda(), b.cuda()), strict=True):
        assert torch.equal(x, y.cpu())


def test_empty_and_bad_input():
    none = mutual_matches(torch.zeros(0, 33), torch.rand(5, 33))
    assert none.source_index.shape == none.target_index.shape == none.distance.shape == (0,)
    good = torch.rand(5, 33)
    for a, b, error, text in (
        (good, good[:, :32], ShapeError, "33 and 32"), (good[0], good, ShapeError, "source"),
        (good, good.long(), ShapeError, "target"), (good, good / 0, InputError, "not finite"),
        (good.double() * 1e200, good.double(), InputError, "e\\+1|e\\+2"),
    ):
        with pytest.raises(error, match=text):
            mutual_matches(a, b)
    for name in ("k", "limit"):
        with pytest.raises(InputError, match=name):
            mutual_matches(good, good, **{name: 0})
