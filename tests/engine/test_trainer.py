"""The training loop on the tiny network: what a run leaves behind, and what stops it."""

import itertools
import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from helpers.tiny import TinyData, TinyNetwork
from safetensors.torch import load_file

from pcinv.engine import datasets, files, trainer
from pcinv.engine.checkpoint import list_checkpoints, load_state
from pcinv.engine.config import load_config
from pcinv.engine.optim import learning_rate
from pcinv.engine.tracking import read_lines
from pcinv.engine.trainer import train
from pcinv.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    Interrupted,
    LimitError,
    NonFiniteError,
    UsageError,
)
from pcinv.types import Sample


def test_training_gives_a_run_folder_with_everything(tiny, make_config, tmp_path):
    config = make_config(train={"epochs": 12}, seed=3)
    run = train(config, output=tmp_path / "run")
    assert sorted(entry.name for entry in run.path.iterdir()) == [
        "best", "checkpoints", "config.toml", "env.json", "last", "log.txt", "metrics.jsonl"]
    lines = read_lines(run.path / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert [line["step"] for line in lines] == [4 * epoch for epoch in range(1, 13)]
    assert {"lr", "loss", "oa", "macc", "val_loss", "val_oa", "val_macc", "time_s",
            "clouds_per_s"} <= lines[0].keys()
    assert lines[-1]["val_oa"] > 0.9 > lines[0]["val_oa"]
    assert load_config(run.path / "config.toml")[0] == config
    environment = json.loads((run.path / "env.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__ and environment["seed"] == 3
    assert "epoch 12 of 12" in (run.path / "log.txt").read_text()
    assert run.metrics["oa"] == max(line["val_oa"] for line in lines)
    assert run.last_metrics["oa"] == lines[-1]["val_oa"]
    assert (run.rotation, run.dataset, run.num_samples) == ("so3", "shapes", 20)


def test_the_same_seed_gives_the_same_run_and_another_one_another(tiny, make_config, tmp_path):
    def weights(name, **changes):
        run = train(make_config(train={"epochs": 2}, **changes), output=tmp_path / name)
        return load_file(run.path / "checkpoints/step-0000008/model.safetensors")

    first, again, other = weights("a", seed=1), weights("b", seed=1), weights("c", seed=2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["first.weight"], other["first.weight"])


def test_progress_counts_steps_and_reports_each_epoch(tiny, make_config, tmp_path):
    ticks = []
    train(make_config(train={"epochs": 2}), output=tmp_path / "run", callback=ticks.append)
    assert [tick.step for tick in ticks if tick.metrics is None] == list(range(1, 9))
    assert [tick.metrics["epoch"] for tick in ticks if tick.metrics] == [1, 2]
    assert all(tick.total == 8 and tick.epochs == 2 for tick in ticks)
    assert ticks[0].epoch == 1 and ticks[-1].epoch == 2
    assert ticks[-1].eta_s == 0 < ticks[0].eta_s


def test_best_and_the_newest_checkpoints_are_kept(tiny, make_config, tmp_path):
    run = train(make_config(train={"epochs": 9, "keep_checkpoints": 2}), output=tmp_path / "run")
    kept = [path.name for path in list_checkpoints(run.path)]
    best, last = ((run.path / name).read_text().strip() for name in ("best", "last"))
    assert kept[-2:] == ["step-0000032", "step-0000036"] and last == "step-0000036"
    assert set(kept) == {best, *kept[-2:]}
    lines = read_lines(run.path / "metrics.jsonl")
    reached = max((line["val_oa"], -line["val_loss"], line["step"]) for line in lines)
    assert best == f"step-{reached[2]:07d}"


def test_without_validation_the_last_epoch_is_the_best(tiny, make_config, tmp_path):
    run = train(make_config(data={"val_fraction": 0.0}), output=tmp_path / "run")
    assert (run.path / "best").read_text() == (run.path / "last").read_text()
    assert "val_oa" not in read_lines(run.path / "metrics.jsonl")[0]
    assert run.metrics == run.last_metrics


@pytest.mark.parametrize("options", [{"normals": "data"}, {"normals": "estimate"}, {"num": 1}])
def test_parts_are_trained_with_any_normals(tiny, make_config, tmp_path, options):
    normals = options.get("normals", "auto")
    config = make_config(model={"task": "part_segmentation"}, train={"epochs": 3},
                         data={"normals": normals, "options": {"normals": normals == "data"}})
    run = train(config, output=tmp_path / "run")
    assert {"instance_miou", "class_miou", "oa", "loss"} == run.metrics.keys()
    assert run.metrics["instance_miou"] > 0.3


@pytest.mark.parametrize(("optimiser", "precision"), [("sgd", "no"), ("adam", "bf16")])
def test_other_optimisers_and_precisions_train(tiny, make_config, tmp_path, optimiser, precision):
    config = make_config(optim={"name": optimiser, "grad_clip": 0.0},
                         train={"epochs": 6, "mixed_precision": precision})
    lines = train(config, output=tmp_path / "run").path / "metrics.jsonl"
    losses = [line["loss"] for line in read_lines(lines)]
    assert losses[-1] < losses[0]


def test_augmentations_reach_the_network(tiny, make_config, tmp_path):
    augment = {"scale": [0.9, 1.1], "shift": 0.2, "jitter": 0.01, "dropout": 0.5}
    run = train(make_config(augment=augment, train={"epochs": 2}), output=tmp_path / "run")
    plain = train(make_config(train={"epochs": 2}), output=tmp_path / "plain")
    assert run.last_metrics["loss"] != plain.last_metrics["loss"]


def test_an_output_in_use_is_refused_unless_forced(tiny, make_config, tmp_path):
    config = make_config(train={"epochs": 1})
    train(make_config(train={"epochs": 3}), output=tmp_path / "run")
    with pytest.raises(UsageError, match="not empty") as caught:
        train(config, output=tmp_path / "run")
    assert caught.value.exit_code == 2
    run = train(config, output=tmp_path / "run", force=True)
    assert len(read_lines(run.path / "metrics.jsonl")) == 1
    assert [path.name for path in list_checkpoints(run.path)] == ["step-0000004"]


def test_force_leaves_files_of_others_alone(tiny, make_config, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/theirs").write_text("theirs")
    train(make_config(train={"epochs": 1}), output=tmp_path, force=True)
    assert (tmp_path / "checkpoints/theirs").read_text() == "theirs"


def test_runs_without_an_output_are_numbered(tiny, make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [train(make_config(train={"epochs": 1})).path.name for _ in range(2)]
    assert names[0].endswith("-risurconv-shapes-1") and names[1].endswith("-risurconv-shapes-2")


def test_a_loss_that_is_not_finite_saves_the_batch_and_stops(
    tiny, make_config, tmp_path, monkeypatch
):
    plain = TinyNetwork.forward
    calls = []

    def forward(self, xyz, normal=None, category=None):
        calls.append(xyz)
        return plain(self, xyz, normal) * (math.nan if len(calls) == 3 else 1.0)

    monkeypatch.setattr(TinyNetwork, "forward", forward)
    with pytest.raises(NonFiniteError, match="loss is not finite in epoch 1, step 2") as caught:
        train(make_config(), output=tmp_path / "run")
    assert caught.value.exit_code == 6
    saved = load_file(tmp_path / "run/nonfinite-step0000002.safetensors")
    assert torch.equal(saved["xyz"], calls[2])
    report = json.loads((tmp_path / "run/nonfinite-step0000002.json").read_text())
    assert report["clouds"] == saved["index"].tolist()
    assert "last.weight" in report["gradients_not_finite"] and not report["weights_not_finite"]


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    tiny, make_config, tmp_path, monkeypatch
):
    plain, networks = TinyNetwork.forward, []

    def forward(self, xyz, normal=None, category=None):
        networks.append(self)
        logits = plain(self, xyz, normal)
        logits.register_hook(lambda gradient: gradient * math.inf)
        return logits

    monkeypatch.setattr(TinyNetwork, "forward", forward)
    with pytest.raises(NonFiniteError, match="gradient is not finite"):
        train(make_config(), output=tmp_path / "run")
    assert all(torch.isfinite(p).all() for p in networks[0].parameters())


def test_an_output_that_is_not_finite_in_validation_stops(
    tiny, make_config, tmp_path, monkeypatch
):
    plain = TinyNetwork.forward

    def forward(self, xyz, normal=None, category=None):
        return plain(self, xyz, normal) * (1.0 if self.training else math.inf)

    monkeypatch.setattr(TinyNetwork, "forward", forward)
    with pytest.raises(NonFiniteError, match="output is not finite"):
        train(make_config(), output=tmp_path / "run")


@pytest.mark.parametrize("moment", ["write_synced", "sync_folder"])
def test_a_full_disk_leaves_the_last_checkpoint_whole(
    tiny, make_config, tmp_path, monkeypatch, moment
):
    from pcinv.engine import checkpoint

    def no_space(*_):
        raise OSError(28, os.strerror(28))

    def fill(tick):
        if tick.metrics and tick.metrics["epoch"] == 2:
            monkeypatch.setattr(checkpoint, moment, no_space)

    with pytest.raises(LimitError, match="No space left") as caught:
        train(make_config(), output=tmp_path / "run", callback=fill)
    assert caught.value.exit_code == 7
    whole = list_checkpoints(tmp_path / "run")
    assert load_state(whole[-1])[2].step in (8, 12)
    if moment == "write_synced":
        assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == [
            "step-0000004", "step-0000008"]
    monkeypatch.undo()


def test_a_full_disk_for_pointers_and_metrics_is_a_limit_too(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(LimitError):
        files.write_atomic(tmp_path / "best", b"step")
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_stops_at_once(tiny, make_config, tmp_path):
    def twice(tick):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may have it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            train(make_config(), output=tmp_path / "run", callback=twice)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_saves_like_sigint(tiny, make_config, tmp_path):
    def stop(tick):
        if tick.step == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as caught:
        train(make_config(), output=tmp_path / "run", callback=stop)
    assert caught.value.exit_code == 130 and "--resume" in caught.value.hint
    assert [p.name for p in list_checkpoints(tmp_path / "run")] == ["step-0000003-partial"]


class Damaged(TinyData):
    def __getitem__(self, index):
        if index == 7:
            raise DatasetError("cloud 7 is damaged", where="cloud7.off", hint="copy it again")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_the_data_arrives_whole_from_a_worker(
    tiny, make_config, tmp_path, monkeypatch, workers
):
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **_: Damaged())
    with pytest.raises(DatasetError) as caught:
        train(make_config(train={"workers": workers}, data={"normals": "none"}),
              output=tmp_path / "run")
    assert caught.value.message == "cloud 7 is damaged" and caught.value.where == "cloud7.off"


class Unequal(TinyData):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample(sample.xyz[: 20 + index % 2], sample.label, sample.name)


@pytest.mark.parametrize(("change", "error", "words"), [
    ({"data": {"num_points": 3}}, ConfigError, "3 points"),
    ({"data": {"normals": "data"}}, ConfigError, "no normals"),
    ({"data": {"limit": 1}}, DatasetError, "too few"),
    ({"train": {"device": "cuda:99"}}, Exception, "cuda:99"),
    ({"train": {"mixed_precision": "fp16"}}, ConfigError, "fp16"),
    ({"data": {"protocol": "z/x"}}, Exception, "unknown protocol"),
])
def test_what_cannot_be_trained_is_a_typed_error(
    tiny, make_config, tmp_path, change, error, words
):
    with pytest.raises(error, match=words) as caught:
        train(make_config(**change), output=tmp_path / "run")
    assert caught.value.exit_code in (2, 3, 4) and caught.value.hint


def test_clouds_of_different_sizes_are_told(tiny, make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **_: Unequal())
    with pytest.raises(DatasetError, match="20 to 21 points"):
        train(make_config(), output=tmp_path / "run")


def test_a_class_out_of_range_is_told(tiny, make_config, tmp_path, monkeypatch):
    data = TinyData()
    data.labels = np.full(20, -1)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **_: data)
    with pytest.raises(DatasetError, match="-1"):
        train(make_config(), output=tmp_path / "run")


def test_neither_configuration_nor_run_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError):
        train()
    with pytest.raises(CheckpointError, match="not a run folder"):
        train(resume=tmp_path)


def test_learning_rates_follow_their_schedules(make_config):
    optim = make_config(optim={"lr": 1.0, "warmup_epochs": 2}).optim
    rates = [learning_rate(optim, step, 10, 10) for step in range(100)]
    assert rates[0] == 0.05 and rates[19] == 1.0 and 0.01 < rates[99] < 0.012
    assert all(a > b for a, b in itertools.pairwise(rates[20:]))
    step = make_config(optim={"lr": 1.0, "schedule": "step", "warmup_epochs": 0,
                              "decay": 0.5, "decay_epochs": 3}).optim
    assert [learning_rate(step, 10 * epoch, 10, 10) for epoch in (0, 2, 3, 6)] == [1, 1, 0.5, 0.25]
    flat = make_config(optim={"lr": 1.0, "schedule": "constant", "warmup_epochs": 0}).optim
    assert learning_rate(flat, 99, 10, 10) == 1.0


def test_the_trainer_runs_outside_the_main_thread(tiny, make_config, tmp_path):
    import threading

    results = []
    thread = threading.Thread(target=lambda: results.append(
        trainer.train(make_config(train={"epochs": 1}), output=tmp_path / "run")))
    thread.start()
    thread.join()
    assert results[0].path == tmp_path / "run"
