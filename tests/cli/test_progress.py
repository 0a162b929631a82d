"""Progress of a training: a line now and then, none when it is not wanted."""

from types import SimpleNamespace

import pytest

from pcinv_cli.output import Talk
from pcinv_cli.progress import TrainingProgress, duration


def tick(step, metrics=None):
    return SimpleNamespace(epoch=1 + step // 10, epochs=3, step=step, total=30, loss=0.5,
                           eta_s=100.0, metrics=metrics)


@pytest.fixture
def talk(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("pcinv_cli.progress.time.monotonic", lambda: next(clock))
    return Talk()


def test_a_plain_line_every_few_seconds(talk, capsys):
    with TrainingProgress(talk) as progress:
        for step in range(20):  # one second each
            progress(tick(step, {"val_oa": 0.75} if step == 9 else None))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "epoch 1/3, loss 0.500, step 4/30, 1 min 40 s left"
    assert lines[-1] == "epoch 2/3, loss 0.500, validation oa 0.750, step 19/30, 1 min 40 s left"


@pytest.mark.parametrize("settings", [{"quiet": True, "progress": True},
                                      {"quiet": False, "progress": False}])
def test_no_progress_when_it_is_not_wanted(talk, capsys, settings):
    talk.settle(verbose=0, debug=False, **settings)
    with TrainingProgress(talk) as progress:
        for step in range(20):
            progress(tick(step))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"),
                                               (7500, "2 h 5 min")])
def test_duration(seconds, text):
    assert duration(seconds) == text
