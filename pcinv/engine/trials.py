"""Backbones side by side: one training each, of equal length on equal data, and their measures.

A folder holds one run for each trial, and in it what was measured of it; a trial that is there is
not repeated, and one that was interrupted goes on. What a folder holds is the table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcinv.engine import trial_store
from pcinv.engine.config import Config, flatten, load_config, to_tree
from pcinv.engine.evaluator import evaluate
from pcinv.engine.files import make_folder
from pcinv.engine.loading import load_model
from pcinv.engine.progress import Tick
from pcinv.errors import Interrupted, UsageError
from pcinv.models.registry import BACKBONES, find_spec, get_spec
from pcinv.registration.jobs import answers

ROTATIONS = ("none", "z", "so3")
MAIN = ("risurconv", "parot", "fa_pointnet", "tinvnn")
"""Trained with three seeds, unless the trials are named."""


@dataclass(frozen=True)
class Trial:
    """One training.

    trained : rotation of the training clouds, "none", "z" or "so3".
    """

    backbone: str
    trained: str = "z"
    seed: int = 0
    preset: str | None = None

    @property
    def name(self) -> str:
        """Return the name of its folder, and of its row."""
        preset = "" if self.preset is None else f"-{self.preset}"
        return f"{self.backbone}{preset}-{self.trained}-{self.seed}"


@dataclass(frozen=True)
class Row:
    """What was measured of a trial, with the weights of the last epoch.

    metrics : rotation of the test clouds -> metrics of the task, as of `pcinv.evaluate`.
    settings : dotted key -> value of the configuration.
    num_parameters : of the network.  num_samples : test clouds.
    train_s : seconds of all epochs, on whatever machine and beside whatever else it was.
    """

    trial: Trial
    symmetry: str
    metrics: dict[str, dict[str, float]]
    settings: dict[str, Any]
    num_parameters: int
    num_samples: int
    train_s: float


def plan(
    task: str, backbones: Sequence[str] = (), trained: Sequence[str] = (),
    seeds: Sequence[int] = (), preset: str | None = None,
) -> list[Trial]:
    """Return the trials of a comparison, the quickest to learn from first.

    backbones : names; all that do the task where there are none, of these `MAIN` with three seeds.
    trained : rotations of the training clouds; where there are none "z" for all, and "so3" too for
        those that promise nothing, and one that does, to compare with.
    seeds : 0 where there are none.

    Raises UnknownNameError for a backbone or a preset, UsageError where one does not do the task.
    """
    named = bool(backbones)
    names = list(backbones) or [name for name, spec in BACKBONES.items() if task in spec.tasks]
    found = []
    for name in names:
        spec = get_spec(name)
        if task not in spec.tasks:
            raise UsageError(f"{name} does not do {task}, but {', '.join(spec.tasks)}",
                             where="backbone", hint="pcinv models lists who does what")
        first = name == MAIN[0] or (named and name == names[0])
        ways = trained or (("z", "so3") if spec.symmetry == "none" or first else ("z",))
        many = seeds or ((0, 1, 2) if name in MAIN and not named else (0,))
        found += [Trial(name, way, seed, preset) for way in ways for seed in many
                  if seeds or way == "z" or seed == 0]
    return sorted(found, key=lambda trial: (trial.seed, trial.trained != "z"))


def config_of(trial: Trial, task: str, settings: Iterable[str] = (), **flags: Any) -> Config:
    """Return the configuration of a trial: all clouds train, nothing chooses the epoch.

    settings : texts `key=value`.  flags : dotted key -> value, None where not given.
    """
    config, _ = load_config(overrides=("data.val_fraction=0.0", *settings), flags={
        **flags, "model.backbone": trial.backbone, "model.task": task, "seed": trial.seed,
        "model.preset": trial.preset, "data.protocol": f"{trial.trained}/so3"})
    return config


def run_trials(
    configs: dict[Trial, Config], output: str | Path, *, jobs: int = 1, device: str = "auto",
    callback: Callable[[int, int, Row | None], None] | None = None,
    watch: Callable[[Trial, Tick], None] | None = None,
) -> list[Row]:
    """Train and measure what the folder does not hold yet; return the rows of these trials.

    jobs : processes, one thread each, a training at a time in each of them.
    callback : called with the rows that are done, of all, and the newest; first with None.
    watch : called after each step of a training; only with one job.

    Raises
    ------
    UsageError where the folder holds a trial with other settings.
    Interrupted after SIGINT or SIGTERM; the same call goes on.
    """
    folder = Path(output)
    make_folder(folder)
    done = trial_store.held(configs, folder, _row)
    left = [(trial, config) for trial, config in configs.items() if trial not in done]
    if callback is not None:
        callback(len(done), len(configs), None)
    work = functools.partial(_run_one, folder=folder, device=device,
                             watch=watch if jobs == 1 else None)
    for answer in answers(work, left, jobs):
        if isinstance(answer, Interrupted):
            raise answer
        done[answer.trial] = answer
        if callback is not None:
            callback(len(done), len(configs), answer)
    return [done[trial] for trial in configs]


def rows_in(output: str | Path) -> Iterator[Row]:
    """Yield the rows of all trials that a folder holds, by name."""
    return trial_store.rows_in(output, _row)


def read_row(run: Path) -> Row | None:
    """Return what was measured of the trial in this folder, None where nothing was.

    Raises CheckpointError for a file that is not whole.
    """
    return trial_store.read_row(run, _row)


def _row(fields: dict[str, Any]) -> Row:
    return Row(**{**fields, "trial": Trial(**fields["trial"])})


def _run_one(
    item: tuple[Trial, Config], folder: Path, device: str,
    watch: Callable[[Trial, Tick], None] | None,
) -> Row | Interrupted:
    """Train, or go on with, one trial and measure it; an interruption travels as a value."""
    trial, config = item
    run = folder / trial.name
    callback = None if watch is None else functools.partial(watch, trial)
    try:
        trial_store.train_in(run, config, callback)
    except Interrupted as error:
        return error
    loaded = load_model(run, which="last")
    found = {rotation: evaluate(loaded, rotation=rotation, device=device)
             for rotation in ROTATIONS}
    spec = find_spec(trial.backbone)
    row = Row(
        trial=trial, symmetry="none" if spec is None else spec.symmetry,
        metrics={rotation: each.metrics for rotation, each in found.items()},
        settings=flatten(to_tree(loaded.meta.config)),
        num_parameters=sum(p.numel() for p in loaded.model.parameters()),
        num_samples=found["so3"].num_samples,
        train_s=trial_store.seconds(run),
    )
    trial_store.write_row(run, row)
    return row
