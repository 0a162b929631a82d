"""Checkpoints: whole or not there, checked when they are read, never unpickled."""

import ast
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import safetensors.torch
import torch
from helpers.tiny import create_tiny

import pcinv.engine
from pcinv.engine import checkpoint, files, loading
from pcinv.engine.checkpoint import (
    SCHEMA_VERSION,
    ModelMeta,
    Progress,
    find_checkpoint,
    list_checkpoints,
    load_state,
    load_weights,
    point_to,
    prune,
    save_checkpoint,
)
from pcinv.engine.config import Config
from pcinv.engine.loading import hyper_of, load_model
from pcinv.errors import CheckpointError
from pcinv.tasks import Labels

LABELS = Labels(("ball", "disc", "rod"))


def save(run, step, batch=0, value=None, network=None):
    """Write a checkpoint of the tiny network whose weights all hold `value`."""
    network = network or create_tiny("tiny", num_classes=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(step if value is None else value)
    meta = ModelMeta(schema_version=SCHEMA_VERSION, config=Config(), hyper=hyper_of(network),
                     labels=LABELS, normals="none", num_categories=0, step=step, epoch=step,
                     metrics={"oa": 0.5}, versions={})
    progress = Progress(step=step, epoch=step, batch=batch, processes=1, optimizer=[{"lr": 0.1}],
                        scaler=None, metrics_bytes=0)
    state = {"optimizer.0.step": torch.tensor(float(step))}
    return save_checkpoint(run, network.state_dict(), state, meta, progress)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "create_model", create_tiny)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


def test_what_is_saved_is_loaded(run):
    folder = save(run, 1200)
    assert folder.name == "step-0001200"
    assert sorted(p.name for p in folder.iterdir()) == [
        "meta.json", "model.safetensors", "state.safetensors"]
    weights, state, progress = load_state(folder)
    assert torch.equal(weights.tensors["last.bias"], torch.full((3,), 1200.0))
    assert state["optimizer.0.step"] == 1200 and progress.step == 1200
    assert progress.optimizer == [{"lr": 0.1}] and weights.meta.labels == LABELS


def test_files_are_synced_before_the_folder_gets_its_name(run, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        plain = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, plain=plain: (
            calls.append(name), plain(*a))[1])
    save(run, 1)
    assert calls == ["fsync"] * 4 + ["replace", "fsync"]
    point_to(run, "last", run / "checkpoints/step-0000001")
    assert calls[6:] == ["fsync", "replace", "fsync"]


def test_a_run_a_checkpoint_and_a_weights_file_load_alike(run, tmp_path):
    first, second = save(run, 1), save(run, 2)
    point_to(run, "best", first)
    alone = shutil.copy(second / "model.safetensors", tmp_path / "mine.safetensors")
    loaded = {which: load_model(run, which=which) for which in ("best", "last")}
    assert loaded["best"].meta.step == 1 and loaded["last"].meta.step == 2
    assert load_model(first).meta.step == 1 and load_model(alone).meta.step == 2
    assert not loaded["best"].model.training
    assert loaded["best"].meta.labels.class_names == LABELS.class_names


def test_the_newest_is_chosen_by_the_number_in_its_meta_data(run):
    for step in (9_999_999, 10_000_000, 5):
        save(run, step)
    os.rename(run / "checkpoints/step-0000005", run / "checkpoints/step-0000006-partial")
    assert [load_state(p)[2].step for p in list_checkpoints(run)] == [5, 9_999_999, 10_000_000]
    assert find_checkpoint(run).name == "step-10000000"


def test_a_finished_epoch_is_newer_than_the_same_steps_without_validation(run):
    save(run, 4)
    save(run, 4, batch=2)
    assert find_checkpoint(run).name == "step-0000004"


def test_saving_again_at_the_same_step_overwrites_nothing(run):
    for value in range(12):
        save(run, 4, batch=2, value=value)
        assert load_weights(find_checkpoint(run)).tensors["last.bias"][0] == value
    save(run, 5)
    prune(run, 1)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-0000005"]


def test_pruning_keeps_the_best_and_the_newest(run):
    for step in range(1, 7):
        folder = save(run, step)
        if step == 2:
            point_to(run, "best", folder)
    prune(run, 2)
    assert [load_state(p)[2].step for p in list_checkpoints(run)] == [2, 5, 6]


