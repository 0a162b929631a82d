"""Retrieval on a data set: a figure for each prefix, the same however the shapes are turned."""

import pytest
import torch
from helpers.tiny import TinyData
from helpers.tiny_encoder import train_encoder, use_encoder

from pcinv.engine.loading import load_model
from pcinv.engine.retrieval import evaluate_retrieval
from pcinv.errors import DatasetError, UsageError
from pcinv.metrics.retrieval import retrieval_metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_encoder(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    use_encoder(monkeypatch)


def test_a_figure_for_each_prefix(run):
    found = evaluate_retrieval(run, device="cpu", rotation="none")
    assert list(found.metrics) == [4, 8, 16] and found.dim == 16 and found.num_samples == 9
    loaded, data = load_model(run), TinyData(9, 32, 2)
    xyz = torch.stack([torch.from_numpy(data[k].xyz) for k in range(9)])
    with torch.inference_mode():
        z = loaded.model.forward_features(xyz).global_
    for dim, figures in found.metrics.items():
        assert figures == pytest.approx(
            retrieval_metrics(z[:, :dim], torch.as_tensor(data.labels)), abs=1e-6)


def test_turning_the_shapes_changes_nothing(run):
    plain, turned = (evaluate_retrieval(run, device="cpu", rotation=r) for r in ("none", "so3"))
    assert turned.rotation == "so3"
    for dim, figures in plain.metrics.items():
        assert turned.metrics[dim] == pytest.approx(figures, abs=1e-6)
    few = evaluate_retrieval(run, device="cpu", batch_size=2)
    assert few.metrics[16] == pytest.approx(evaluate_retrieval(run, device="cpu").metrics[16])


def test_a_network_without_prefixes_has_one_figure(tmp_path):
    run = train_encoder(tmp_path / "plain", "linear")
    assert list(evaluate_retrieval(run, device="cpu").metrics) == [16]


def test_what_cannot_be_measured_is_told(run, trained, tiny):
    with pytest.raises(UsageError, match="gives no vector"):
        evaluate_retrieval(trained("part_segmentation"), device="cpu")


def test_a_data_set_without_two_of_a_class_is_told(run):
    with pytest.raises(DatasetError, match="no class has two shapes"):
        evaluate_retrieval(run, device="cpu", limit=3)
