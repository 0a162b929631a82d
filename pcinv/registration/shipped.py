"""The networks that registration uses: those that come with the package, and a person's own."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from pcinv.errors import CheckpointError
from pcinv.models.registry import weights_file

if TYPE_CHECKING:
    from torch import nn


@cache
def load_shipped(name: str) -> nn.Module:
    """Return the network of this name (a row of `MATCHERS`), in evaluation mode.

    Raises CheckpointError where its weights are missing or damaged.
    """
    import pcinv

    try:
        return pcinv.load_model(weights_file(name)).model
    except CheckpointError as error:
        raise CheckpointError(
            f"the network that comes with pcinv cannot be read: {error.message}",
            where=error.where, hint="install pcinv again, or give --weights RUN") from error


@lru_cache(maxsize=1)
def network_of(weights: str | None) -> nn.Module | None:
    """Return the network of a run or weights file, read once in a process; None for None.

    Raises as `pcinv.load_model`.
    """
    import pcinv

    return None if weights is None else pcinv.load_model(weights).model
