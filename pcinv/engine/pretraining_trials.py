"""What pretraining is worth: the same trainings from scratch and from pretrained backbones.

A folder holds one run for each pretraining and trial, and what was measured of each; what is there
is not repeated, and what was interrupted goes on. Every trial of a task has as many steps, however
few labels it sees; nothing chooses the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pcinv.engine import trial_store
from pcinv.engine.config import Config, flatten, load_config, to_tree
from pcinv.engine.files import make_folder
from pcinv.engine.lidar_eval import evaluate_lidar, measure_equivariance
from pcinv.engine.lidar_scans import load_scans
from pcinv.engine.loading import load_model
from pcinv.engine.progress import Tick
from pcinv.errors import UsageError, unknown_name
from pcinv.models.pillar_bev import PillarBEV

STARTS = {
    "scratch": None,
    "contrast": ("contrast",),
    "all": ("contrast", "rotation", "flow"),
    "rotation": ("rotation",),
    "flow": ("flow",),
    "contrast-rotation": ("contrast", "rotation"),
    "contrast-flow": ("contrast", "flow"),
}
"""Where a training begins: objectives of its pretraining, None where there was none."""
MAIN = ("scratch", "contrast", "all")
"""What is compared unless told otherwise; the others are for an ablation."""
TASKS = ("probe", "segmentation", "detection")
"""`probe` is segmentation by a linear head on a backbone that stays as it is."""
FRACTIONS = (0.01, 0.05, 0.2, 1.0)


@dataclass(frozen=True)
class Trial:
    """One training. start : of `STARTS`.  fraction : of the labels."""

    task: str
    start: str
    fraction: float = 1.0

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        if self.task == "pretraining":
            return f"pretraining-{self.start}"
        return f"{self.task}-{self.start}-{self.fraction:g}"


@dataclass(frozen=True)
class Row:
    """What was measured of a trial.

    metrics : of the test split; of a pretraining of the scans it saw last.
    equivariance : change -> likeness and share retrieved, of pretrainings and of probes.
    num_scans : that were learned from.  train_s : seconds of all epochs.
    """

    trial: Trial
    metrics: dict[str, float]
    per_class: dict[str, float]
    equivariance: dict[str, dict[str, float]]
    settings: dict[str, Any]
    num_scans: int
    num_test: int
    train_s: float


def plan(tasks: Sequence[str] = (), starts: Sequence[str] = (), fractions: Sequence[float] = ()
         ) -> list[Trial]:
    """Return the trials of a comparison, pretrainings first, then the quickest ones.

    Raises UnknownNameError for a task or start, UsageError for a share that is none.
    """
    for kind, given, known in (("task", tasks, TASKS), ("start", starts, STARTS)):
        for name in given:
            if name not in known:
                raise unknown_name(kind, name, known)
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise UsageError(f"{fraction:g} is no share of labels", where="fractions",
                             hint="above 0, 1 at most")
    tasks, starts, fractions = tasks or TASKS, starts or MAIN, fractions or FRACTIONS
    first = [Trial("pretraining", start) for start in starts if STARTS[start] is not None]
    probes = [Trial("probe", start) for start in starts if "probe" in tasks]
    return first + probes + [Trial(task, start, fraction) for fraction in sorted(fractions)
                             for task in tasks if task != "probe" for start in starts]


def config_of(trial: Trial, output: str | Path, settings: Iterable[str] = (), *,
              epochs: int | None = None, pretrain_epochs: int | None = None, **flags: Any
              ) -> Config:
    """Return the configuration of a trial. settings : texts `key=value`, of all trials."""
    objectives = STARTS[trial.start]
    own: dict[str, Any] = {"model.backbone": "pillar_bev", "data.val_fraction": 0.0}
    if trial.task == "pretraining":
        own |= {"model.task": "pretraining", "train.epochs": pretrain_epochs}
        own |= {f"pretrain.{name}": 0.0 for name in ("contrast", "rotation", "flow")
                if name not in (objectives or ())}
        return load_config(overrides=settings, flags={**flags, **own})[0]
    own |= {"model.task": "segmentation" if trial.task == "probe" else trial.task,
            "data.label_fraction": trial.fraction, "train.epochs": epochs}
    if objectives is not None:
        own["model.init"] = str(Path(output) / Trial("pretraining", trial.start).name)
    extra = ["model.overrides.probe=true"] if trial.task == "probe" else []
    return load_config(overrides=[*settings, *extra], flags={**flags, **own})[0]


def run_trials(
    configs: dict[Trial, Config], output: str | Path, *, device: str = "auto",
    callback: Callable[[int, int, Row | None], None] | None = None,
    watch: Callable[[Trial, Tick], None] | None = None,
) -> list[Row]:
    """Train and measure what the folder does not hold yet; return the rows of these trials.

    callback : called with the rows that are done, of all, and the newest; first with None.
    watch : called after each step of a training.

    Raises
    ------
    UsageError where the folder holds a trial with other settings.
    Interrupted after SIGINT or SIGTERM; the same call goes on.
    """
    folder = Path(output)
    make_folder(folder)
    rows = trial_store.held(configs, folder, _row)
    if callback is not None:
        callback(len(rows), len(configs), None)
    for trial, config in configs.items():
        if trial not in rows:
            rows[trial] = _run(trial, config, folder / trial.name, device, watch)
            if callback is not None:
                callback(len(rows), len(configs), rows[trial])
    return [rows[trial] for trial in configs]


def rows_in(output: str | Path) -> list[Row]:
    """Return the rows of all trials that a folder holds, by name."""
    return list(trial_store.rows_in(output, _row))


def read_row(run: Path) -> Row | None:
    """Return what was measured of the trial in this folder, None where nothing was.

    Raises CheckpointError for a file that is not whole.
    """
    return trial_store.read_row(run, _row)


def _row(fields: dict[str, Any]) -> Row:
    return Row(**{**fields, "trial": Trial(**fields["trial"])})


def _run(trial: Trial, config: Config, run: Path, device: str,
         watch: Callable[[Trial, Tick], None] | None) -> Row:
    callback = None if watch is None else lambda tick: watch(trial, tick)
    done = trial_store.train_in(run, config, callback)
    loaded = load_model(run, which="last")
    equivariance: dict[str, dict[str, float]] = {}
    if trial.task == "probe" and isinstance(loaded.model, PillarBEV):
        pool = load_scans(config, "test", loaded.model.hyper.reach)
        equivariance = {name: asdict(found) for name, found in
                        measure_equivariance(loaded.model, pool).items()}
    if trial.task == "pretraining":
        metrics, per_class, count = done.last_metrics, {}, 0
    else:
        found = evaluate_lidar(loaded, device=device)
        metrics, per_class, count = found.metrics, found.per_class, found.num_samples
    row = Row(trial=trial, metrics=metrics, per_class=per_class, equivariance=equivariance,
              settings=flatten(to_tree(loaded.meta.config)), num_scans=done.num_samples,
              num_test=count,
              train_s=trial_store.seconds(run))
    trial_store.write_row(run, row)
    return row
