"""Segmentation and detection of scans: targets, decoding, few labels, resumption."""

import numpy as np
import pytest
import torch
from helpers.tiny_streets import tiny

import pcinv
from pcinv.engine.checkpoint import load_weights
from pcinv.engine.lidar_batches import order_of
from pcinv.engine.lidar_scans import ScanPool, _of_time, load_scans
from pcinv.engine.trainer import train
from pcinv.errors import ConfigError, Interrupted, UnknownNameError, UsageError
from pcinv.metrics.detection import Frame
from pcinv.nn.lidar_heads import Centres
from pcinv.nn.pillars import Grid
from pcinv.tasks import Labels, detection
from pcinv.tasks.segmentation import class_weights
from pcinv.types import Boxes

GRID = Grid((-25.6, -25.6), 0.4, (128, 128))


def scene(seed=0, count=12):
    """Boxes of all kinds on a lattice, so that none is near another."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(np.arange(4), np.arange(3)), -1).reshape(-1, 2)[:count]
    centre = np.concatenate([place * 11.0 - 18 + rng.uniform(-1, 1, (count, 2)),
                             rng.uniform(-1, 1, (count, 1))], 1)
    size = rng.uniform([3.5, 1.6, 1.4], [5, 2, 1.8], (count, 3))
    return Boxes(centre, size, rng.uniform(-np.pi, np.pi, count), np.arange(count) % 4,
                 np.arange(count), rng.normal(0, 3, (count, 2)), np.full(count, 50))


def said(targets):
    """Return maps that say exactly what the targets want."""
    box = torch.zeros(len(targets.heat), 10, *GRID.shape)
    box.flatten(2)[targets.scan, :, targets.cells] = targets.wanted
    heat = targets.heat.clamp(1e-4, 1 - 1e-4)
    return Centres(torch.log(heat / (1 - heat)), box)


def test_what_targets_say_is_decoded_to_the_boxes_again():
    truth = scene()
    targets = detection.make_targets([truth], GRID, 4)
    found, score = detection.decode(said(targets), GRID)[0]
    sure = score > 0.99
    assert sure.sum() == len(truth)
    order = [int(np.argmin(np.linalg.norm(found.centre[sure] - c, axis=1))) for c in truth.centre]
    for name in ("centre", "size", "velocity"):
        assert np.allclose(getattr(found, name)[sure][order], getattr(truth, name), atol=1e-4)
    assert np.allclose(np.exp(1j * found.yaw[sure][order]), np.exp(1j * truth.yaw), atol=1e-4)
    assert (found.label[sure][order] == truth.label).all()
    scores = detection.scores([Frame(truth, found, score)], Labels(detection.CLASSES))
    assert scores["map"] == pytest.approx(1, abs=1e-6) and scores["ap_3d"] == pytest.approx(1)
    assert scores["nds_no_attributes"] == pytest.approx(1, abs=1e-3)


def test_heat_is_one_at_centres_and_lower_around():
    targets = detection.make_targets([scene(1)], GRID, 4)
    assert int((targets.heat == 1).sum()) == len(targets.cells) == 12
    assert ((targets.heat > 0).flatten(2).sum(-1) > 3 * 9).all()
    assert float(detection.loss(said(targets), targets)) < 0.1
    silent = Centres(torch.full_like(targets.heat, -2.19), torch.zeros(1, 10, *GRID.shape))
    assert float(detection.loss(silent, targets)) > 3


def test_boxes_that_are_not_to_be_seen_are_neither_learned_nor_asked_for():
    few = scene()
    few.num_points[:3] = 4
    few.label[3] = -1
    few.centre[4, 0] = 90.0
    assert len(detection.visible(few, GRID)) == 7
    assert len(detection.make_targets([few], GRID, 4).cells) == 7


def test_surer_boxes_stay():
    twice = scene(count=2)
    heat = torch.full((1, 4, 128, 128), -9.0)
    targets = detection.make_targets([twice], GRID, 4)
    box = said(targets).box
    cell = int(targets.cells[0])
    for k, offset in enumerate((0, 2)):  # the same car, from two cells beside each other
        place = cell + offset
        heat.flatten(2)[0, 0, place] = 3.0 - k
        box.flatten(2)[0, :, place] = targets.wanted[0]
        box.flatten(2)[0, 0, place] -= offset
    found, score = detection.decode(Centres(heat, box), GRID)[0]
    assert len(found) == 1 and score[0] == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_weights_of_classes():
    weights = class_weights(torch.tensor([100, 1, 0]))
    assert weights[1] == pytest.approx(10 * float(weights[0]), rel=1e-4) and weights[2] == 0
    assert float((weights * torch.tensor([100, 1, 0.0])).sum() / 101) == pytest.approx(1)


def test_splits_follow_time():
    train_, val, test = (_of_time(100, split, 0.1, 0.2) for split in ("train", "val", "test"))
    assert (len(train_), len(val), len(test)) == (72, 8, 20)
    assert train_[-1] < val[0] and val[-1] < test[0]


def test_shares_of_labels():
    class Sequence:
        class_names = ("car",)

    pools = {f: ScanPool([Sequence()], [(0, k) for k in range(200)], 10.0, f)
             for f in (0.01, 0.05, 0.2, 1.0)}
    assert [len(pool.label_places) for pool in pools.values()] == [2, 10, 40, 200]
    assert ScanPool([Sequence()], [(0, 0), (0, 1)], 10.0, 0.01).label_places == [0]
    order = order_of(pools[0.01].label_places, 50, (0, 1))
    assert np.bincount(order).max() == 25  # as many steps, each scan as often


def test_streets_of_splits_are_not_the_same():
    config = tiny("segmentation", data={"val_fraction": 0.5})
    places = {split: load_scans(config, split, 16.0)[0].xyz for split in ("train", "val", "test")}
    assert len({cloud.tobytes() for cloud in places.values()}) == 3
    with pytest.raises(UnknownNameError):
        load_scans(config, "tset", 16.0)
    with pytest.raises(UsageError, match="folder of your copy"):
        load_scans(tiny(data={"dataset": "kitti"}), "train", 16.0)
    with pytest.raises(ConfigError, match="street"):
        load_scans(tiny(data={"options": {"steets": 1}}), "train", 16.0)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_training_and_measuring(task, tmp_path):
    config = tiny(task, train={"epochs": 6}, optim={"lr": 1e-2})
    done = train(config, output=tmp_path / "run")
    measured = pcinv.evaluate(done.path)
    turned = pcinv.evaluate(done.path, rotation="z", limit=2)
    assert measured.num_samples == 4 and turned.num_samples == 2
    if task == "segmentation":
        assert measured.metrics["oa"] > 0.15 and len(measured.confusion) == 20
        assert set(measured.metrics) == {"miou", "miou_present", "oa", "loss"}
    else:
        assert set(measured.metrics) == {"map", "nds_no_attributes", "ap_3d", "ap_bev",
                                         "ap_3d_moderate", "loss"}
    with pytest.raises(UsageError, match="so3"):
        pcinv.evaluate(done.path, rotation="so3")


def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path):
    config = tiny("detection", data={"label_fraction": 0.5})
    whole = train(config, output=tmp_path / "whole").path

    def stop(tick):
        if tick.step == 1:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(config, output=tmp_path / "cut", callback=stop)
    train(resume=tmp_path / "cut")
    assert load_weights(tmp_path / "cut", "last").meta.digest == load_weights(
        whole, "last").meta.digest


def test_a_probe_leaves_the_backbone_as_it_was(tmp_path):
    config = tiny("segmentation")
    overrides = {**config.model.overrides, "probe": True}
    run = train(tiny("segmentation", model={"overrides": overrides}), output=tmp_path / "p").path
    again = train(tiny("segmentation", model={"overrides": overrides}, optim={"lr": 5e-2}),
                  output=tmp_path / "q").path
    a, b = load_weights(run, "last").tensors, load_weights(again, "last").tensors
    assert all(torch.equal(a[k], b[k]) for k in a if k.startswith("backbone."))
    assert not all(torch.equal(a[k], b[k]) for k in a if k.startswith("head."))
