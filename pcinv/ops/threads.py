"""A small pool of threads for library calls that release the interpreter's lock.

`parallel` is for calls that know nothing of torch's threads. `in_shares` and `each_alone` are for
torch itself: many small operations, one after the other, are faster if each thread does some of
them alone than if all threads meet at the end of each operation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return [function(item) for item in items], on as many threads as torch may use."""
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    return list(_pool(os.getpid(), threads).map(function, items))


def each_alone(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return [function(item) for item in items], several at a time, with one thread of torch each.

    For work of many small operations, as `in_shares`, in items that differ in size: whoever is done
    takes the next. Records no gradients.
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        with torch.no_grad():
            return [function(item) for item in items]

    def alone(item: Item) -> Result:
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        with torch.no_grad():
            return function(item)

    with one_thread():
        return list(_pool(os.getpid(), threads).map(alone, items))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of torch, and of MKL, whose setting is the process's, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_shares(work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Return [work(share), ...] for consecutive shares of the items, one for each thread of torch.

    Each share is worked on by a thread of its own, on which torch uses that one thread, and records
    no gradients. The shares, and so the results to the last bit, depend on the number of threads.
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        with torch.no_grad():
            return [work(items)]
    size, is_inference = -(-len(items) // threads), torch.is_inference_mode_enabled()

    def alone(share: Sequence[Item]) -> Result:
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        with torch.inference_mode() if is_inference else torch.no_grad():
            return work(share)

    with one_thread():
        shares = [items[i : i + size] for i in range(0, len(items), size)]
        return list(_pool(os.getpid(), threads).map(alone, shares))


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Keep one pool for each process: the threads of a parent do not live on after a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"pcinv-{process}")
