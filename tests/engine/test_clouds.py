"""Prepared clouds: turned and augmented by numbers of their own, the same for all workers."""

import pytest
import torch
from helpers.tiny import TinyData

from pcinv.engine.clouds import Clouds, EpochOrder, evaluation_loader, iterate, training_loader
from pcinv.engine.config import AugmentConfig, Config
from pcinv.engine.datasets import labels_of, load_dataset, pick_normals
from pcinv.errors import ConfigError, DatasetError, DependencyError, UnknownNameError

CPU = torch.device("cpu")
PLAIN = AugmentConfig(stretch=1.0, scale=(1.0, 1.0), shift=0.0, dropout=0.0)


def radii(xyz):
    return xyz.norm(dim=-1)


def collected(workers, epoch=2, first=0):
    clouds = Clouds(TinyData(), rotation="so3", seed=5, augment=AugmentConfig(dropout=0.5))
    order = EpochOrder(20, 6, 5, 0, 1)
    order.set_epoch(epoch, first)
    return list(iterate(training_loader(clouds, order, workers, CPU)))


def test_batches_do_not_depend_on_workers_or_on_where_an_epoch_starts():
    whole, other, rest = collected(0), collected(2), collected(0, first=2)
    assert len(whole) == 4 and len(rest) == 2
    for one, two in zip(whole + whole[2:], other + rest, strict=True):
        assert torch.equal(one.xyz, two.xyz) and torch.equal(one.index, two.index)
    later = collected(0, epoch=3)
    assert not torch.equal(torch.cat([b.index for b in whole]), torch.cat([b.index for b in later]))


def test_loaders_leave_the_global_random_source_alone():
    torch.manual_seed(0)
    collected(0)
    drawn = torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(torch.rand(()), drawn)


@pytest.mark.parametrize("rotation", ["none", "z", "so3"])
def test_rotations_keep_radii_and_turn_normals_alike(rotation):
    data = TinyData(normals=True)
    item = Clouds(data, rotation=rotation, seed=1, normals="data")[0, 3]
    xyz, normal = torch.from_numpy(data[3].xyz), torch.from_numpy(data[3].normal)
    torch.testing.assert_close(radii(item.xyz), radii(xyz))
    torch.testing.assert_close((item.xyz * item.normal).sum(-1), (xyz * normal).sum(-1))
    assert torch.equal(item.xyz, xyz) is (rotation == "none")
    assert torch.allclose(item.xyz[:, 2], xyz[:, 2]) is (rotation != "so3")


def test_evaluation_turns_each_cloud_once_and_for_all():
    clouds = Clouds(TinyData(), rotation="so3", seed=1)
    assert torch.equal(clouds[0, 3].xyz, clouds[7, 3].xyz)
    other = Clouds(TinyData(), rotation="so3", seed=2)
    assert not torch.equal(clouds[0, 3].xyz, other[0, 3].xyz)
    training = Clouds(TinyData(), rotation="so3", seed=1, augment=PLAIN)
    assert not torch.equal(training[0, 3].xyz, training[7, 3].xyz)


def test_estimated_normals_turn_with_the_points():
    clouds = Clouds(TinyData(), rotation="so3", seed=1, augment=PLAIN, normals="estimate")
    first, second = clouds[0, 1], clouds[1, 1]
    assert not torch.allclose(first.normal, second.normal)
    torch.testing.assert_close((first.xyz * first.normal).sum(-1),
                               (second.xyz * second.normal).sum(-1), rtol=1e-4, atol=1e-5)
    assert Clouds(TinyData(), rotation="so3", seed=1, normals="none")[0, 1].normal is None


