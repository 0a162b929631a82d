"""Tasks: batches, losses and sums that add up, for every row of the table."""

import pytest
import torch

from pcinv.errors import DatasetError, UnknownNameError
from pcinv.losses import smoothed_cross_entropy
from pcinv.tasks import LIDAR_TASKS, TASKS, Batch, Item, Labels, collate, get_task

LABELS = Labels(("chair", "table", "lamp"), ("seat", "back", "top", "leg", "shade"),
                ((0, 1), (2, 3), (4,)))
CPU = torch.device("cpu")
OF_LABELS = [name for name in TASKS if name not in ("matching", "normals", "pose", *LIDAR_TASKS)]


def make_batch(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 3
    part = torch.stack([torch.tensor(LABELS.category_parts[c])[torch.arange(8) % len(
        LABELS.category_parts[c])] for c in label])
    return Batch(torch.rand(count, 8, 3, generator=generator), None, label, part,
                 torch.arange(count))


def logits_for(name, batch, seed=1):
    shape = (len(batch), 3) if name == "classification" else (len(batch), 8, 5)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def part_of(batch, rows):
    return batch.map(lambda tensor: tensor[rows])


@pytest.mark.parametrize("name", OF_LABELS)
def test_sums_over_batches_give_the_figures_of_the_whole(name):
    functions, score = get_task(name)
    batch = make_batch()
    logits = logits_for(name, batch)
    whole, halves = functions.new_state(LABELS, CPU), functions.new_state(LABELS, CPU)
    functions.update(whole, logits, batch, functions.loss(logits, batch, 0.0), LABELS)
    for rows in (slice(0, 4), slice(4, 6)):
        some = part_of(batch, rows)
        losses = functions.loss(logits[rows], some, 0.0)
        functions.update(halves, logits[rows], some, losses, LABELS)
    assert functions.compute(whole) == pytest.approx(functions.compute(halves))
    assert score in functions.compute(whole)
    assert set(functions.per_class(whole, LABELS)) == set(LABELS.class_names)
    assert functions.compute(functions.new_state(LABELS, CPU))[score] == 0.0
    assert functions.per_class(functions.new_state(LABELS, CPU), LABELS) == {}


@pytest.mark.parametrize("name", OF_LABELS)
def test_perfect_logits_score_one(name):
    functions, score = get_task(name)
    batch = make_batch()
    target = batch.label if name == "classification" else batch.part
    logits = 50 * torch.nn.functional.one_hot(target, functions.num_outputs(LABELS)).float()
    state = functions.new_state(LABELS, CPU)
    losses = functions.loss(logits, batch, 0.0)
    functions.update(state, logits, batch, losses, LABELS)
    assert functions.compute(state)[score] == 1.0
    assert losses.shape == (6,) and float(losses.max()) < 1e-6


def test_parts_are_scored_within_their_category_only():
    functions = get_task("part_segmentation").functions
    batch = part_of(make_batch(), slice(2, 3))  # a lamp has one part
    state = functions.new_state(LABELS, CPU)
    logits = -100.0 * torch.nn.functional.one_hot(batch.part, 5)
    functions.update(state, logits, batch, functions.loss(logits, batch, 0.0), LABELS)
    assert functions.compute(state)["instance_miou"] == 1.0


def test_clouds_without_parts_are_told():
    functions = get_task("part_segmentation").functions
    batch = make_batch()
    bare = Batch(batch.xyz, None, batch.label, None, batch.index)
    with pytest.raises(DatasetError, match="without part labels"):
        functions.loss(logits_for("part_segmentation", batch), bare, 0.0)


def test_unknown_tasks_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        get_task("clasification")
    assert "classification" in caught.value.hint


def test_collating_keeps_what_all_clouds_have():
    def item(index, normal, part):
        return Item(index, torch.full((4, 3), float(index)), torch.ones(4, 3) if normal else None,
                    index, torch.zeros(4, dtype=torch.int64) if part else None)

    batch = collate([item(0, True, True), item(1, True, True)])
    assert batch.xyz.shape == batch.normal.shape == (2, 4, 3) and batch.part.shape == (2, 4)
    assert batch.index.tolist() == batch.label.tolist() == [0, 1] and len(batch) == 2
    mixed = collate([item(0, True, False), item(1, False, True)])
    assert mixed.normal is None and mixed.part is None
    assert batch.to(torch.device("meta")).xyz.device.type == "meta"


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_smoothed_cross_entropy_written_out(smoothing):
    logits, target = torch.randn(5, 7, 4, dtype=torch.float64), torch.randint(0, 4, (5, 7))
    wanted = torch.full((5, 7, 4), smoothing / 4, dtype=torch.float64)
    wanted.scatter_add_(2, target[..., None], torch.full((5, 7, 1), 1 - smoothing).double())
    expected = -(wanted * logits.log_softmax(-1)).sum(-1).mean(1)
    torch.testing.assert_close(smoothed_cross_entropy(logits, target, smoothing), expected)
    assert torch.autograd.gradcheck(
        lambda x: smoothed_cross_entropy(x, target, smoothing), logits.requires_grad_())


def test_half_precision_logits_do_not_overflow_the_loss():
    logits = torch.tensor([[60000.0, -60000.0]], dtype=torch.float16)
    loss = smoothed_cross_entropy(logits, torch.tensor([1]))
    assert loss.dtype == torch.float32 and float(loss) == pytest.approx(120000, rel=1e-3)


def test_matching_sums_add_up_and_ratios_are_counted():
    functions, score = get_task("matching")
    losses, found = torch.arange(6.0), torch.tensor([1.0, 1, 0, 0, 0, 1])
    whole, halves = functions.new_state(LABELS, CPU), functions.new_state(LABELS, CPU)
    functions.update(whole, losses, found)
    for rows in (slice(0, 4), slice(4, 6)):
        functions.update(halves, losses[rows], found[rows])
    assert functions.compute(whole) == functions.compute(halves) == {"loss": 2.5, "found": 0.5}
    assert functions.compute(functions.new_state(LABELS, CPU))["found"] == 0.0
    metrics = functions.matching_metrics([0.0, 0.05, 0.2, 0.55])
    assert metrics[score] == pytest.approx(0.2)
    assert metrics["feature_matching_recall"] == 0.5  # 0.05 itself is not enough
