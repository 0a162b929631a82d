"""Run folders: `runs/<date>-<backbone>-<dataset>-<k>/` with everything that a run was and gave.

config.toml, env.json, metrics.jsonl, log.txt, checkpoints/step-…/, and the one-line files `best`
and `last` that name a checkpoint.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import pcinv
from pcinv.engine.config import Config, dump_config, from_tree
from pcinv.engine.files import make_folder, write_atomic
from pcinv.errors import CheckpointError, UsageError

CONFIG, ENV, METRICS, LOG, CHECKPOINTS = (
    "config.toml", "env.json", "metrics.jsonl", "log.txt", "checkpoints")


def create_run(
    config: Config, output: str | Path | None, device: str, *, force: bool = False
) -> Path:
    """Make the folder of a new run and write its configuration and environment.

    output : the folder; a new one below `runs/` where None.
    force : use a folder that is not empty, too; an older run in it is replaced.

    Raises
    ------
    UsageError for a folder that is not empty, LimitError where it cannot be written.
    """
    if output is None:
        run = _new_folder(config)
    else:
        run = Path(output)
        if run.exists() and (not run.is_dir() or any(run.iterdir())) and not force:
            raise UsageError(f"'{run}' is not empty", where="output",
                             hint="choose another folder, --resume it, or --force")
        make_folder(run)
        _forget_older(run)
    make_folder(run / CHECKPOINTS)
    write_atomic(run / CONFIG, dump_config(config).encode())
    write_atomic(run / ENV, json.dumps(environment(config.seed, device), indent=2).encode())
    return run


def _forget_older(run: Path) -> None:
    """Remove what an older run in this folder would mix into the new one."""
    if not ((run / CONFIG).is_file() and (run / ENV).is_file()):
        return  # a folder of somebody else's files, whatever their names
    for name in (METRICS, LOG, "best", "last"):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)


def _new_folder(config: Config) -> Path:
    date = datetime.date.today().isoformat()
    stem = f"{date}-{config.model.backbone}-{config.data.dataset}".replace(os.sep, "_")
    make_folder(Path("runs"))
    number = 1
    while True:
        run = Path("runs") / f"{stem}-{number}"
        if make_folder(run, exist_ok=False):
            return run
        number += 1


def open_run(path: str | Path) -> tuple[Path, Config]:
    """Return a run's folder and its configuration.

    Raises
    ------
    CheckpointError where the folder is no run of pcinv.
    """
    run = Path(path)
    try:
        tree = tomllib.loads((run / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{run}' is not a run folder: {error}", where=str(run / CONFIG),
                              hint="give the folder that pcinv train wrote") from error
    return run, from_tree(tree, str(run / CONFIG))


def versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    packages = ("torch", "numpy", "accelerate", "safetensors")
    return {"pcinv": pcinv.__version__, "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages}}


def environment(seed: int, device: str) -> dict[str, Any]:
    """Return what a person needs to know to repeat a run, besides its configuration."""
    gpu = torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else None
    return {
        "versions": versions(),
        "git_commit": _git_commit(),
        "platform": platform.platform(),
        "device": device,
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "seed": seed,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str | None:
    root = Path(pcinv.__file__).parent.parent
    if not (root / ".git").exists():  # installed: a commit of the folder around it says nothing
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


@contextlib.contextmanager
def log_to(path: Path | None) -> Iterator[None]:
    """Write what the library logs, from INFO up, to a file as well, unless `path` is None."""
    if path is None:
        yield
        return
    logger = logging.getLogger("pcinv")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
