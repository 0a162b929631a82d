"""A run that was stopped and resumed is bit for bit the run that was not."""

import signal

import pytest
import torch
from helpers.tiny import TinyData, create_tiny

from pcinv.engine import datasets, loading
from pcinv.engine.checkpoint import find_checkpoint, load_state
from pcinv.engine.config import dump_config
from pcinv.engine.tracking import read_lines
from pcinv.engine.trainer import train
from pcinv.errors import CheckpointError, Interrupted, UsageError

EPOCHS = 10


def stop_at(step, at_epoch_end):
    """Return a callback that asks to stop when a step, or the epoch that it ends, is done."""

    def callback(tick):
        if tick.step == step and (tick.metrics is not None) == at_epoch_end:
            signal.raise_signal(signal.SIGINT)

    return callback


def everything(run):
    """Return all tensors, the optimiser's groups and the metrics of a run at its end."""
    weights, state, progress = load_state(find_checkpoint(run, "last"))
    clock = ("time_s", "clouds_per_s")
    lines = [{k: v for k, v in line.items() if k not in clock}
             for line in read_lines(run / "metrics.jsonl")]
    best = load_state(find_checkpoint(run, "best"))[0]
    return {**weights.tensors, **state}, progress.optimizer, lines, best.meta.step


@pytest.fixture(scope="module")
def uninterrupted():
    """Results of runs that were not stopped, by their configuration."""
    return {}


@pytest.fixture
def straight(tiny, make_config, tmp_path, uninterrupted):
    """Return a function that gives a configuration and what a run without a stop makes of it."""

    def run(workers=0, **sections):
        config = make_config(train={"epochs": EPOCHS, "workers": workers}, **sections)
        if str(sections) not in uninterrupted:  # the workers do not matter, as a test shows
            alone = make_config(train={"epochs": EPOCHS}, **sections)
            path = train(alone, output=tmp_path / "straight").path
            uninterrupted[str(sections)] = everything(path)
        return config, uninterrupted[str(sections)]

    return run


def assert_same(resumed, straight):
    assert resumed[0].keys() == straight[0].keys()
    for name, value in straight[0].items():
        assert torch.equal(resumed[0][name], value), name
    assert resumed[1:] == straight[1:]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("step", "at_epoch_end"), [(20, True), (13, False), (19, False)])
def test_ten_epochs_equal_an_interrupted_run(
    straight, tmp_path, workers, step, at_epoch_end
):
    config, whole = straight(workers)
    run = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        train(config, output=run, callback=stop_at(step, at_epoch_end))
    assert len(read_lines(run / "metrics.jsonl")) < EPOCHS
    train(resume=run)
    assert_same(everything(run), whole)


def test_the_number_of_workers_does_not_matter(straight, make_config, tmp_path):
    _, whole = straight(0)
    config = make_config(train={"epochs": EPOCHS, "workers": 2})
    assert_same(everything(train(config, output=tmp_path / "other").path), whole)


def test_an_interruption_during_validation_is_exact_too(straight, tmp_path, monkeypatch):
    from pcinv.engine import trainer

    config, whole = straight()
    plain, calls = trainer.measure, []

    def measure(*arguments, **options):
        calls.append(None)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return plain(*arguments, **options)

    monkeypatch.setattr(trainer, "measure", measure)
    with pytest.raises(Interrupted):
        train(config, output=tmp_path / "stopped")
    assert find_checkpoint(tmp_path / "stopped").name == "step-0000012-partial"
    train(resume=tmp_path / "stopped")
    assert_same(everything(tmp_path / "stopped"), whole)


def test_stopping_again_and_again_is_exact(straight, tmp_path):
    config, whole = straight()
    run = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        train(config, output=run, callback=stop_at(3, False))
    for step in (5, 7, 9, 17, 19):
        with pytest.raises(Interrupted):
            train(resume=run, callback=stop_at(step, False))
    train(resume=run)
    assert_same(everything(run), whole)


def test_sgd_and_parts_resume_exactly(straight, tmp_path):
    config, whole = straight(optim={"name": "sgd"}, model={"task": "part_segmentation"})
    run = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        train(config, output=run, callback=stop_at(10, False))
    train(resume=run)
    assert_same(everything(run), whole)


def test_a_killed_run_loses_only_what_came_after_its_checkpoint(straight, tmp_path):
    config, whole = straight()
    run = tmp_path / "stopped"

    def die(tick):
        if tick.step == 18:
            raise SystemExit  # no handler of the trainer sees this as a request to save

    with pytest.raises(SystemExit):
        train(config, output=run, callback=die)
    with (run / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"epoch": 5, "st')  # a line that was cut off
    train(resume=run)
    assert_same(everything(run), whole)


def test_a_run_without_a_checkpoint_starts_anew(straight, tmp_path):
    config, whole = straight()
    run = tmp_path / "stopped"

    def die(tick):
        raise SystemExit

    with pytest.raises(SystemExit):
        train(config, output=run, callback=die)
    train(resume=run)
    assert_same(everything(run), whole)


def test_a_finished_run_resumes_to_itself_and_may_be_prolonged(tiny, make_config, tmp_path):
    flat = {"schedule": "constant"}
    short = train(make_config(train={"epochs": 3}, optim=flat), output=tmp_path / "a")
    before = everything(short.path)
    assert_same(everything(train(resume=short.path).path), before)
    longer = make_config(train={"epochs": 6, "workers": 1}, optim=flat)
    train(longer, resume=short.path)
    assert (short.path / "config.toml").read_text() == dump_config(longer)
    straight = train(make_config(train={"epochs": 6}, optim=flat), output=tmp_path / "b")
    assert_same(everything(short.path), everything(straight.path))


def test_another_configuration_is_refused_with_the_differing_keys(tiny, make_config, tmp_path):
    run = train(make_config(), output=tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"optim.lr: 0.02 here, 0.5 there") as caught:
        train(make_config(optim={"lr": 0.5}), resume=run.path)
    assert caught.value.exit_code == 5
    with pytest.raises(CheckpointError, match=r"model.backbone: 'risurconv' here, 'riconvpp'"):
        train(make_config(model={"backbone": "riconvpp"}), resume=run.path)
    with pytest.raises(UsageError, match="exclude"):
        train(make_config(), resume=run.path, output=tmp_path / "other")


def test_other_classes_or_another_network_are_refused(tiny, make_config, tmp_path, monkeypatch):
    run = train(make_config(train={"epochs": 1}), output=tmp_path / "run")
    longer = make_config(train={"epochs": 2})
    names = ("ball", "disc", "cone")
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **_: TinyData(class_names=names))
    with pytest.raises(CheckpointError, match=r"known to the network only \(rod\).*\(cone\)"):
        train(longer, resume=run.path)
    monkeypatch.undo()
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **_: TinyData())
    monkeypatch.setattr(loading, "create_model", lambda *a, **k: create_tiny(*a, **k, width=8))
    with pytest.raises(CheckpointError, match="width: 16 here, 8 there"):
        train(longer, resume=run.path)
