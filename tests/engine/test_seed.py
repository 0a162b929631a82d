"""Random sources: streams that do not meet, states that come back."""

import random

import numpy as np
import torch
from safetensors.torch import load, save

from pcinv.engine.seed import AUGMENT, ORDER, ROTATE, capture, generator, restore, seed_all


def draw():
    return (random.random(), random.gauss(0, 1), float(np.random.rand()),
            float(np.random.standard_normal()), float(torch.rand(())))


def test_a_captured_state_comes_back_through_bytes():
    seed_all(1)
    draw()  # leaves half of a pair of normal numbers behind, in python and in numpy
    state = load(save({name: value.contiguous() for name, value in capture().items()}))
    wanted = [draw() for _ in range(3)]
    restore(state)
    assert [draw() for _ in range(3)] == wanted


def test_a_state_without_half_a_pair_comes_back_too():
    seed_all(2)
    state = capture()
    wanted = draw()
    draw()
    random.gauss(0, 1)
    restore(state)
    assert draw() == wanted


def test_rows_of_gathered_states_can_be_restored():
    """Rows of a tensor may lie anywhere in memory."""
    rows = {name: torch.stack([value, value]) for name, value in capture().items()}
    odd = torch.cat([torch.zeros(3, dtype=torch.uint8), rows["torch"].flatten()])[3:]
    rows["torch"] = odd.view(2, -1)
    wanted = draw()
    restore({name: value[1] for name, value in rows.items()})
    assert draw() == wanted


def test_seeds_and_ranks_differ_everywhere():
    seen = set()
    for seed, rank in ((0, 0), (0, 1), (1, 0)):
        seed_all(seed, rank)
        seen.update(draw())
    assert len(seen) == 15


def test_streams_depend_on_all_their_words_and_nothing_else():
    words = [(0, ORDER, 1), (0, AUGMENT, 1), (0, ROTATE, 1), (0, AUGMENT, 1, 0), (1, ORDER, 1),
             (0, AUGMENT, 0, 1), (2**62, ORDER, 1)]
    first = [float(torch.rand((), generator=generator(*w))) for w in words]
    torch.manual_seed(99)
    assert [float(torch.rand((), generator=generator(*w))) for w in words] == first
    assert len(set(first)) == len(words)
