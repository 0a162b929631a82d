"""Random sources: seeded, captured and restored as plain tensors.

Randomness that belongs to one cloud (augmentation, order of the data) comes from generators that
are seeded by what it is for (`generator(seed, epoch, index)`), so it depends neither on the number
of loader workers nor on where a run was interrupted. The global sources, which dropout layers
draw from, are captured with each checkpoint.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

# One stream per purpose, so that equal epochs and indices never share their numbers.
ORDER, AUGMENT, ROTATE, THIN, POSE, ANCHORS, CORRUPT = range(7)


def generator(*words: int) -> torch.Generator:
    """Return a CPU generator whose numbers depend on the (not negative) words alone."""
    # numpy fills up with zeros: without the length, (1, 2) and (1, 2, 0) would be the same
    state = np.random.SeedSequence((len(words), *words)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def seed_all(seed: int, rank: int = 0) -> None:
    """Seed python, numpy and torch, with other numbers in each process of a distributed run."""
    words = np.random.SeedSequence((seed, rank)).generate_state(3, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]) % 2**32)
    torch.manual_seed(int(words[2]))


def capture() -> dict[str, Tensor]:
    """Return the state of all global random sources of this process as tensors."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state = {
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python_gauss": torch.tensor([gauss is not None, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray([*keys, position, has_gauss], dtype=np.int64)),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore(state: dict[str, Tensor]) -> None:
    """Put all global random sources of this process back to a captured state."""
    version, *words = state["python"].tolist()
    has_gauss, gauss = state["python_gauss"].tolist()
    random.setstate((version, tuple(words), gauss if has_gauss else None))
    *keys, position, has_gauss = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.asarray(keys, dtype=np.uint32), position, has_gauss,
                         float(state["numpy_gauss"][0])))
    # a copy: torch crashes on a state that is not aligned in memory, as rows of a tensor may be
    torch.set_rng_state(state["torch"].clone())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].clone())
