"""Vectors of files: alike for one shape in all poses, and what is told of each."""

import logging

import numpy as np
import pytest
import torch
from helpers.tiny_encoder import TinyEncoder, train_encoder, use_encoder, write_shapes, write_turned

import pcinv
from pcinv.engine.embed import Embedder, embed
from pcinv.engine.loading import load_model
from pcinv.errors import FileFormatError, InputError, NonFiniteError, UsageError
from pcinv.types import PointCloud


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_encoder(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    use_encoder(monkeypatch)


@pytest.fixture
def files(tmp_path):
    return write_shapes(tmp_path / "shapes")


def test_a_row_a_file_of_length_one(run, files):
    found = pcinv.embed(run, files, device="cpu")
    assert found.vectors.shape == (6, 16) and found.vectors.dtype == np.float32
    assert found.files == tuple(map(str, files))
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert [row.num_points for row in found.rows] == [60] * 6
    assert {row.num_used for row in found.rows} == {32}
    assert found.weights.endswith("model.safetensors") and len(found.fingerprint) == 64


def test_raw_vectors_are_those_of_the_network(run, files):
    loaded = load_model(run)
    found = embed(loaded, files, raw=True, device="cpu")
    unit = embed(loaded, files, device="cpu").vectors
    length = np.linalg.norm(found.vectors, axis=1, keepdims=True)
    assert abs(length - 1).min() > 1e-3
    np.testing.assert_allclose(found.vectors / length, unit, atol=1e-6)
    from pcinv.engine.inputs import prepare_input

    seen = prepare_input(files[2], 0, loaded).seen
    with torch.inference_mode():
        expected = loaded.model.forward_features(seen[None]).global_[0]
    np.testing.assert_allclose(found.vectors[2], expected.numpy(), atol=1e-6)


def test_pose_size_order_and_mates_do_not_matter(run, files, tmp_path):
    turned = [write_turned(file, tmp_path / f"t{k}.ply", k) for k, file in enumerate(files)]
    one, two = (embed(run, f, device="cpu").vectors for f in (files, turned))
    np.testing.assert_allclose(one, two, atol=1e-4)
    alone = np.concatenate([embed(run, [file], device="cpu").vectors for file in files])
    np.testing.assert_allclose(one, alone, atol=1e-6)
    assert np.abs(one[0] - one[1]).max() > 1e-2  # other shapes have other vectors


def test_a_prefix_is_of_length_one_too(run, files):
    whole = embed(run, files, device="cpu", raw=True).vectors
    short = embed(run, files, device="cpu", dim=8).vectors
    expected = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(short, expected, atol=1e-6)
    with pytest.raises(UsageError, match="no prefix of 5 numbers") as caught:
        embed(run, files, device="cpu", dim=5)
    assert caught.value.hint == "one of 4, 8, 16"


def test_a_network_without_prefixes_is_told(files, tmp_path):
    plain = train_encoder(tmp_path / "plain", "linear")
    assert embed(plain, files, device="cpu").vectors.shape == (6, 16)
    with pytest.raises(UsageError, match="not trained for shorter vectors") as caught:
        embed(plain, files, device="cpu", dim=8)
    assert "--head matryoshka" in caught.value.hint


def test_a_network_for_parts_is_told(trained, tiny):
    with pytest.raises(UsageError, match="a network for part_segmentation gives no vector"):
        embed(trained("part_segmentation"), [], device="cpu")


def test_arrays_clouds_and_nothing(run):
    cloud = np.random.default_rng(0).normal(size=(40, 3))
    found = embed(run, [cloud, PointCloud(cloud.astype(np.float32))], device="cpu")
    assert found.files == ("input 0", "input 1")
    np.testing.assert_allclose(found.vectors[0], found.vectors[1], atol=1e-5)
    empty = embed(run, [], device="cpu")
    assert len(empty.vectors) == 0 and empty.files == ()


def test_bad_inputs_are_raised_or_named(run, files, tmp_path):
    bad, tiny = tmp_path / "bad.ply", np.zeros((2, 3))
    bad.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    with pytest.raises(FileFormatError):
        embed(run, [files[0], bad], device="cpu")
    found = embed(run, [files[0], bad, tiny, files[1], tmp_path / "none.ply"], device="cpu",
                  skip=True)
    assert found.files == (str(files[0]), str(files[1]))
    assert [one.file for one in found.skipped] == [str(bad), "input 2", str(tmp_path / "none.ply")]
    assert [type(one.error) for one in found.skipped] == [FileFormatError, InputError,
                                                          FileFormatError]
    np.testing.assert_allclose(found.vectors, embed(run, files[:2], device="cpu").vectors,
                               atol=1e-6)


def test_a_vector_that_is_not_finite_is_an_error_of_its_file(run, files, monkeypatch):
    encode = TinyEncoder.forward_features

    def spoil(self, xyz, normal=None):
        features = encode(self, xyz, normal)
        features.global_[1] = float("nan")
        return features

    monkeypatch.setattr(TinyEncoder, "forward_features", spoil)
    with pytest.raises(NonFiniteError):
        embed(run, files, device="cpu")
    found = embed(run, files, device="cpu", skip=True)
    assert len(found.files) == 5 and found.skipped[0].file == str(files[1])


def test_clouds_of_different_size_and_with_normals(run, files, caplog):
    loaded = load_model(run)
    assert loaded.meta.normals in ("data", "estimate")
    rng = np.random.default_rng(0)
    clouds = [PointCloud(rng.normal(size=(n, 3)).astype(np.float32), attributes=extra)
              for n, extra in ((20, {}), (25, {}), (20, {"normal": np.ones((20, 3), np.float32)}))]
    found = embed(loaded, clouds, device="cpu")
    assert [row.num_used for row in found.rows] == [20, 25, 20]
    alone = np.concatenate([embed(loaded, [c], device="cpu").vectors for c in clouds])
    np.testing.assert_allclose(found.vectors, alone, atol=1e-6)


def test_the_fingerprint_is_of_what_decides_a_vector(run, tmp_path):
    same = Embedder(run, device="cpu").fingerprint
    assert same == Embedder(load_model(run), device="cpu").fingerprint
    other = train_encoder(tmp_path / "other", seed=1)
    found = {same, Embedder(run, device="cpu", points=20).fingerprint,
             Embedder(run, device="cpu", seed=1).fingerprint,
             Embedder(other, device="cpu").fingerprint}
    assert len(found) == 4


def test_missing_normals_are_told_once_a_file_or_not_at_all(run, files, caplog, monkeypatch):
    import dataclasses

    loaded = load_model(run)
    with_normals = dataclasses.replace(
        loaded, meta=dataclasses.replace(loaded.meta, normals="data"))
    embedder = Embedder(with_normals, device="cpu")
    with caplog.at_level(logging.WARNING, "pcinv"):
        list(embedder.batches(files, quiet=True))
        assert caplog.text == ""
        list(embedder.batches(files))
    assert caplog.text.count("has no normals") == 6