def test_pointers_that_name_nothing_are_errors(run):
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        find_checkpoint(run)
    folder = save(run, 1)
    assert find_checkpoint(run, "best") == folder
    (run / "best").write_text("step-0000009\n")
    with pytest.raises(CheckpointError, match="step-0000009, which is not there"):
        find_checkpoint(run, "best")
    (run / "best").write_text("../../elsewhere")
    with pytest.raises(CheckpointError, match="does not name a checkpoint"):
        find_checkpoint(run, "best")


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "meta.json"])
@pytest.mark.parametrize("place", [0, 9, 60, -1])
def test_a_changed_byte_is_found(run, name, place):
    folder = save(run, 1)
    path = folder / name
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        load_state(folder)
    assert caught.value.exit_code == 5 and str(folder) in caught.value.where


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "meta.json"])
def test_a_truncated_or_missing_file_is_found(run, name):
    folder = save(run, 1)
    data = (folder / name).read_bytes()
    for length in (0, 4, 8, len(data) // 2, len(data) - 1):
        (folder / name).write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            load_state(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError):
        load_state(folder)


def test_every_changed_byte_of_a_lone_weights_file_is_found(run):
    path = save(run, 1) / "model.safetensors"
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        data = bytearray(whole)
        data[place] ^= 0x55
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            loaded = load_weights(path)
            # a changed description is no damage to the weights, but may not pass as the same
            if loaded.meta != load_weights_of(whole, path):
                raise CheckpointError("another description")


def load_weights_of(whole, path):
    other = path.with_name("whole.safetensors")
    other.write_bytes(whole)
    return load_weights(other).meta


def test_a_description_of_another_version_or_shape_is_told(run):
    folder = save(run, 1)
    meta = json.loads((folder / "meta.json").read_text())
    for change, words in (({"schema_version": 99}, "schema version 99"),
                          ({"extra": 1}, "extra"), ({"progress": None}, "progress"),
                          ({"sha256": {}}, None)):
        (folder / "meta.json").write_text(json.dumps({**meta, **change}))
        if words is None:
            load_state(folder)  # the digest inside the weights still holds
        else:
            with pytest.raises(CheckpointError, match=words):
                load_state(folder)
    (folder / "meta.json").write_text("[]")
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(folder)


def test_weights_of_another_network_list_what_differs(run, monkeypatch):
    save(run, 1, network=create_tiny("tiny", num_classes=3, width=4))
    with pytest.raises(CheckpointError, match="width: 4 here, 16 there"):
        load_model(run)
    monkeypatch.setattr(loading, "create_model", lambda *a, **k: create_tiny(*a, **k, width=4))
    load_model(run)
    weights = load_weights(run)
    other = create_tiny("tiny", num_classes=5, width=4)
    with pytest.raises(CheckpointError, match=r"last.bias is \(3,\), not \(5,\)"):
        loading.put_weights(other, weights)
    del weights.tensors["last.bias"]
    with pytest.raises(CheckpointError, match=r"last.bias is missing"):
        loading.put_weights(other, weights)


def test_weights_that_are_not_finite_are_refused(run):
    save(run, 1, value=float("nan"))
    with pytest.raises(CheckpointError, match="is not finite"):
        load_model(run)


@pytest.mark.parametrize("make", [
    lambda path: path.mkdir(),
    lambda path: path.write_bytes(b"\x80\x04\x95pickle"),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"\xff" * 16),
    lambda path: safetensors.torch.save_file({"a": torch.ones(1)}, path),
    lambda path: None,
])
def test_other_peoples_files_are_refused(tmp_path, make):
    make(tmp_path / "theirs")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "theirs")
    assert caught.value.exit_code == 5 and caught.value.hint


def test_nothing_in_the_engine_unpickles():
    folder = Path(pcinv.engine.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", ())
                     if isinstance(node, ast.Import | ast.ImportFrom)]
            assert not {"pickle", "cloudpickle", "dill", "joblib"} & set(names), path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                assert called not in ("torch.load", "torch.save"), path


def die_at(moment):
    """Kill this process before its n-th step on the disk; a file is left half written."""
    count = 0

    def counted(function, half=False):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == moment:
                if half:
                    arguments[0].write_bytes(arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    checkpoint.write_synced = counted(files.write_synced, half=True)
    checkpoint.sync_folder = counted(files.sync_folder)
    files.write_synced = counted(files.write_synced, half=True)
    files.sync_folder = counted(files.sync_folder)
    os.replace = counted(os.replace)
    os.mkdir = counted(os.mkdir)
    shutil.rmtree = counted(shutil.rmtree)


def test_a_process_killed_while_it_saves_leaves_whole_checkpoints(run):
    """Kill at every step on the disk in turn: the newest checkpoint is whole, old or new."""
    for step in (1, 2, 3):
        save(run, step)
    save(run, 4, batch=1)
    point_to(run, "best", run / "checkpoints/step-0000001")
    template, seen = run / "template", set()
    shutil.copytree(run, template, copy_function=os.link)
    for moment in range(1, 60):
        there = shutil.copytree(template, run / f"run{moment}")
        child = os.fork()
        if child == 0:
            die_at(moment)
            save(there, 4, batch=1)  # a stop without progress
            folder = save(there, 5)
            point_to(there, "last", folder)
            point_to(there, "best", folder)
            prune(there, 2)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        for path in list_checkpoints(there):
            weights, state, progress = load_state(path)
            assert weights.tensors["last.bias"][0] == progress.step == state["optimizer.0.step"]
        newest = load_state(find_checkpoint(there))[2].step
        best = load_model(there, which="best").meta.step
        assert newest in (4, 5) and best in (1, 5)
        seen.add((newest, best))
        if os.WIFEXITED(status):
            assert newest == best == 5 and moment > 15
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    else:
        pytest.fail("the process never finished")
    assert seen == {(4, 1), (5, 1), (5, 5)}


def test_what_a_killed_process_left_behind_is_cleared_away(run):
    for name in ("step-0000001.tmp-123", "step-0000001.old-123"):
        (run / "checkpoints" / name).mkdir()
    save(run, 2)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-0000002"]
