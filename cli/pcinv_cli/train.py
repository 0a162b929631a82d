"""`pcinv train`: from a data set, or the generated shapes, to a run folder with everything."""

from __future__ import annotations

import json
from typing import Any

import click

from pcinv.errors import DatasetError, UsageError
from pcinv_cli import params
from pcinv_cli.config import resolve, show_values, tree_of
from pcinv_cli.evaluate import figures
from pcinv_cli.fields import show_fields
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.progress import TrainingProgress

_FLAGS = {"backbone": "model.backbone", "task": "model.task", "preset": "model.preset",
          "head": "model.head", "init": "model.init",
          "dataset": "data.dataset", "root": "data.root", "protocol": "data.protocol",
          "epochs": "train.epochs", "device": "train.device", "seed": "seed"}


@verb("train", "Train a backbone; on generated shapes unless a data set is named.", (
    ("pcinv train --backbone risurconv", "on the generated shapes: nothing to download"),
    ("pcinv train --backbone risurconv --dataset modelnet10 --root DIR --protocol z/so3",
     "on your copy of a data set"),
    ("pcinv train --resume RUN", "go on where an interrupted run stopped"),
), output={"metavar": "RUN", "help": "Run folder.  [default: a new one below runs]"}, device={},
    seed={"help": "Seed of all random numbers.  [default: 0]"}, config={}, set={}, dry_run={},
    force={})
@click.option("--backbone", type=params.BACKBONE, metavar="NAME",
              help="Backbone, see pcinv models.  [default: risurconv]")
@click.option("--task", type=params.TASK, metavar="NAME",
              help="classification, part_segmentation, normals, matching, pose.  [default: "
                   "classification]; of LiDAR scans segmentation, detection")
@click.option("--preset", type=params.PRESET, metavar="light|paper",
              help="Sizes of the network.  [default: the backbone's first]")
@click.option("--head", type=params.HEAD, metavar="linear|matryoshka|relative",
              help="Of a classifier; matryoshka: short vectors to search with.  [default: linear]")
@click.option("--init", type=params.RUN, metavar="RUN",
              help="Begin with the backbone of this run; of pcinv pretrain.")
@click.option("--dataset", type=params.DATASET, metavar="NAME",
              help="Data set, see pcinv data list.  [default: shapes]")
@click.option("--root", type=click.Path(), metavar="DIR", help="Folder of your copy of it.")
@click.option("--protocol", type=params.PROTOCOL, metavar="z/z|z/so3|so3/so3",
              help="Rotations in training / in testing.  [default: z/so3]")
@click.option("--epochs", type=click.IntRange(1), metavar="N",
              help="Passes over the data.  [default: 30]")
@click.option("--resume", type=params.RUN, metavar="RUN",
              help="Go on with this run; everything is taken from its folder.")
def command(talk: Talk, output: str | None, resume: str | None, config_file: str | None,
            settings: tuple[str, ...], dry_run: bool, force: bool, **options: Any) -> Outcome:
    """Resolve the configuration, train, measure on the test split, say what to run next."""
    from pcinv.tasks import LIDAR_TASKS

    flags = {_FLAGS[name]: value for name, value in options.items()}
    config, sources = (resolve(config_file, settings, flags) if resume is None
                       else resumed_config(resume, config_file, settings, flags))
    if config.data.dataset == "shapes" and sources.get("data.dataset") == "default":
        talk.say("training on the generated shapes; for a real data set: --dataset NAME --root DIR "
                 "(pcinv data list)")
    is_matching = config.model.task == "matching"
    is_lidar = config.model.task in LIDAR_TASKS
    if dry_run and is_lidar:
        from pcinv_cli.pretrain import _plan as plan_scans

        return plan_scans(config, sources)
    if dry_run:
        return _plan_matching(config, sources) if is_matching else _plan(config, sources)

    from pcinv.engine.trainer import train

    with TrainingProgress(talk) as progress:
        run = train(config, output=output, resume=resume, force=force, callback=progress)
    if not talk.speaks:
        return Outcome({}, lambda t: None)
    if config.model.task == "pretraining":
        return Outcome({"run": run.path, "weights": run.weights, "metrics": run.metrics},
                       lambda t: t.result(f"run: {run.path}"))
    return _matched(run, config) if is_matching else _measured(talk, run, config)


