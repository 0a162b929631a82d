"""Classification from every prefix: the sums add up, and each prefix has its figure."""

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_encoder import TinyEncoder

from pcinv.nn.embedding_heads import MatryoshkaHead, MatryoshkaOptions
from pcinv.nn.headed import with_head
from pcinv.tasks import Batch, Labels, classification, get_task, task_of
from pcinv.tasks.nested import Nested

LABELS = Labels(("chair", "table", "lamp"))
CPU = torch.device("cpu")


def batch_of(label):
    return Batch(torch.zeros(len(label), 4, 3), None, torch.tensor(label), None,
                 torch.arange(len(label)))


def nested(weights=(1.0, 2.0)):
    return Nested(MatryoshkaHead(16, 3, MatryoshkaOptions(weights=weights)))


def state_of(functions, logits, batch):
    state = functions.new_state(LABELS, CPU)
    functions.update(state, logits, batch, functions.loss(logits, batch, 0.0), LABELS)
    return state


def test_figures_of_each_prefix_and_of_the_whole_vector():
    functions, batch = nested(), batch_of([0, 1, 2, 2])
    logits = F.one_hot(torch.tensor([[0, 0], [1, 1], [0, 2], [0, 0]]), 3).float()  # (B, G, K)
    found = functions.compute(state_of(functions, logits, batch))
    assert found["oa_8"] == 0.5 and found["oa"] == 0.75
    assert found["macc"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert set(found) == {"oa", "macc", "loss", "oa_8"}


def test_the_loss_is_that_of_the_weighted_prefixes():
    functions, batch = nested(), batch_of([0, 1, 2, 2])
    logits = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    short, whole = (classification.loss(logits[:, g], batch, 0.1) for g in range(2))
    torch.testing.assert_close(functions.loss(logits, batch, 0.1), short + 2 * whole)
    state = state_of(functions, logits, batch)
    assert functions.compute(state)["loss"] == pytest.approx(
        float(functions.loss(logits, batch, 0.0).mean()))


def test_sums_over_batches_give_the_figures_of_the_whole():
    functions, batch = nested(), batch_of([0, 1, 2, 2, 1])
    logits = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))
    whole = state_of(functions, logits, batch)
    parts = [state_of(functions, logits[rows], batch.map(lambda t, rows=rows: t[rows]))
             for rows in (slice(0, 2), slice(2, 5))]
    added = {name: parts[0][name] + parts[1][name] for name in whole}
    assert functions.compute(added) == pytest.approx(functions.compute(whole))
    assert functions.per_class(added, LABELS) == functions.per_class(whole, LABELS)
    empty = functions.new_state(LABELS, CPU)
    assert functions.compute(empty)["oa_8"] == functions.compute(empty)["oa"] == 0.0


def test_a_network_with_prefixes_gets_the_task_that_measures_them():
    plain = TinyEncoder(3)
    assert task_of("classification", plain) is get_task("classification")
    task = task_of("classification", with_head(plain, "matryoshka", 3, 32))
    assert isinstance(task.functions, Nested) and task.score == "oa"
    assert task.functions.num_outputs(LABELS) == 3
    relative = with_head(TinyEncoder(3), "relative", 3, 32)
    assert task_of("classification", relative) is get_task("classification")
