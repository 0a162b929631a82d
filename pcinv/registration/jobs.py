"""Many pairs in parallel processes, one thread each: on this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pcinv.errors import LimitError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def answers(
    work: Callable[[Item], Answer], items: Sequence[Item], jobs: int, cluster: str | None = None
) -> Iterator[Answer]:
    """Yield work(item) of all items as they are done; with one job in their order, right here.

    work : a function that other processes can import, or a `functools.partial` of one.
    cluster : address of a dask scheduler, whose workers do it; `jobs` is of no account then.

    Raises LimitError where the system ended a process; with a cluster what `cluster_answers` does.
    """
    if cluster is not None:
        from pcinv.registration.cluster import cluster_answers

        if len(items):
            yield from cluster_answers(work, items, cluster)
        return
    if jobs == 1 or len(items) < 2:
        yield from map(work, items)
        return
    from joblib import Parallel, delayed, parallel_config

    try:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            yield from Parallel(n_jobs=min(jobs, len(items)), batch_size=1,
                                return_as="generator_unordered")(
                delayed(work)(item) for item in items)
    except BrokenProcessPool as error:
        raise LimitError("a process was ended by the system, perhaps for want of memory",
                         where=f"jobs {jobs}", hint="the same command with fewer jobs goes on with "
                                                    "what is left") from error
