"""`pcinv pretrain`: a LiDAR backbone from scans without labels, to begin other trainings with."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.config import resolve, show_values, tree_of
from pcinv_cli.evaluate import figures
from pcinv_cli.fields import show_fields
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk
from pcinv_cli.progress import TrainingProgress
from pcinv_cli.train import resumed_config

OBJECTIVES = ("contrast", "rotation", "flow")
_FLAGS = {"backbone": "model.backbone", "preset": "model.preset", "dataset": "data.dataset",
          "root": "data.root", "epochs": "train.epochs", "device": "train.device", "seed": "seed"}


@verb("pretrain", "Pretrain a LiDAR backbone on scans without labels.", (
    ("pcinv pretrain -o RUN", "on generated streets: nothing to download"),
    ("pcinv pretrain --dataset kitti --root DIR --objective contrast --objective rotation",
     "on your copy of a data set, without flow"),
    ("pcinv train --backbone pillar_bev --task detection --init RUN "
     "--set data.label_fraction=0.05", "what it is for: few labels"),
), output={"metavar": "RUN", "help": "Run folder.  [default: a new one below runs]"}, device={},
    seed={"help": "Seed of all random numbers.  [default: 0]"}, config={}, set={}, dry_run={},
    force={})
@click.option("--objective", "objectives", type=click.Choice(OBJECTIVES), multiple=True,
              help="What is learned; may be repeated.  [default: all three]")
@click.option("--backbone", type=params.BACKBONE, metavar="NAME",
              help="A network of LiDAR scans, see pcinv models.  [default: pillar_bev]")
@click.option("--preset", type=params.PRESET, metavar="light|large",
              help="Sizes of the network.  [default: light]")
@click.option("--dataset", type=params.SCANS, metavar="NAME",
              help="lidar_sim, or a layout of --root.  [default: lidar_sim, generated]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--epochs", type=click.IntRange(1), metavar="N",
              help="Passes over the scans.  [default: 8]")
@click.option("--resume", type=params.RUN, metavar="RUN",
              help="Go on with this run; everything is taken from its folder.")
def command(talk: Talk, output: str | None, resume: str | None, config_file: str | None,
            settings: tuple[str, ...], dry_run: bool, force: bool, objectives: tuple[str, ...],
            **options: Any) -> Outcome:
    """Resolve the configuration, pretrain, say what to do with it."""
    flags: dict[str, Any] = {_FLAGS[name]: value for name, value in options.items()}
    if objectives:
        flags |= {f"pretrain.{name}": 0.0 for name in OBJECTIVES if name not in objectives}
    if resume is None:
        flags |= {"model.task": "pretraining",
                  "model.backbone": flags["model.backbone"] or "pillar_bev"}
        config, sources = resolve(config_file, settings, flags)
    else:
        config, sources = resumed_config(resume, config_file, settings, flags)
    if config.data.dataset == "lidar_sim" and config.data.root is None:
        talk.say("pretraining on generated streets; for scans of your own: --dataset NAME "
                 "--root DIR")
    if dry_run:
        return _plan(config, sources)

    from pcinv.engine.pretrain import pretrain

    with TrainingProgress(talk) as progress:
        run = pretrain(config, output=output, resume=resume, force=force, callback=progress)
    following = [f"pcinv train --backbone {config.model.backbone} --task {task} "
                 f"--init {run.path}" for task in ("segmentation", "detection")]
    result = {"run": run.path, "weights": run.weights, "dataset": run.dataset,
              "num_samples": run.num_samples, "metrics": run.metrics,
              "objectives": [name for name in OBJECTIVES if getattr(config.pretrain, name) > 0],
              "next": following}
    if min(run.metrics.get(name, 1.0) for name in ("point_spread", "cell_spread")) < 0.5:
        talk.warn("collapsed", "the features of all points are much alike: the objectives were "
                               "met without learning anything")

    def show(t: Talk) -> None:
        t.result(figures(run.metrics))
        t.result(f"run: {run.path}")
        t.say("next:")
        for line in following:
            t.say(f"  {line}")

    return Outcome(result, show)


def _plan(config: Any, sources: dict[str, str]) -> Outcome:
    """Say what would be pretrained on what, and write nothing."""
    from pcinv.engine.lidar import load_pools
    from pcinv.engine.loading import build_model
    from pcinv.tasks import Labels

    train, held = load_pools(config)
    model = build_model(config, Labels(()), 0)
    sizes = {"num_scans": {"train": len(train), "val": 0 if held is None else len(held)},
             "num_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad)}

    def show(talk: Talk) -> None:
        show_values(talk, config, sources)
        talk.result()
        show_fields(talk, sizes)

    return Outcome({"config": tree_of(config), "sources": sources, "sizes": sizes,
                    "written": False}, show)
