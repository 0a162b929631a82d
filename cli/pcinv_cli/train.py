"""`pcinv train`: from a data set, or the generated shapes, to a run folder with everything."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.config import resolve
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk

_FLAGS = {"backbone": "model.backbone", "task": "model.task", "preset": "model.preset",
          "dataset": "data.dataset", "root": "data.root", "protocol": "data.protocol",
          "epochs": "train.epochs", "device": "train.device", "seed": "seed"}


@verb("train", "Train a backbone; on generated shapes unless a data set is named.", (
    ("pcinv train --backbone risurconv", "on the generated shapes: nothing to download"),
    ("pcinv train --backbone risurconv --dataset modelnet10 --root DIR --protocol z/so3",
     "on your copy of a data set"),
    ("pcinv train --resume RUN", "go on where an interrupted run stopped"),
), output={"metavar": "RUN", "help": "Run folder.  [default: a new one below runs]"}, device={},
    seed={}, config={}, set={}, dry_run={}, force={})
@click.option("--backbone", type=params.BACKBONE, metavar="NAME",
              help="Backbone, see pcinv models.  [default: risurconv]")
@click.option("--task", type=params.TASK, metavar="NAME",
              help="classification or part_segmentation.  [default: classification]")
@click.option("--preset", type=params.PRESET, metavar="light|paper",
              help="Sizes of the network.  [default: the backbone's first]")
@click.option("--dataset", type=params.DATASET, metavar="NAME",
              help="Data set, see pcinv data list.  [default: shapes]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--protocol", type=params.PROTOCOL, metavar="z/z|z/so3|so3/so3",
              help="Rotations in training / in testing.  [default: z/so3]")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Passes over the data.")
@click.option("--resume", type=params.RUN, metavar="RUN",
              help="Go on with this run; everything is taken from its folder.")
def command(talk: Talk, output: str | None, resume: str | None, config_file: str | None,
            settings: tuple[str, ...], dry_run: bool, force: bool, **options: Any) -> Outcome:
    """Resolve the configuration, train, evaluate, and say what to run next."""
    given = {name: value for name, value in options.items() if value is not None}
    flags = {_FLAGS[name]: value for name, value in given.items()}
    config, sources = resolve(config_file, settings, flags)
    return Outcome({}, lambda t: None)
