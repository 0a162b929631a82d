"""Must hold 20: features that collapse are noticed, and those of the method do not."""

import pytest
from helpers.tiny_streets import tiny

from pcinv.engine.pretrain import pretrain
from pcinv.losses.lidar_ssl import COLLAPSED

WITHOUT = {"contrast": 0.0, "rotation": 0.0, "target": "online", "predictor": False}
"""Flow alone, with neither a target that follows nor a predictor: all alike is the best answer."""


@pytest.mark.parametrize("pretrain_keys, holds", [({"matches": 64}, True), (WITHOUT, False)])
def test_20_the_guard_sees_a_collapse(pretrain_keys, holds, tmp_path, caplog):
    config = tiny(pretrain=pretrain_keys, train={"epochs": 12}, optim={"weight_decay": 0.0})
    found = pretrain(config, output=tmp_path / "run").last_metrics
    assert (found["cell_spread"] > COLLAPSED) == holds
    last = caplog.records[-3:]
    assert any("cell_spread" in row.message and "collapsed" in row.message for row in last) != holds
