"""A dask cluster on this machine's loopback, and tasks for its workers."""

import os
from contextlib import contextmanager

import pytest


@contextmanager
def local_cluster(workers: int = 2):
    """Give the address of a scheduler with so many workers, processes of one thread each."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    import dask

    # a task that ends its worker is not tried again, which would take ten seconds; nor is there a
    # second one in that worker, to end with it
    settings = {"distributed.scheduler.allowed-failures": 0,
                "distributed.scheduler.worker-saturation": 1.0}
    with dask.config.set(settings), distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", silence_logs="CRITICAL",
            dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def square_or_end(number: int) -> int:
    """Return the square, but end the process at 3."""
    if number == 3:
        os._exit(1)
    return number * number


def fail(number: int) -> int:
    """Raise an error of a kind that stops all."""
    from pcinv.errors import UsageError

    raise UsageError(f"number {number}", where="fail", hint="none")


def threads(_: int) -> tuple[int, int]:
    """Return the process and how many threads torch uses there."""
    import torch

    return os.getpid(), torch.get_num_threads()
