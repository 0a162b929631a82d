"""Threads that share a work, and loops that are compiled."""

import numba
import pytest
import torch

from pcinv.ops.jit import jit
from pcinv.ops.threads import each_alone, in_shares


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_shares_are_consecutive_and_in_order(threads):
    shares = in_shares(list, range(7))
    assert [item for share in shares for item in share] == list(range(7))
    assert len(shares) <= threads and in_shares(list, range(1)) == [[0]]


def test_each_share_has_one_thread_and_records_no_gradient(threads):
    x = torch.ones(3, requires_grad=True)
    seen = in_shares(lambda share: (torch.get_num_threads(), (2 * x).requires_grad), range(threads))
    assert seen == [(1, False)] * threads
    assert torch.get_num_threads() == threads and torch.is_grad_enabled()


def test_inference_mode_holds_in_the_shares(threads):
    with torch.inference_mode():
        modes = in_shares(lambda share: torch.is_inference_mode_enabled(), range(threads))
    assert modes == [True] * threads


def test_an_error_leaves_the_threads_as_they_were(threads):
    def fail(share):
        raise ValueError(str(share))

    with pytest.raises(ValueError, match="range"):
        in_shares(fail, range(5))
    assert torch.get_num_threads() == threads


def test_loops_are_compiled_where_nothing_may_be_kept_on_disk(monkeypatch):
    njit = numba.njit

    def without_a_place(*functions, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*functions, **options)

    monkeypatch.setattr(numba, "njit", without_a_place)
    assert jit(lambda x: x + 1)(1) == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_each_item_has_one_thread_and_the_others_are_given_back(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seen = each_alone(lambda k: (k, torch.get_num_threads(), torch.is_grad_enabled()), range(5))
        assert seen == [(k, 1, False) for k in range(5)]
        with pytest.raises(ZeroDivisionError):
            each_alone(lambda k: 1 / k, range(3))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
