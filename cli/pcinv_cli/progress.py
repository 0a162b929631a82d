"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from pcinv_cli.output import Talk

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Context whose `show` tells where a verb stands; silent where talk wants no progress."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.bar: Any = None
        self.task: Any = None
        self.last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self.talk.progress and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(),
                TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[left]}"),
                console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("starting", total=None, left="")
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def show(self, text: str, unit: str, done: int, total: int, left_s: float) -> None:
        """Move the bar, or print a line if the last one was some time ago."""
        left = f"{duration(left_s)} left"
        if self.bar is not None:
            self.bar.update(self.task, description=text, completed=done, total=total, left=left)
            return
        now = time.monotonic()
        if now - self.last_line >= _SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.talk.say(f"{text}, {unit} {done}/{total}, {left}")


class TrainingProgress(Progress):
    """Its call takes a `Tick` of the trainer."""

    latest = ""

    def __call__(self, tick: Any) -> None:
        """Show where training stands."""
        if not self.talk.progress:
            return
        if tick.metrics is not None:
            self.latest = validated(tick.metrics)
        self.show(f"epoch {tick.epoch}/{tick.epochs}, loss {tick.loss:.3f}{self.latest}", "step",
                  tick.step, tick.total, tick.eta_s)


class PairProgress(Progress):
    """Its call takes what a benchmark of pairs tells: pairs done, of all, and the last one."""

    start = 0.0
    before = 0
    trusted = 0

    def __call__(self, done: int, total: int, row: dict[str, Any] | None) -> None:
        """Show how many pairs are done; those that were done before the start take no time."""
        if not self.talk.progress:
            return
        if row is None:
            self.start, self.before = time.monotonic(), done
            if done:
                self.talk.say(f"{done} of {total} pairs are done already")
            return
        self.trusted += row["verdict"] == "trusted"
        new = done - self.before
        left = (time.monotonic() - self.start) / new * (total - done)
        self.show(f"{self.trusted} of {new} answers trusted", "pair", done, total, left)


class TrialProgress(Progress):
    """Its call takes what a comparison of backbones tells: trials done, of all, and the last."""

    start = 0.0
    before = 0

    def __call__(self, done: int, total: int, row: Any) -> None:
        """Say what each trial reached as soon as it is done."""
        if not self.talk.progress:
            return
        if row is None:
            self.start, self.before = time.monotonic(), done
            if done:
                self.talk.say(f"{done} of {total} trainings are done already")
            return
        left = (time.monotonic() - self.start) / (done - self.before) * (total - done)
        self.talk.say(f"{done}/{total} {row.trial.name}: {self.tell(row)}, trained in "
                      f"{duration(row.train_s)}, about {duration(left)} left")
        if self.bar is not None:
            self.bar.update(self.task, description=row.trial.name, completed=done, total=total,
                            left=f"{duration(left)} left")

    def tell(self, row: Any) -> str:
        """Return what a trial reached."""
        name, value = next(iter(row.metrics["so3"].items()))
        return f"{name} {value:.3f} turned in any way"

    def watch(self, trial: Any, tick: Any) -> None:
        """Show where the training is that runs now."""
        if self.talk.progress:
            self.show(f"{trial.name}, epoch {tick.epoch}/{tick.epochs}, loss {tick.loss:.3f}",
                      "step", tick.step, tick.total, tick.eta_s)


def validated(line: dict[str, Any]) -> str:
    """Return the first metric of the validation part, as text to go on with."""
    for name, value in line.items():
        if name.startswith("val_") and isinstance(value, int | float):
            return f", validation {name.removeprefix('val_')} {value:.3f}"
    return ""


def duration(seconds: float) -> str:
    """Return seconds as `42 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
