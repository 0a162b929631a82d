"""Training of descriptors: what a step sees, that it learns, that a stopped run goes on."""

import json

import numpy as np
import pytest
import torch
from helpers.scans import body_rooms

from pcinv.engine import distil, scans, trainer
from pcinv.engine.config import load_config
from pcinv.engine.loading import build_model, load_model
from pcinv.engine.matching import learner_of
from pcinv.engine.matching_pairs import CANDIDATES, PairLearner
from pcinv.engine.matching_patches import draw_patches
from pcinv.engine.scans import Scans, common_rows, evenly, prepare_fragment, split_rooms
from pcinv.errors import DatasetError, Interrupted, UnknownNameError
from pcinv.models.cylinder_patch import CylinderPatch
from pcinv.tasks import Labels


@pytest.fixture(scope="module")
def rooms():
    return body_rooms(4)


@pytest.fixture(scope="module")
def prepared(rooms):
    return Scans(rooms[:2], seed=0)


TINY = ("model.overrides.widths=[16, 16, 16]", "model.overrides.layers=[1, 1, 1]",
        "model.overrides.neighbours=[8, 8, 8]", "model.overrides.width=16",
        "model.overrides.blocks=1", "model.overrides.length=16")
"""A RoITr of three levels."""
SMALL = ("model.overrides.points=24", "model.overrides.centres=[8, 4, 4, 2]",
         "model.overrides.neighbours=[4, 4, 4, 2]", "model.overrides.channels=[8, 8, 8, 16, 16]")


def configured(*settings, backbone="cylinder_patch"):
    sizes = {"roitr": TINY, "risurconv_patch": SMALL}.get(backbone, ())
    return load_config(None, ['train.device="cpu"', "train.epochs=2", "train.batch_size=4",
                              "data.val_fraction=0.25", *sizes, *settings], None,
                       {"model.backbone": backbone})[0]


class TestScans:
    def test_corresponding_key_points_are_one_place(self, prepared):
        for pair in prepared.pairs:
            source, target = (prepared.fragments[k] for k in (pair.source, pair.target))
            pose = np.linalg.inv(target.T_room_fragment) @ source.T_room_fragment
            x, y = source.keys[pair.rows[:, 0]], target.keys[pair.rows[:, 1]]
            off = np.linalg.norm(x @ pose[:3, :3].T + pose[:3, 3] - y, axis=1)
            assert off.max() < scans.CORRESPOND and len(pair.rows) >= scans.LEAST_COUNT
            turned = source.axes[pair.rows[:, 0]] @ pose[:3, :3].T
            assert ((turned * target.axes[pair.rows[:, 1]]).sum(1) > 0.5).all()

    def test_a_wrong_motion_has_little_in_common(self, prepared):
        pair = max(prepared.pairs, key=lambda p: p.share)
        source, target = (prepared.fragments[k] for k in (pair.source, pair.target))
        moved = source.T_room_fragment.copy()
        moved[:3, 3] += 0.5
        assert common_rows(source._replace(T_room_fragment=moved), target)[1] < pair.share / 2

    def test_axes_point_to_the_camera(self, rooms):
        """The camera is at the origin of the fragment: at -origin in the prepared frame."""
        points = rooms[0].fragments[0]
        fragment = prepare_fragment(points, np.eye(4), 0.05)
        camera = -points.mean(0, dtype=np.float64)
        for places, axes in ((fragment.keys, fragment.axes), (fragment.points, fragment.normals)):
            assert (((camera - places) * axes).sum(1) >= -1e-5).all()

    def test_sizes_are_in_voxels(self, rooms):
        """A fragment in millimetres with its voxel is the same to the network."""
        points = rooms[0].fragments[0].astype(np.float64)
        one, other = (prepare_fragment(points * k, np.eye(4), 0.05 * k) for k in (1.0, 1000.0))
        assert np.abs(one.keys - other.keys).max() < 1e-5
        assert other.density == pytest.approx(one.density, rel=0.02)

    def test_a_batch_depends_on_its_seed_alone(self, prepared):
        network = CylinderPatch()
        a, b, c = (draw_patches(network, prepared, seed, 2, 20)
                   for seed in ((0, 1), (0, 1), (0, 2)))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert not torch.equal(a.source, c.source)
        assert a.source.shape == a.target.shape == (40, 200, 16)
        assert a.pair.tolist() == [0] * 20 + [1] * 20

    def test_little_overlap_is_drawn_more_often(self, prepared):
        shares = [pair.share for pair in prepared.pairs]
        assert prepared.chance.sum() == pytest.approx(1)
        assert int(prepared.chance.argmax()) == int(np.argmin(shares))

    def test_rooms_are_not_shared_between_training_and_validation(self, rooms):
        train, held = split_rooms(rooms, 0.1)
        assert len(train) == 3 and len(held) == 1 and held[0] is rooms[-1]
        with pytest.raises(DatasetError, match="at least 2"):
            split_rooms(rooms[:1], 0.1)

    def test_clouds_with_nothing_in_common_are_an_error(self, rooms):
        one = rooms[0]._replace(fragments=rooms[0].fragments[:1],
                                T_room_fragment=rooms[0].T_room_fragment[:1])
        with pytest.raises(DatasetError, match="in common"):
            Scans([one], 0)

    def test_evenly(self, prepared):
        assert list(evenly(prepared.pairs, 100)) == prepared.pairs
        assert len(list(evenly(prepared.pairs, 2))) == 2


