"""Runs with another head: trained, kept, resumed, measured, checked."""

import json
import signal

import numpy as np
import pytest
import torch
from helpers.clouds import haar
from helpers.tiny import TinyData
from helpers.tiny_encoder import create_encoder

from pcinv.engine import loading
from pcinv.engine.anchors import stratified
from pcinv.engine.check import check
from pcinv.engine.checkpoint import find_checkpoint, load_state
from pcinv.engine.config import Config, from_tree, load_config
from pcinv.engine.evaluator import evaluate
from pcinv.engine.loading import load_model
from pcinv.engine.predict import predict
from pcinv.engine.trainer import train
from pcinv.errors import CheckpointError, ConfigError, Interrupted

OPTIONS = {"matryoshka": {"nesting": [4, 16]}, "relative": {"anchors": 9, "share": 3}}


@pytest.fixture
def encoder(tiny, monkeypatch):
    """Let the engine build the tiny encoder on the tiny data."""
    monkeypatch.setattr(loading, "create_model", create_encoder)


@pytest.fixture
def config_of(make_config):
    def make(head, epochs=4, **options):
        return make_config(model={"head": head, "head_options": {**OPTIONS[head], **options}},
                           train={"epochs": epochs})

    return make


@pytest.mark.parametrize("head", OPTIONS)
def test_a_run_keeps_its_head_and_needs_no_data_to_be_loaded(head, encoder, config_of, tmp_path):
    run = train(config_of(head), output=tmp_path / "run")
    loaded = load_model(run.weights)
    assert loaded.meta.config.model.head == head
    assert type(loaded.model.head).__name__.lower().startswith(head)
    cloud = np.random.default_rng(0).normal(size=(50, 3))
    moved = cloud @ haar(np.random.default_rng(1)).T * 7 + 100
    one, two = predict(run.path, [cloud, moved], device="cpu")
    assert one.label == two.label and one.confidence == pytest.approx(two.confidence, abs=1e-4)
    assert 0 < sum(item["confidence"] for item in one.top) <= 1 + 1e-6


