"""Pretraining of LiDAR backbones without labels, as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pcinv.engine.config import Config
from pcinv.engine.progress import Tick
from pcinv.engine.trainer import Run, train


def pretrain(
    config: Config, *, output: str | Path | None = None, resume: str | Path | None = None,
    force: bool = False, callback: Callable[[Tick], None] | None = None,
) -> Run:
    """Pretrain a LiDAR backbone without labels; the steps are `pcinv.engine.pretrain_steps`.

    Arguments and errors are those of `pcinv.train`; the run's backbone is what `model.init` of
    another training begins with.

    config : with a network of LiDAR scans in `model.backbone`, and objectives in `pretrain`; the
        task is set here.

    >>> config, _ = pcinv.load_config(flags={"model.backbone": "pillar_bev"})  # doctest: +SKIP
    >>> pcinv.pretrain(config, output="runs/pretrained").metrics["point_spread"]  # doctest: +SKIP
    0.93
    """
    config = replace(config, model=replace(config.model, task="pretraining"))
    return train(config, output=output, resume=resume, force=force, callback=callback)