class TestPairs:
    @pytest.fixture(scope="class")
    def learner(self, prepared):
        torch.manual_seed(0)
        network = build_model(configured(backbone="roitr"), Labels(()), 0)
        return PairLearner(network, prepared, prepared)

    def test_a_sample_depends_on_its_seed_alone(self, learner):
        a, b, c = (learner.draw(seed, 2) for seed in ((0, 1), (0, 1), (0, 2)))
        assert len(a) == 2
        for one, other in zip(a, b, strict=True):
            assert torch.equal(one.chosen, other.chosen) and torch.equal(one.labels, other.labels)
        assert any(one.overlap.shape != other.overlap.shape or not torch.equal(
            one.overlap, other.overlap) for one, other in zip(a, c, strict=True))

    def test_labels_are_points_of_one_place(self, learner, prepared):
        """Points of both clouds that are labelled the same are where the true motion has them."""
        for seed in range(4):
            sample = learner.draw((seed,), 1)[0]
            assert 0 < len(sample.chosen) <= CANDIDATES
            assert (sample.overlap[tuple(sample.chosen.T)] > 0.1).all()
            number = {id(survey): k for k, survey in learner.surveys.known.items()}
            source, target = (prepared.fragments[number[id(survey)]]
                              for survey in (sample.source, sample.target))
            motion = np.linalg.inv(target.T_room_fragment) @ source.T_room_fragment
            pair, row, column = sample.labels[:, :-1, :-1].nonzero(as_tuple=True)
            y = target.points[sample.target.patch[sample.chosen[pair, 0], row].numpy()]
            x = source.points[sample.source.patch[sample.chosen[pair, 1], column].numpy()]
            off = np.linalg.norm(x @ motion[:3, :3].T + motion[:3, 3] - y, axis=1)
            assert len(off) and off.max() < 0.0501
            assert np.linalg.norm(x - y, axis=1).max() > 0.06  # without the motion they are not

    def test_both_ways_round_are_drawn_and_surveys_are_kept(self, learner, prepared):
        for seed in range(20):
            learner.draw((seed,), 1)
        assert len(learner.surveys.known) == len(prepared.fragments)