def test_each_prefix_is_measured(encoder, config_of, tmp_path):
    run = train(config_of("matryoshka"), output=tmp_path / "run")
    found = evaluate(run.path, device="cpu", rotation="so3")
    assert set(found.metrics) == {"oa", "macc", "loss", "oa_4"}
    assert sum(map(sum, found.confusion)) == found.num_samples == 9
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert all({"oa_4", "val_oa_4"} <= set(line) for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_report_gets_the_logits_of_the_whole_vector(encoder, config_of, tmp_path):
    from pcinv.engine.evaluator import evaluate_prepared, prepare

    run = train(config_of("matryoshka", epochs=1), output=tmp_path / "run")
    shapes = []
    evaluate_prepared(prepare(run.path, device="cpu"),
                      watch=lambda batch, logits: shapes.append(tuple(logits.shape)))
    assert shapes == [(9, 3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("head", OPTIONS)
def test_check_proves_the_invariance_of_a_run(head, dtype, encoder, config_of, tmp_path):
    run = train(config_of(head, epochs=2), output=tmp_path / "run")
    report = check(run.path, rotations=20, device="cpu", dtype=dtype)
    assert report.passed and report.backbone == "risurconv", report


@pytest.mark.parametrize("at_epoch_end", [False, True])
@pytest.mark.parametrize("head", OPTIONS)
def test_a_resumed_run_is_bit_for_bit_the_one_that_was_not_stopped(
        head, at_epoch_end, encoder, config_of, tmp_path):
    def stop(tick):
        if tick.step == (8 if at_epoch_end else 6) and (tick.metrics is not None) == at_epoch_end:
            signal.raise_signal(signal.SIGINT)

    straight = train(config_of(head), output=tmp_path / "straight").path
    with pytest.raises(Interrupted):
        train(config_of(head), output=tmp_path / "run", callback=stop)
    train(resume=tmp_path / "run")
    one, two = (load_state(find_checkpoint(path, "last")) for path in (straight, tmp_path / "run"))
    for mine, other in zip(({**one[0].tensors, **one[1]}, one[2].optimizer),
                           ({**two[0].tensors, **two[1]}, two[2].optimizer), strict=True):
        if isinstance(mine, dict):
            assert mine.keys() == other.keys()
            assert all(torch.equal(mine[name], other[name]) for name in mine)
        else:
            assert mine == other


def test_weights_of_one_head_do_not_pass_for_those_of_another(encoder, config_of, tmp_path):
    train(config_of("matryoshka", epochs=1), output=tmp_path / "run")
    with pytest.raises(CheckpointError, match="configurations differ"):
        train(config_of("relative"), resume=tmp_path / "run")


class TestAnchors:
    def test_as_many_of_each_class_as_can_be(self):
        labels = [0] * 10 + [1] * 4 + [2] * 2
        rows = stratified(labels, 9, seed=0)
        assert rows == sorted(set(rows))
        assert np.bincount([labels[row] for row in rows]).tolist() == [4, 3, 2]
        assert rows == stratified(labels, 9, seed=0) != stratified(labels, 9, seed=1)
        assert stratified(labels, 16, seed=0) == list(range(16))

    def test_they_are_training_clouds_as_they_are_stored(self, encoder, config_of, tmp_path):
        run = train(config_of("relative", epochs=1), output=tmp_path / "run")
        head = load_model(run.path).model.head
        source = TinyData(20, 32)
        rows = stratified(source.labels.tolist(), 9, 0)
        for mine, row in zip(head.anchors, rows, strict=True):
            np.testing.assert_array_equal(mine.numpy(), source[row].xyz)
        assert bool(head.anchor_normal.any()) and bool(head.is_current)

    def test_trainings_of_other_seeds_have_the_same_ones(self, encoder, make_config, tmp_path):
        heads = []
        for seed in (0, 1):
            config = make_config(model={"head": "relative", "head_options": OPTIONS["relative"]},
                                 train={"epochs": 1}, seed=seed)
            run = train(config, output=tmp_path / str(seed))
            heads.append(load_model(run.path).model.head)
        assert torch.equal(heads[0].anchors, heads[1].anchors)
        assert not torch.equal(heads[0].encoded, heads[1].encoded)

    def test_too_few_clouds_are_told_with_what_would_do(self, encoder, config_of, tmp_path):
        with pytest.raises(ConfigError, match="21 anchors, the training set has 20") as caught:
            train(config_of("relative", anchors=21), output=tmp_path / "run")
        assert caught.value.hint == "--set model.head_options.anchors=20"


class TestConfiguration:
    def test_a_flag_and_a_setting(self):
        config, sources = load_config(overrides=["model.head_options.anchors=64"],
                                      flags={"model.head": "relative"})
        assert config.model.head == "relative" and config.model.head_options == {"anchors": 64}
        assert sources["model.head"] == "flag" and Config().model.head == "linear"

    def test_an_unknown_head_is_told(self):
        with pytest.raises(ConfigError, match=r"model\.head is 'nested'"):
            from_tree({"model": {"head": "nested"}})

    @pytest.mark.parametrize("model, message", [
        ({"head_options": {"anchors": 5}}, "the head linear takes no options"),
        ({"head": "relative", "head_options": {"anchor": 5}}, "no hyper-parameter 'anchor'"),
        ({"head": "matryoshka", "head_options": {"nesting": [4, 8]}}, "the vector has 16")])
    def test_options_that_do_not_fit_are_told(self, encoder, make_config, tmp_path, model, message):
        with pytest.raises(ConfigError, match=message) as caught:
            train(make_config(model=model), output=tmp_path / "run")
        assert caught.value.where.startswith("model.head_options")
        assert not (tmp_path / "run" / "checkpoints").exists() or not list(
            (tmp_path / "run" / "checkpoints").iterdir())
