"""Two processes on CPU (gloo) train what one process trains on the same global batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import two_processes
from helpers.tiny import create_tiny, load_tiny

import pcinv
from pcinv.engine import datasets, loading
from pcinv.engine.checkpoint import find_checkpoint, load_state
from pcinv.engine.clouds import EpochOrder
from pcinv.engine.tracking import read_lines
from pcinv.engine.trainer import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run the script in two processes; a deadlock fails by its time limit."""
    path = tmp_path_factory.mktemp("distributed")
    root = Path(pcinv.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         two_processes.__file__, str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return path


def tensors(run):
    weights, state, _ = load_state(find_checkpoint(run))
    return weights.tensors, state


def test_two_processes_take_the_steps_of_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "create_model", create_tiny)
    monkeypatch.setattr(datasets, "load_dataset", load_tiny)
    alone = train(two_processes.make_config(17, 4), output=tmp_path / "alone").path
    together = folder / "uneven"
    for name, value in tensors(alone)[0].items():
        torch.testing.assert_close(tensors(together)[0][name], value, rtol=1e-5, atol=1e-6)
    for one, two in zip(read_lines(alone / "metrics.jsonl"),
                        read_lines(together / "metrics.jsonl"), strict=True):
        assert one["oa"] == two["oa"] and one["val_oa"] == two["val_oa"]
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        assert one["val_loss"] == pytest.approx(two["val_loss"], rel=1e-5)


def test_only_the_first_process_writes(folder):
    assert len(read_lines(folder / "uneven/metrics.jsonl")) == 4
    names = {path.name for path in (folder / "uneven").iterdir()}
    assert names == {"best", "last", "checkpoints", "config.toml", "env.json", "log.txt",
                     "metrics.jsonl"}
    assert (folder / "uneven/log.txt").read_text().count("epoch 4 of 4") == 1


def test_both_stop_together_and_resume_exactly(folder):
    assert read_lines(folder / "straight/metrics.jsonl")[-1]["step"] == 12
    assert "interrupted after step 6" in (folder / "stopped/log.txt").read_text()
    for resumed, straight in zip(tensors(folder / "stopped"), tensors(folder / "straight"),
                                 strict=True):
        assert resumed.keys() == straight.keys()
        assert all(torch.equal(resumed[name], straight[name]) for name in straight)
    assert tensors(folder / "straight")[1]["random.torch"].shape[0] == 2


def test_a_fault_in_one_process_stops_both_and_keeps_its_batch(folder):
    assert (folder / "broken/nonfinite-step0000000-rank1.safetensors").is_file()
    assert (folder / "broken/raised2").is_file()


def test_batches_are_dealt_out_whole_and_once():
    for count, world in ((20, 1), (20, 2), (23, 3), (17, 2), (5, 2)):
        orders = [EpochOrder(count, 6, 0, rank, world) for rank in range(world)]
        for order in orders:
            order.set_epoch(3)
        dealt = [list(order) for order in orders]
        assert len({len(batches) for batches in dealt}) == 1
        for size, parts in zip(orders[0].sizes(), zip(*dealt, strict=True), strict=True):
            indices = [index for part in parts for _, index in part]
            assert len(set(indices)) == len(indices) == size
            assert all(len(part) >= 2 for part in parts)