class TestDistil:
    def test_points_learn_what_the_teacher_says(self, prepared, monkeypatch, caplog):
        monkeypatch.setattr(distil, "STEPS", 60)
        monkeypatch.setattr(distil, "_TOLD", 20)
        torch.manual_seed(0)
        network = build_model(configured(backbone="roitr"), Labels(()), 0)
        learner = PairLearner(network, prepared, prepared)
        with caplog.at_level("INFO", "pcinv.engine.distil"):
            assert learner.start(0, lambda: False)
        told = [float(record.message.rpartition(" ")[2]) for record in caplog.records]
        assert len(told) == 3 and told[0] < told[1] < told[2] and told[2] > 0.4
        assert not any(isinstance(module, torch.nn.ModuleList) and len(module) == 2
                       and isinstance(module[0], torch.nn.Linear) for module in network.modules())

    def test_it_can_be_stopped(self, prepared, monkeypatch):
        torch.manual_seed(0)
        network = build_model(configured(backbone="roitr"), Labels(()), 0)
        asked = []
        assert not PairLearner(network, prepared, prepared).start(
            0, lambda: asked.append(0) or len(asked) == 3)
        assert len(asked) == 3

    def test_a_stop_before_the_first_step_is_told(self, rooms, tmp_path, monkeypatch):
        import os
        import signal

        monkeypatch.setattr(trainer, "load_rooms", lambda config: rooms)
        monkeypatch.setattr(distil, "_told", lambda *given: os.kill(os.getpid(), signal.SIGTERM)
                            or torch.ones(1500, 32))
        with pytest.raises(Interrupted, match="before the first step"):
            trainer.train(configured(backbone="roitr"), output=tmp_path / "run")


class TestTraining:
    @pytest.fixture(autouse=True)
    def quick_start(self, monkeypatch):
        monkeypatch.setattr(distil, "STEPS", 20)

    @pytest.mark.parametrize("backbone", ["cylinder_patch", "risurconv_patch", "roitr"])
    def test_it_learns_and_writes_a_run(self, rooms, tmp_path, monkeypatch, backbone):
        monkeypatch.setattr(trainer, "load_rooms", lambda config: rooms)
        config = configured("train.epochs=3", backbone=backbone)
        run = trainer.train(config, output=tmp_path / "run")
        lines = [json.loads(line) for line in
                 (run.path / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        assert lines[-1]["loss"] < 0.97 * lines[0]["loss"]
        assert run.metrics["inlier_ratio"] == max(line["val_inlier_ratio"] for line in lines)
        held = Scans(rooms[-1:], 0)
        torch.manual_seed(0)
        networks = build_model(config, Labels(()), 0), load_model(run.path).model
        untrained, trained = (learner_of(backbone, network, held, held).validate()["inlier_ratio"]
                              for network in networks)
        assert trained == pytest.approx(run.metrics["inlier_ratio"], abs=0.02)
        if backbone == "cylinder_patch":  # the other one takes thousands of steps
            assert run.metrics["inlier_ratio"] > untrained + 0.02
        assert load_model(run.path).meta.config.model.backbone == backbone

    @pytest.mark.parametrize("backbone", ["cylinder_patch", "risurconv_patch", "roitr"])
    def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
        self, rooms, tmp_path, monkeypatch, backbone
    ):
        monkeypatch.setattr(trainer, "load_rooms", lambda config: rooms)
        whole = trainer.train(configured(backbone=backbone), output=tmp_path / "whole")

        def stop(tick):
            if tick.step == 3:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(Interrupted):
            trainer.train(configured(backbone=backbone), output=tmp_path / "stopped",
                          callback=stop)
        again = trainer.train(resume=tmp_path / "stopped")
        a, b = (load_model(path, which="last").model.state_dict()
                for path in (whole.path, again.path))
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert again.last_metrics == whole.last_metrics

    def test_an_unknown_set_is_named(self):
        with pytest.raises(UnknownNameError, match="roms"):
            scans.load_rooms(configured('data.dataset="roms"'))