def test_dropped_points_keep_points_normals_and_parts_together():
    data = TinyData(num_points=200, normals=True)
    clouds = Clouds(data, rotation="none", seed=1, normals="data",
                    augment=AugmentConfig(stretch=1.0, scale=(1.0, 1.0), shift=0.0, dropout=0.9))
    item = clouds[0, 0]
    assert len(item.xyz.unique(dim=0)) < 200 == len(item.xyz)
    torch.testing.assert_close(item.normal, item.xyz / radii(item.xyz)[:, None])
    rows = {tuple(p): label for p, label in zip(data[0].xyz.tolist(), data[0].part, strict=True)}
    assert [rows[tuple(p)] for p in item.xyz.tolist()] == item.part.tolist()


def test_scale_shift_and_jitter_stay_within_their_limits():
    options = AugmentConfig(
        stretch=1.0, scale=(0.5, 0.6), shift=0.2, jitter=0.001, dropout=0.0)
    clouds = Clouds(TinyData(), rotation="none", seed=1, augment=options)
    for epoch in range(20):
        item, plain = clouds[epoch, 0], torch.from_numpy(TinyData()[0].xyz)
        centre = item.xyz.mean(0)
        assert (centre.abs() <= 0.2 + 0.01).all()
        ratio = radii(item.xyz - centre).max() / radii(plain).max()
        assert 0.49 < ratio < 0.61


def test_normals_that_some_clouds_lack_are_told():
    class Mixed(TinyData):
        def __getitem__(self, index):
            self.has_normals = index != 2
            return super().__getitem__(index)

    clouds = Clouds(Mixed(), rotation="none", seed=0, normals="data")
    with pytest.raises(DatasetError, match="cloud 2 has no normals"):
        list(iterate(evaluation_loader(clouds, 4, 0, CPU)))


def test_every_cloud_is_evaluated_once_over_all_processes():
    clouds = Clouds(TinyData(11), rotation="none", seed=0)
    seen = [index for rank in range(3)
            for batch in iterate(evaluation_loader(clouds, 2, 0, CPU, rank, 3))
            for index in batch.index.tolist()]
    assert sorted(seen) == list(range(11))


@pytest.mark.parametrize(("wanted", "has", "given"), [
    ("auto", True, "data"), ("auto", False, "estimate"), ("estimate", True, "estimate"),
    ("data", True, "data"), ("none", True, "none")])
def test_normals_come_from_where_they_are_asked_for(wanted, has, given):
    config = Config(data={"normals": wanted})
    assert pick_normals(config, TinyData(normals=has)) == given
    with pytest.raises(ConfigError, match="has no normals"):
        pick_normals(Config(data={"normals": "data"}), TinyData())


class Provider:
    """Stands in for an entry point and for the module that it names."""

    def __init__(self, name, *known, count=3):
        self.name, self.known, self.count = name, known, count

    def load(self):
        return self

    def load_dataset(self, name, **options):
        if name not in self.known:
            raise UnknownNameError(f"unknown data set '{name}'", hint=f"one of {self.known}")
        return TinyData(self.count)


def test_data_sets_come_from_every_installed_package(monkeypatch):
    found = [Provider("b", "mine", count=7), Provider("a", "theirs"),
             Provider("c", "empty", count=0)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found)
    assert len(load_dataset("mine")) == 7 and len(load_dataset("theirs")) == 3
    with pytest.raises(UnknownNameError, match="unknown data set 'other'"):
        load_dataset("other")
    with pytest.raises(DatasetError, match="no clouds"):
        load_dataset("empty")
    found.clear()
    with pytest.raises(DependencyError):
        load_dataset("mine")


def test_labels_know_the_parts_of_each_class():
    labels = labels_of(TinyData(), "part_segmentation")
    assert labels.category_parts == ((0, 1), (2, 3), (4,))
    assert labels.allowed.int().tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    assert labels_of(TinyData(), "classification").part_names == ()
    bare = TinyData()
    bare.part_names = bare.part_labels = None
    with pytest.raises(DatasetError, match="no part labels"):
        labels_of(bare, "part_segmentation")
    bare.class_names = []
    with pytest.raises(DatasetError, match="no classes"):
        labels_of(bare, "classification")
