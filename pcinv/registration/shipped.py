"""The networks that registration uses: those that come with the package, and a person's own."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pcinv.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = Path(__file__).parents[1] / "weights"


def weights_file(name: str) -> Path:
    """Return where the weights of a network of the package are, if it has them."""
    return WEIGHTS / f"{name}.safetensors"


@cache
def load_shipped(name: str) -> nn.Module:
    """Return the network of this name (a row of `MATCHERS`), in evaluation mode.

    Raises CheckpointError where its weights are missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    from pcinv.models.registry import create_model

    file = weights_file(name)
    try:
        with safe_open(file, "pt") as stored:
            model = json.loads(stored.metadata()["pcinv"])["config"]["model"]
            tensors = {name: stored.get_tensor(name).float() for name in stored.keys()}
        network = create_model(name, task="matching", preset=model["preset"], **model["overrides"])
        network.load_state_dict(
            {name: value.long() if name.endswith("num_batches_tracked") else value
             for name, value in tensors.items()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"the network that comes with pcinv cannot be read: {error}",
                              where=str(file), hint="install pcinv again, or give --weights RUN"
                              ) from error
    return network.eval()


@lru_cache(maxsize=1)
def network_of(weights: str | None) -> nn.Module | None:
    """Return the network of a run or weights file, read once in a process; None for None.

    Raises as `pcinv.load_model`.
    """
    import pcinv

    return None if weights is None else pcinv.load_model(weights).model
