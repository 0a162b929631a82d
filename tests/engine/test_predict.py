"""Predictions on arrays and files: same answer wherever the cloud lies and however it is stored."""

import numpy as np
import pytest
import torch
from helpers.clouds import haar
from helpers.tiny import EXTENTS, TinyData, TinyNetwork

from pcinv.engine.loading import load_model
from pcinv.engine.predict import predict
from pcinv.engine.trainer import train
from pcinv.errors import (
    FileFormatError,
    InputError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
    UsageError,
)
from pcinv.types import PointCloud


@pytest.fixture
def run(tiny, trained):
    return trained("classification")


@pytest.fixture
def parts_run(tiny, trained):
    return trained("part_segmentation")


def test_the_likeliest_class_and_the_runners_up(run):
    clouds = [TinyData(num_points=32, seed=5)[index].xyz for index in range(3)]
    told = predict(run, clouds, device="cpu", top=2)
    assert [p.label for p in told] == ["ball", "disc", "rod"]
    for prediction in told:
        assert len(prediction.top) == 2 and prediction.top[0]["label"] == prediction.label
        assert prediction.confidence == prediction.top[0]["confidence"] > 1 / 3
        assert prediction.num_points == prediction.num_used == 32
        assert prediction.labels is None and prediction.normals == "estimate"


def test_position_size_rotation_and_order_do_not_matter(run):
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(150, 3)) * EXTENTS[1]
    moved = cloud[rng.permutation(150)] @ haar(rng).T * 40 + [5e6, 4e5, 100]
    for one, two in zip(predict(run, [cloud], device="cpu")[0].top,
                        predict(run, [moved], device="cpu")[0].top, strict=True):
        assert one["label"] == two["label"]
        assert one["confidence"] == pytest.approx(two["confidence"], abs=1e-4)


def test_dense_clouds_are_thinned_by_the_seed(run):
    cloud = np.random.default_rng(0).normal(size=(5000, 3))
    first, again, other = (predict(run, [cloud], device="cpu", seed=seed)[0].confidence
                           for seed in (0, 0, 1))
    assert first == again != other
    assert predict(run, [cloud], device="cpu", points=100)[0].num_used == 100


def test_small_clouds_are_used_as_they_are(run):
    cloud = np.random.default_rng(0).normal(size=(5, 3))
    assert predict(run, [cloud], device="cpu")[0].num_used == 5
    with pytest.raises(InputError, match="3 points, the network needs 4"):
        predict(run, [cloud[:3]], device="cpu")


def test_files_and_arrays_give_the_same_answer(run, tmp_path):
    from pcinv.io import write

    cloud = np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32)
    write(tmp_path / "cloud.ply", PointCloud(cloud))
    file, array, tensor = predict(
        load_model(run), [tmp_path / "cloud.ply", cloud, torch.from_numpy(cloud)], device="cpu")
    assert file.file == str(tmp_path / "cloud.ply") and array.file == "input 1"
    assert file.confidence == pytest.approx(array.confidence, abs=1e-6)
    assert array.confidence == tensor.confidence


@pytest.mark.filterwarnings("ignore::pcinv.io.FormatWarning")
def test_meshes_are_sampled(run, tmp_path):
    (tmp_path / "tetra.off").write_text(
        "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n")
    first, again = (predict(run, [tmp_path / "tetra.off"], device="cpu")[0] for _ in range(2))
    assert first.num_points == 8 * 32 and first.num_used == 32
    assert first.confidence == again.confidence


def test_every_point_of_a_file_gets_a_part(parts_run):
    rng = np.random.default_rng(3)
    cloud = rng.normal(size=(400, 3))
    (told,) = predict(parts_run, [cloud], device="cpu", category="ball")
    assert told.label == "ball" and told.labels.shape == (400,) and told.num_used == 32
    assert set(told.labels.tolist()) <= {0, 1} and told.part_names[1] == "ball/out"
    np.testing.assert_allclose(told.cloud.absolute(), cloud, atol=1e-6)
    radius = np.linalg.norm(cloud - cloud.mean(0), axis=1)
    assert radius[told.labels == 1].mean() > radius[told.labels == 0].mean()
    (rod,) = predict(parts_run, [cloud], device="cpu", category="rod")
    assert set(rod.labels.tolist()) == {4}


def test_a_missing_or_unknown_category_is_told(parts_run):
    cloud = np.random.default_rng(3).normal(size=(40, 3))
    with pytest.raises(UsageError, match="must be told") as caught:
        predict(parts_run, [cloud], device="cpu")
    assert "ball, disc, rod" in caught.value.hint
    with pytest.raises(UnknownNameError):
        predict(parts_run, [cloud], device="cpu", category="bal")


def test_normals_are_kept_only_where_the_network_knows_them(tiny, make_config, tmp_path, caplog,
                                                            monkeypatch):
    config = make_config(data={"options": {"normals": True}}, train={"epochs": 1})
    with_normals = train(config, output=tmp_path / "with").path
    without = train(make_config(train={"epochs": 1}), output=tmp_path / "without").path
    seen = []
    plain = TinyNetwork.forward
    monkeypatch.setattr(TinyNetwork, "forward", lambda self, xyz, normal=None, category=None: (
        seen.append(normal), plain(self, xyz))[1])
    xyz = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    cloud = PointCloud(xyz, attributes={"normal": 3 * xyz})
    broken = PointCloud(xyz, attributes={"normal": 0 * xyz})
    told = predict(with_normals, [cloud, PointCloud(xyz), broken], device="cpu")
    assert [p.normals for p in told] == ["data", "estimate", "estimate"]
    torch.testing.assert_close(seen[0].norm(dim=-1), torch.ones(1, 32))
    assert seen[1] is None and seen[2] is None
    assert "has no normals" in caplog.text and "zero or not finite" in caplog.text
    assert predict(without, [cloud], device="cpu")[0].normals == "estimate" and seen[3] is None


@pytest.mark.parametrize(("cloud", "error"), [
    (np.zeros((40, 3)), InputError),
    (np.full((40, 3), np.nan), InputError),
    (np.zeros((40, 2)), ShapeError),
    (np.zeros(3), ShapeError),
    (np.zeros((40, 3), dtype=str), ShapeError),
    (np.zeros((0, 3)), InputError),
    (np.zeros((1, 3)), InputError),
])
def test_what_is_no_cloud_is_a_typed_error(run, cloud, error):
    with pytest.raises(error) as caught:
        predict(run, [np.random.default_rng(0).normal(size=(40, 3)), cloud], device="cpu")
    assert caught.value.where == "input 1" and caught.value.exit_code == 3


def test_a_missing_file_and_bad_counts_are_told(run, tmp_path):
    with pytest.raises(FileFormatError):
        predict(run, [tmp_path / "none.ply"], device="cpu")
    with pytest.raises(InputError):
        predict(run, [], points=0)
    with pytest.raises(InputError):
        predict(run, [], top=0)
    assert predict(run, [], device="cpu") == []


def test_an_output_that_is_not_finite_is_told(run, monkeypatch):
    monkeypatch.setattr(TinyNetwork, "forward", lambda self, xyz, normal=None, category=None:
                        torch.full((1, 3), float("nan")))
    with pytest.raises(NonFiniteError):
        predict(run, [np.random.default_rng(0).normal(size=(40, 3))], device="cpu")
