"""Backends of optional packages, behind guards: answers are checked before they are believed.

torch_cluster drops the rows of points it cannot place, gives fewer than k neighbours silently, and
samples a point twice; torch_quickfps works in float32 and samples duplicates twice. The checks of
`pcinv.ops` keep NaN, k > N, empty clouds and unsorted batches from them; the checks here hold their
answers to shape, range and absence of repeats.
"""

from importlib import import_module
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcinv.errors import DependencyError, PcinvError
from pcinv.ops.order import squared_distance

PACKAGES = {"cluster": ("torch_cluster", "cluster"), "quickfps": ("torch_quickfps", "fast")}
"""Backend -> (module, extra of pcinv that installs it)."""


class BackendError(PcinvError):
    """An optional package gave an answer that cannot be right."""

    exit_code = 4
    code = "backend"


def load(backend: str) -> ModuleType:
    """Import the package behind an optional backend.

    Raises
    ------
    DependencyError : it is not installed, or does not start.
    """
    module, extra = PACKAGES[backend]
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        raise DependencyError(
            f"the backend '{backend}' needs {module}, which does not start: {error}",
            where="backend", hint=f"pip install 'pcinv[{extra}]', or backend='auto'",
        ) from error


def cluster_knn(
    query: Float[Tensor, "b m 3"], points: Float[Tensor, "b n 3"], k: int
) -> tuple[Float[Tensor, "b m k"], Int[Tensor, "b m k"]]:
    """Return neighbours by torch_cluster; which of equally distant points is left to it."""
    (b, m, _), n = query.shape, points.shape[1]
    batch = torch.arange(b, device=points.device)
    rows, found = load("cluster").knn(
        points.reshape(-1, 3), query.reshape(-1, 3), k,
        batch.repeat_interleave(n), batch.repeat_interleave(m),
    )
    expected = torch.arange(b * m, device=rows.device).repeat_interleave(k)
    if not torch.equal(rows, expected):
        raise _wrong("cluster", f"{len(rows)} neighbours for {b * m * k} asked")
    index = found.view(b, m, k) - (batch * n)[:, None, None]
    _check_index(index, n, "cluster")
    dist2 = squared_distance(query[:, :, None], points[batch[:, None, None], index])
    dist2, order = dist2.sort(dim=2)
    return dist2, index.gather(2, order)


def cluster_fps(points: Float[Tensor, "b n 3"], m: int) -> Int[Tensor, "b m"]:
    """Return m positions from position 0 on by torch_cluster, in its exact greedy order."""
    b, n, _ = points.shape
    base = torch.arange(b, device=points.device)
    found: Tensor = load("cluster").fps(
        points.reshape(-1, 3), base.repeat_interleave(n),
        ratio=(m - 0.5) / n,  # it takes ceil(ratio * n)
        random_start=False,
    )
    if found.shape != (b * m,):
        raise _wrong("cluster", f"{len(found)} samples for {b * m} asked")
    index = found.view(b, m) - (base * n)[:, None]
    _check_index(index, n, "cluster")
    return index


def quickfps(points: Float[Tensor, "b n 3"], m: int) -> Int[Tensor, "b m"]:
    """Return m positions from position 0 on by torch_quickfps: greedy in float32."""
    scale = points.abs().amax().clamp_min(1e-300)
    index: Tensor = load("quickfps").sample_idx((points / scale).float(), m, start_idx=0)
    _check_index(index, points.shape[1], "quickfps")
    return index


def _check_index(index: Int[Tensor, "*rows k"], count: int, backend: str) -> None:
    """Raise unless every row holds different positions in [0, count)."""
    if int(index.min()) < 0 or int(index.max()) >= count:
        raise _wrong(backend, f"positions {int(index.min())} to {int(index.max())} of {count}")
    ordered = index.sort(dim=-1).values
    if bool((ordered[..., 1:] == ordered[..., :-1]).any()):
        raise _wrong(backend, "the same position twice")


def _wrong(backend: str, what: str) -> BackendError:
    return BackendError(f"the backend '{backend}' gave {what}", where="backend",
                        hint="use backend='auto'")