def resumed_config(resume: str, config_file: str | None, settings: tuple[str, ...],
             flags: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """Return the run's own configuration with changes; the trainer says which are allowed."""
    if config_file is not None:
        raise UsageError("--config and --resume exclude each other", where="--config",
                         hint="a run goes on with its own configuration; --epochs may change")
    from pcinv.engine.config import apply_overrides
    from pcinv.engine.runs import open_run

    _, config = open_run(resume)
    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    return apply_overrides(config, [*settings, *given]), {}


def _plan(config: Any, sources: dict[str, str]) -> Outcome:
    """Say what would be trained on what, and write nothing."""
    from pcinv.engine.datasets import labels_of, load_split
    from pcinv.engine.loading import build_model
    from pcinv.tasks import get_task

    splits = ["train", "val", "test"] if config.data.val_fraction > 0 else ["train", "test"]
    data = {split: load_split(config, split) for split in splits}
    labels = labels_of(data["train"], config.model.task)
    told = len(labels.class_names) if config.model.task == "part_segmentation" else 0
    model = build_model(config, labels, told if told > 1 else 0)
    sizes = {
        "num_clouds": {split: len(clouds) for split, clouds in data.items()},
        "num_outputs": get_task(config.model.task).functions.num_outputs(labels),
        "num_parameters": sum(p.numel() for p in model.parameters()),
    }
    return _planned(config, sources, sizes)


def _plan_matching(config: Any, sources: dict[str, str]) -> Outcome:
    """Say what would be trained, and make no rooms."""
    from pcinv.engine.loading import build_model
    from pcinv.tasks import Labels

    model = build_model(config, Labels(()), 0)
    sizes = {"num_parameters": sum(p.numel() for p in model.parameters())}
    return _planned(config, sources, sizes)


def _planned(config: Any, sources: dict[str, str], sizes: dict[str, Any]) -> Outcome:
    def show(talk: Talk) -> None:
        show_values(talk, config, sources)
        talk.result()
        show_fields(talk, sizes)

    return Outcome({"config": tree_of(config), "sources": sources, "sizes": sizes,
                    "written": False}, show)


def _matched(run: Any, config: Any) -> Outcome:
    """Show what a matcher reached on the rooms kept for validation."""
    how = "--method " + ("roitr" if config.model.backbone == "roitr" else "patch")
    following = [f"pcinv register A B {how} --weights {run.path}",
                 f"pcinv benchmark registration --dataset rooms {how} --weights {run.path}"]
    result = {"run": run.path, "weights": run.weights, "dataset": run.dataset,
              "num_samples": run.num_samples, "metrics": run.metrics, "next": following}

    def show(talk: Talk) -> None:
        talk.result(f"validation: {figures(run.metrics)}")
        talk.result(f"run: {run.path}")
        talk.say("next:")
        for line in following:
            talk.say(f"  {line}")

    return Outcome(result, show)


def _measured(talk: Talk, run: Any, config: Any) -> Outcome:
    """Measure the run on the test split, turned as the protocol says and unturned."""
    from pcinv.engine.evaluator import evaluate
    from pcinv.tasks import LIDAR_TASKS

    result = {"run": run.path, "weights": run.weights, "dataset": run.dataset,
              "rotation": run.rotation, "num_samples": run.num_samples, "metrics": run.metrics}
    lines = []
    try:
        for rotation in dict.fromkeys((run.rotation, "none")):
            talk.say(f"measuring on the test split, rotation {rotation}")
            fields = to_plain(evaluate(run.path, rotation=rotation, device=config.train.device,
                                       limit=config.data.limit))
            lines.append(f"test, rotation {rotation}: {figures(fields['metrics'])}")
            if rotation == run.rotation:
                result |= {"metrics": fields["metrics"], "num_samples": fields["num_samples"]}
            if rotation == "none":
                result["metrics_unrotated"] = fields["metrics"]
    except DatasetError as error:
        talk.warn("no-test-split", f"metrics are those of the validation part: {error.message}")
        lines = [f"validation, rotation {run.rotation}: {figures(run.metrics)}"]
    task = config.model.task
    if task == "flow":
        following = [f"pcinv flow A B --method student --weights {run.path}"]
    elif task in LIDAR_TASKS:
        following = [f"pcinv eval {run.path} --rotation z"]
    else:
        following = [f"pcinv eval {run.path} --rotation so3", f"pcinv check {run.path}"]
        if task != "pose":
            following.append(f"pcinv predict {run.path} FILE")

    def show(talk: Talk) -> None:
        for line in lines:
            talk.result(line)
        talk.result(f"run: {run.path}")
        talk.say("next:")
        for command_line in following:
            talk.say(f"  {command_line}")

    return Outcome({**result, "next": following}, show)
