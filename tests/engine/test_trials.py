"""Backbones side by side: what is trained, what is kept, and what a folder refuses."""

import json
import shutil

import pytest
from helpers.tiny_run import use_tiny

from pcinv.engine import signals, trial_store, trials
from pcinv.engine.trial_store import MEASURED
from pcinv.engine.trials import Trial, config_of, plan, read_row, rows_in, run_trials
from pcinv.errors import CheckpointError, Interrupted, UnknownNameError, UsageError

SETTINGS = ("data.num_points=32", "augment.dropout=0.0", "optim.warmup_epochs=0", "optim.lr=0.02",
            "train.batch_size=6")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    use_tiny(monkeypatch)


def configs(*chosen, epochs=2, settings=SETTINGS):
    return {trial: config_of(trial, "classification", settings, **{
        "train.epochs": epochs, "train.device": "cpu"}) for trial in chosen}


A, B = Trial("risurconv"), Trial("parot", "so3", 1)


class TestPlan:
    def test_by_default_all_that_do_the_task(self):
        chosen = plan("classification")
        assert len(chosen) == len(set(chosen))
        seeds = {name: {t.seed for t in chosen if t.backbone == name} for name in trials.MAIN}
        assert all(found == {0, 1, 2} for found in seeds.values())
        assert {t.backbone for t in chosen if t.trained == "so3"} == {
            "pointnet", "dgcnn", "risurconv"}
        assert "vsformer" not in {t.backbone for t in plan("part_segmentation")}
        assert [t.seed for t in chosen] == sorted(t.seed for t in chosen)

    def test_named_ones_once(self):
        assert plan("classification", ["parot", "fa_pointnet"], ["z"]) == [
            Trial("parot"), Trial("fa_pointnet")]
        assert plan("classification", ["parot"], ["so3"], [3, 5]) == [
            Trial("parot", "so3", 3), Trial("parot", "so3", 5)]

    def test_bad_names(self):
        with pytest.raises(UnknownNameError):
            plan("classification", ["parrot"])
        with pytest.raises(UsageError, match="does not do normals"):
            plan("normals", ["parot"])

    def test_nothing_chooses_the_epoch(self):
        config = config_of(B, "classification", SETTINGS)
        assert config.data.val_fraction == 0 and config.data.protocol == "so3/so3"
        assert (config.seed, config.model.backbone) == (1, "parot")

    def test_the_recipe_of_a_backbone_is_used(self):
        assert config_of(Trial("vsformer"), "classification").augment.dropout == 0.2


class TestRun:
    def test_trains_measures_and_repeats_nothing(self, tmp_path, monkeypatch):
        seen = []
        rows = run_trials(configs(A, B), tmp_path, callback=lambda *told: seen.append(told))
        assert [row.trial for row in rows] == [A, B] and list(rows_in(tmp_path)) == [rows[1],
                                                                                     rows[0]]
        assert [(done, total) for done, total, _ in seen] == [(0, 2), (1, 2), (2, 2)]
        row = rows[0]
        assert set(row.metrics) == {"none", "z", "so3"} and row.num_samples == 9
        assert row.metrics["none"] == pytest.approx(row.metrics["so3"], abs=1e-4)  # invariant
        assert row.num_parameters > 0 and row.train_s > 0 and row.symmetry == "SO(3)"
        monkeypatch.setattr(trial_store, "train", None)
        assert run_trials(configs(A, B), tmp_path) == rows
        assert rows[0].settings["train.epochs"] == 2

    def test_an_interrupted_one_goes_on_to_the_same_end(self, tmp_path, monkeypatch):
        whole = run_trials(configs(A, epochs=3), tmp_path / "whole")[0]

        def stop(trial, tick):
            if tick.step == 5:
                request.requested = True

        made = signals.StopRequest.__init__
        request = None

        def keep(self):
            nonlocal request
            made(self)
            request = self

        monkeypatch.setattr(signals.StopRequest, "__init__", keep)
        with pytest.raises(Interrupted):
            run_trials(configs(A, epochs=3), tmp_path / "cut", watch=stop)
        assert not (tmp_path / "cut" / A.name / MEASURED).exists()
        again = run_trials(configs(A, epochs=3), tmp_path / "cut")[0]
        assert again.metrics == whole.metrics

    def test_one_that_was_trained_but_not_measured(self, tmp_path):
        row = run_trials(configs(A), tmp_path)[0]
        (tmp_path / A.name / MEASURED).unlink()
        again = run_trials(configs(A), tmp_path)[0]
        assert again.metrics == row.metrics

    def test_other_settings_are_refused(self, tmp_path):
        run_trials(configs(A), tmp_path)
        with pytest.raises(UsageError, match=r"train\.epochs"):
            run_trials(configs(A, epochs=4), tmp_path)
        (tmp_path / A.name / MEASURED).unlink()
        with pytest.raises(UsageError, match=r"optim\.lr"):
            run_trials(configs(A, settings=[*SETTINGS, "optim.lr=0.5"]), tmp_path)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"trial": {"backbone": "x", "y": 1}}'])
    def test_a_damaged_measure_is_named(self, tmp_path, text):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / MEASURED).write_text(text)
        with pytest.raises(CheckpointError, match="not what was measured"):
            read_row(tmp_path / "x")

    def test_what_is_not_a_trial_is_no_row(self, tmp_path):
        run_trials(configs(A), tmp_path)
        shutil.copytree(tmp_path / A.name, tmp_path / "other")
        fields = json.loads((tmp_path / "other" / MEASURED).read_text())
        assert fields["trial"]["backbone"] == "risurconv"
        (tmp_path / "other" / MEASURED).unlink()
        assert [row.trial for row in rows_in(tmp_path)] == [A]
