"""Many pairs on a dask cluster (extra `dask`): each task on one thread of one of its workers.

The tasks go to dask itself and not through joblib's backend for it: that one waits for ever for a
task whose worker was killed, or whose worker lacks a package (joblib 1.6, answers as a generator).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from pcinv import __version__
from pcinv.errors import DependencyError, LimitError, NetworkError, UsageError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

CONNECT_SECONDS = 5.0
PATIENCE_SECONDS = 15.0
"""How long to wait for a first worker, and for an answer before asking whether one is left."""
IN_FLIGHT = 3
"""Tasks that are handed out for each thread of the cluster; so memory does not grow with a list."""
_GO_ON = "the same command goes on with what is left"


def cluster_answers(
    work: Callable[[Item], Answer], items: Sequence[Item], address: str
) -> Iterator[Answer]:
    """Yield work(item) of all items as they are done by the workers of a cluster.

    work : a function that the workers can import, or a `functools.partial` of one. Files that it
        reads have to be on a file system that they share, under absolute names.
    address : of the scheduler, as in tcp://10.0.0.5:8786. Only a cluster that is trusted: what it
        answers is unpickled, as dask does.

    A task that ends its worker does not keep the others from being done; it is told at the end.

    Raises
    ------
    DependencyError : `distributed` is not installed, or a worker lacks pcinv.
    UsageError : this is no address, or a worker has another version of pcinv.
    NetworkError : no scheduler answers there within 5 s, it has no worker, or it was lost.
    LimitError : some tasks ended their workers, which dask had tried three times.
    """
    with _connected(address) as client:
        yield from _run(client, work, items, address)


def _run(
    client: Any, work: Callable[[Item], Answer], items: Sequence[Item], address: str
) -> Iterator[Answer]:
    import distributed

    left, pending, ended = iter(items), set[Any](), 0
    while True:
        room = IN_FLIGHT * _threads(client, address) - len(pending)
        pending |= {client.submit(partial(_alone, work), item, pure=False)
                    for item in islice(left, max(room, 0 if pending else 1))}
        if not pending:
            break
        done = _done(client, pending, address)
        pending -= done
        for future in done:
            if future.status == "cancelled":
                raise _lost(address)
            if future.status not in ("finished", "error"):  # the worker that held the answer died,
                pending.add(future)  # and dask computes it once more
                continue
            if isinstance(error := future.exception(), distributed.KilledWorker):
                ended += 1
            elif error is not None:
                raise error
            else:
                yield future.result()
    if ended:
        raise LimitError(f"{ended} of {len(items)} tasks ended their workers, perhaps for want of "
                         "memory", where=address,
                         hint=f"workers with more memory or fewer threads; {_GO_ON}")


def _done(client: Any, pending: set[Any], address: str) -> set[Any]:
    """Wait for some of the tasks to be done; none are where that takes long."""
    import distributed

    try:
        with client.as_current():
            done: set[Any] = distributed.wait(pending, timeout=PATIENCE_SECONDS,
                                              return_when="FIRST_COMPLETED").done
    except TimeoutError:
        if not _threads(client, address):
            raise NetworkError("no worker of the cluster is left", where=address,
                               hint=f"start workers again; {_GO_ON}") from None
        return set()
    except (CancelledError, OSError) as error:
        raise _lost(address) from error
    return done


def _threads(client: Any, address: str) -> int:
    """Return how many threads the workers have together; workers come and go."""
    try:
        return sum(client.nthreads().values())
    except (CancelledError, OSError) as error:
        raise _lost(address) from error


def _lost(address: str) -> NetworkError:
    return NetworkError("the connection to the cluster was lost", where=address,
                        hint=f"start it again; {_GO_ON}")


def _alone(work: Callable[[Item], Answer], item: Item) -> Answer:
    """Do one task on one thread, as the processes on one machine do."""
    import torch

    torch.set_num_threads(1)
    return work(item)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Give a client of the scheduler, whose workers have been asked for their pcinv."""
    try:
        import distributed
    except ImportError as error:
        raise DependencyError("a cluster needs distributed, which is not installed", where="dask",
                              hint="pip install 'pcinv[dask]'") from error
    try:
        # not left to the client: one that fails to connect closes itself when it is collected as
        # garbage, and may lock up the client that is being made just then
        with ThreadPoolExecutor(1) as thread:  # there may be an event loop in this one
            thread.submit(asyncio.run, _reach(address)).result()
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except ValueError as error:
        raise UsageError(f"'{address}' is no address of a scheduler: {error}", where="cluster",
                         hint="tcp://HOST:8786, as dask scheduler prints it") from error
    except Exception as error:  # another program at that port answers what cannot be decoded
        raise NetworkError(f"no dask scheduler answers ({type(error).__name__}: {error})"[:300],
                           where=address, hint="dask scheduler starts one, dask worker ADDRESS "
                                               "--nthreads 1 its workers") from error
    try:
        _check_workers(client, address)
        yield client
    finally:
        client.close()


async def _reach(address: str) -> None:
    """Connect and shake hands, as a client does."""
    import distributed

    comm = await distributed.connect(address, timeout=CONNECT_SECONDS,
                                     **distributed.Security().get_connection_args("client"))
    await comm.close()


def _check_workers(client: Any, address: str) -> None:
    """Raise unless there are workers, with the pcinv that is here: answers must not be mixed."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
    except TimeoutError as error:
        raise NetworkError(f"the cluster has had no worker for {PATIENCE_SECONDS:.0f} s",
                           where=address, hint=f"dask worker {address}") from error
    for worker, told in client.run(_version, on_error="return").items():
        if isinstance(told, Exception):
            raise DependencyError(f"a worker cannot import pcinv: {told}"[:300], where=worker,
                                  hint=f"install pcinv {__version__} where the workers run")
        if told != __version__:
            raise UsageError(f"a worker has pcinv {told}, here it is {__version__}", where=worker,
                             hint="install the same version on both sides")


def _version() -> str:
    return __version__
