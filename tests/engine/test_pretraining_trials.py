"""What pretraining is worth: the comparison, in small; must hold 22 in a shortened form."""

import json

import pytest
from helpers.tiny_streets import NETWORK, STREETS

from pcinv.engine import pretraining_trials as trials
from pcinv.errors import UnknownNameError, UsageError

SETTINGS = [f"model.overrides={{{', '.join(f'{k}={json.dumps(v)}' for k, v in NETWORK.items())}}}",
            f"data.options={{{', '.join(f'{k}={v}' for k, v in STREETS.items())}}}",
            "data.num_points=400", "train.batch_size=2", "pretrain.matches=64",
            "train.device='cpu'"]


def test_the_plan():
    chosen = trials.plan(fractions=(1.0, 0.05))
    assert [t.name for t in chosen[:2]] == ["pretraining-contrast", "pretraining-all"]
    assert len({t.name for t in chosen}) == len(chosen) == 2 + 3 + 12
    assert [t.fraction for t in chosen if t.task == "detection"] == [0.05] * 3 + [1.0] * 3
    assert trials.plan(["probe"], ["scratch"]) == [trials.Trial("probe", "scratch")]
    with pytest.raises(UnknownNameError):
        trials.plan(["probing"])
    with pytest.raises(UsageError):
        trials.plan(fractions=(1.5,))


def test_objectives_and_labels_of_trials():
    contrast, probe = (trials.config_of(trial, "OUT", SETTINGS, epochs=2) for trial in (
        trials.Trial("pretraining", "contrast"), trials.Trial("probe", "all")))
    assert (contrast.pretrain.contrast, contrast.pretrain.rotation, contrast.pretrain.flow) == (
        1.0, 0.0, 0.0)
    assert probe.model.task == "segmentation" and probe.model.overrides["probe"] is True
    assert probe.model.init == "OUT/pretraining-all"
    few = trials.config_of(trials.Trial("detection", "scratch", 0.05), "OUT", SETTINGS)
    assert few.model.init is None and few.data.label_fraction == 0.05
    assert few.data.val_fraction == 0.0


def test_22_trials_are_run_once_and_go_on(tmp_path):
    """The whole of it: `pcinv benchmark pretraining -o OUT --task probe`."""
    chosen = trials.plan(["probe", "detection"], ["scratch", "all"], (0.5,))
    configs = {trial: trials.config_of(trial, tmp_path, SETTINGS, epochs=2, pretrain_epochs=2)
               for trial in chosen}
    seen = []
    rows = trials.run_trials(configs, tmp_path, callback=lambda *told: seen.append(told[:2]))
    assert [row.trial for row in rows] == chosen and seen[-1] == (5, 5)
    probes = {row.trial.start: row for row in rows if row.trial.task == "probe"}
    assert all(0 <= row.metrics["miou_present"] <= 1 for row in probes.values())
    assert probes["all"].equivariance["flip"]["count"] == 512
    assert trials.rows_in(tmp_path) == sorted(rows, key=lambda row: row.trial.name)
    again = trials.run_trials(configs, tmp_path, callback=lambda *told: seen.append(told[:2]))
    assert again == rows and seen[-1] == (5, 5) and len(seen) == 7
    other = {chosen[0]: trials.config_of(chosen[0], tmp_path, SETTINGS, pretrain_epochs=3)}
    with pytest.raises(UsageError, match="other settings"):
        trials.run_trials(other, tmp_path)
