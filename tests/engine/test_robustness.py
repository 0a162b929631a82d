"""Robustness: the damage is what it is said to be, the same in every pose, and it is felt."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny import TinyData
from torch import nn

from pcinv.engine import evaluator
from pcinv.engine.clouds import Clouds
from pcinv.engine.evaluator import evaluate
from pcinv.engine.loading import load_model
from pcinv.engine.robustness import DamagedClouds, evaluate_robustness
from pcinv.engine.seed import ROTATE, generator
from pcinv.errors import InputError, UnknownNameError, UsageError
from pcinv.geometry.corruptions import CORRUPTIONS, Points, corrupt
from pcinv.geometry.transforms import draw_rotation

CPU = {"device": "cpu"}
KINDS = list(CORRUPTIONS)


class Axes(nn.Module):
    """Tell ball, disc and rod by their extents along the axes: right unless they are turned."""

    min_points = 4

    def forward(self, xyz, normal=None, mask=None, category=None):
        flat = xyz.std(1) < 0.1  # (B, 3)
        label = flat[:, 1].long() + flat[:, 2].long()
        return nn.functional.one_hot(label, 3).float()


class Radial(nn.Module):
    """Take the direction from the centre for the normal, as those of `TinyData` are."""

    min_points = 4

    def forward(self, xyz, normal=None, mask=None, category=None):
        return xyz


@pytest.fixture
def run(tiny, trained):
    return trained("classification")


@pytest.fixture
def axes(run):
    return replace(load_model(run), model=Axes())


@pytest.fixture
def radial(run):
    loaded = load_model(run)
    config = loaded.meta.config
    config = replace(config, model=replace(config.model, task="normals"),
                     data=replace(config.data, options={"normals": True}))
    return replace(loaded, model=Radial(), meta=replace(loaded.meta, config=config, normals="data"))


class TestDamagedClouds:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_damage_turns_with_the_cloud(self, kind):
        data = DamagedClouds(TinyData(normals=True), kind, 0.3, 7, 4)
        plain, turned = (Clouds(data, rotation=rotation, seed=7, normals="data")
                         for rotation in ("none", "so3"))
        for index in range(6):
            way = draw_rotation("so3", generator(7, ROTATE, index)).float()
            one, two = plain[0, index], turned[0, index]
            torch.testing.assert_close(one.xyz @ way.T, two.xyz, atol=1e-6, rtol=0)
            torch.testing.assert_close(one.normal @ way.T, two.normal, atol=1e-6, rtol=0)
            assert torch.equal(one.part, two.part)
            assert not torch.allclose(one.xyz, two.xyz, atol=1e-2)

    def test_damage_after_the_turn_would_be_another(self):
        """What the test above relies on: corrupting and turning may not be swapped."""
        xyz, way = torch.from_numpy(TinyData()[0].xyz), draw_rotation("so3", generator(1)).float()
        for kind in set(KINDS) - {"dropout"}:
            one = corrupt(kind, Points(xyz), 0.3, generator(0)).xyz @ way.T
            two = corrupt(kind, Points(xyz @ way.T), 0.3, generator(0)).xyz
            assert not torch.allclose(one, two, atol=1e-2)

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_cloud_has_damage_of_its_own_by_seed_and_index(self, kind):
        class Same(TinyData):
            def __getitem__(self, index):
                return super().__getitem__(0)

        one, again, other = (DamagedClouds(Same(), kind, 0.3, seed, 4) for seed in (1, 1, 2))
        assert np.array_equal(one[3].xyz, again[3].xyz)
        assert not np.array_equal(one[3].xyz, one[4].xyz)
        assert not np.array_equal(one[3].xyz, other[3].xyz)
        assert len(one) == 20 and one.class_names == ["ball", "disc", "rod"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_data_is_left_as_it_is(self, kind):
        class Kept(TinyData):
            def __init__(self):
                super().__init__(normals=True)
                self.samples = [super(Kept, self).__getitem__(k) for k in range(3)]

            def __getitem__(self, index):
                return self.samples[index]

        data, fresh = Kept(), Kept()
        sample = DamagedClouds(data, kind, 0.3, 0, 4)[1]
        assert sample.xyz.dtype == sample.normal.dtype == np.float32 and sample.label == 1
        for name in ("xyz", "normal", "part"):
            assert np.array_equal(getattr(data[1], name), getattr(fresh[1], name))
        assert DamagedClouds(data, kind, 0.0, 0, 4)[1] is data[1]


class TestTasks:
    def test_classification(self, run):
        found = evaluate_robustness([run], rotation="none", **CPU)
        assert (found.task, found.score, found.rotation, found.split, found.seed) == (
            "classification", "oa", "none", "test", 0)
        assert found.severities == {kind: list(row.severities) for kind, row in CORRUPTIONS.items()}
        curve, = found.runs
        assert curve.run == str(run) and curve.num_samples == 9 and curve.dataset == "shapes"
        clean = evaluate(run, rotation="none", **CPU)
        for kind, row in curve.scores.items():
            assert len(row) == 5 and row[0] == clean.metrics["oa"] and kind in CORRUPTIONS
        assert curve.weights == clean.weights and curve.normals == clean.normals
        assert curve.num_points["dropout"] == [32, 24, 16, 8, 4]  # 3 would be left, 4 are needed
        assert curve.num_points["noise"] == curve.num_points["outliers"] == [32] * 5
        assert curve.num_points["density"] == [32, 16, 16, 16, 16]
        assert curve.num_points["partial"] == [32, 29, 26, 21, 16]

    def test_parts_go_along(self, tiny, trained):
        found = evaluate_robustness([trained("part_segmentation")], **CPU)
        assert found.score == "instance_miou"
        for row in found.runs[0].scores.values():
            assert len(row) == 5 and all(0 < value <= 1 for value in row)

    def test_normals_go_along(self, radial):
        found = evaluate_robustness([radial], severities={"noise": [0, 0.02, 0.05, 0.2]},
                                    kinds=["noise", "dropout", "outliers"], **CPU)
        assert found.score == "within_10deg" and found.runs[0].normals == "data"
        scores = found.runs[0].scores
        assert scores["noise"][0] == 1 and scores["noise"] == sorted(scores["noise"])[::-1]
        assert scores["noise"][3] < 0.6
        # a fifth of the points have a normal of any direction, and the centre has moved
        assert scores["outliers"][0] == 1 and 0.2 < scores["outliers"][4] < 0.83
        assert scores["dropout"][0] == 1 and scores["dropout"][1] > scores["dropout"][4] > 0

    def test_networks_that_are_not_measured(self, radial):
        for task in ("pose", "matching"):
            config = radial.meta.config
            config = replace(config, model=replace(config.model, task=task))
            with pytest.raises(UsageError, match=task):
                evaluate_robustness([replace(radial, meta=replace(radial.meta, config=config))])

    def test_different_tasks_have_no_common_score(self, run, trained):
        with pytest.raises(UsageError, match="different scores"):
            evaluate_robustness([run, trained("part_segmentation")], **CPU)
        with pytest.raises(UsageError, match="no network"):
            evaluate_robustness([])


class TestScores:
    def test_an_invariant_network_has_the_same_curves_in_every_pose(self, run):
        one, two = (evaluate_robustness([run], rotation=rotation, **CPU).runs[0].scores
                    for rotation in ("none", "so3"))
        for kind in KINDS:
            assert one[kind] == pytest.approx(two[kind])

    def test_one_that_is_not_drops_when_turned(self, axes):
        one, two = (evaluate_robustness([axes], kinds=["dropout"], rotation=rotation, **CPU)
                    for rotation in ("none", "so3"))
        assert one.runs[0].scores["dropout"][:3] == [1, 1, 1]
        assert max(two.runs[0].scores["dropout"]) < 0.8

    def test_more_damage_is_worse(self, axes):
        """Noise makes balls of discs and rods, and all are taken for balls in the end."""
        found = evaluate_robustness([axes], rotation="none", severities={
            "noise": [0, 0.02, 0.2, 2.0], "outliers": [0, 0.02, 0.5]}, kinds=["noise"], **CPU)
        noise, outliers = (found.runs[0].scores[kind] for kind in ("noise", "outliers"))
        assert noise[0] == 1 and noise == sorted(noise, reverse=True)
        assert noise[-1] == outliers[-1] == pytest.approx(1 / 3)

    def test_seeds(self, radial):
        options = {"severities": {"noise": [0.1]}, "kinds": ["noise"], **CPU}
        one, again, other = (evaluate_robustness([radial], seed=seed, **options)
                             for seed in (1, 1, 2))
        assert one == again
        assert one.runs[0].scores != other.runs[0].scores

    def test_batches_and_workers_do_not_matter(self, radial):
        options = {"severities": {"noise": [0.1]}, "kinds": ["noise", "partial"], **CPU}
        one = evaluate_robustness([radial], **options)
        assert evaluate_robustness([radial], batch_size=2, workers=1, **options).runs[0].scores == {
            kind: pytest.approx(row) for kind, row in one.runs[0].scores.items()}


class TestSeveralNetworks:
    def test_points_that_each_of_them_needs(self, run, axes):
        axes.model.min_points = 12
        found = evaluate_robustness([run, axes], kinds=["dropout"], **CPU)
        assert [curve.num_points["dropout"] for curve in found.runs] == [[32, 24, 16, 12, 12]] * 2

    def test_clouds_without_damage_are_measured_once(self, run, axes, monkeypatch):
        told = []
        found = evaluate_robustness([run, axes], callback=lambda *words: told.append(words),
                                    rotation="none", **CPU)
        assert [words[0] for words in told] == list(range(42)) and {w[1] for w in told} == {42}
        assert [words[3] for words in told[:6]] == ["", *["noise"] * 4, "dropout"]
        assert told[0][2] == str(run) and told[41][2] == str(axes.path)
        assert len({curve.scores[kind][0] for curve in found.runs[1:] for kind in KINDS}) == 1

    def test_other_clouds_are_told(self, run, axes, monkeypatch, caplog):
        evaluate_robustness([run, axes], kinds=["dropout"], **CPU)
        assert not caplog.records
        sizes = iter((32, 24))
        monkeypatch.setattr(evaluator, "load_dataset", lambda name, **_: TinyData(9, next(sizes)))
        evaluate_robustness([run, axes], kinds=["dropout"], **CPU)
        assert "other clouds" in caplog.text


class TestUsage:
    def test_kinds_and_severities_are_checked_before_anything_is_read(self):
        for kinds, severities, error in ((["nois"], None, UnknownNameError),
                                         ([], {"nois": [0]}, UnknownNameError),
                                         ([], {"dropout": [0, 1.0]}, InputError),
                                         ([], {"noise": []}, UsageError)):
            with pytest.raises(error):
                evaluate_robustness(["nowhere"], kinds=kinds, severities=severities)

    def test_doubled_kinds_are_one(self, axes):
        found = evaluate_robustness([axes], kinds=["noise", "noise"], limit=3, **CPU)
        assert list(found.severities) == ["noise"] and found.runs[0].num_samples == 3

    def test_severities_in_any_order_keep_it(self, axes):
        row = [0.9, 0.0, 0.5, 0.0]
        found = evaluate_robustness([axes], severities={"dropout": row}, kinds=["dropout"], **CPU)
        assert found.severities == {"dropout": row}
        assert found.runs[0].num_points["dropout"] == [4, 32, 16, 32]
