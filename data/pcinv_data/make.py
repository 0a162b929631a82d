"""Writing a generated data set to a folder: `shapes` as the loader `folder` reads it, streets."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import LimitError, UsageError
from pcinv.types import PointCloud
from pcinv_data.dataset import unit_ball
from pcinv_data.folder import PARTS_FILE
from pcinv_data.generate.classes import CLASS_NAMES, PART_LABELS, part_ids
from pcinv_data.registry import DATASETS, check_range, dataset_spec
from pcinv_data.shapes import generate

TRAIN_TO_TEST = 2
"""Training shapes of a class for each of its test shapes."""
MARK = "generated.json"
"""Settings of a generated set; only a folder with this file is ever replaced."""


def make_dataset(name: str, out: str | Path, *, per_class: int = 40, num_points: int = 1024,
                 seed: int = 0, noise: float = 0.0, format: str = "ply", scans: int = 100,
                 beams: int = 64, force: bool = False,
                 progress: Callable[[int, int], None] | None = None) -> dict[str, object]:
    """Write a generated data set as `<class>/{train,test}/<name>.<format>` with normals and parts.

    per_class : training shapes of a class; half as many are written for testing.
    scans, beams : of `lidar_sim`, which is written as `pcinv_data.lidar_sim.store` says.
    progress : called with the number of files written and of all files.

    Returns the folder and the number of files of each part. The folder appears when it is
    complete. Raises UsageError for a set that is not generated, or a folder that exists.
    """
    if name == "lidar_sim":
        from pcinv_data.lidar_sim.store import make_lidar_sim

        return make_lidar_sim(out, scans=scans, seed=seed, beams=beams, force=force,
                              progress=progress)
    if dataset_spec(name).needs_root:
        made = [n for n, spec in DATASETS.items() if not spec.needs_root] + ["lidar_sim"]
        raise UsageError(f"{name} is not generated", where="name",
                         hint=f"one of: {', '.join(made)}")
    check_range("per_class", per_class, 1, 100_000)
    check_range("num_points", num_points, 1, 1_000_000)
    out = Path(out)
    _check_place(out, force)
    settings = {"name": name, "per_class": per_class, "num_points": num_points, "seed": seed,
                "noise": noise}
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        aside.mkdir(parents=True)
        counts = _write_all(aside, settings, format, progress)
        if out.exists():
            shutil.rmtree(out)
        aside.rename(out)
    except OSError as error:
        raise LimitError(f"cannot write: {error.strerror}", where=str(out),
                         hint="choose a folder with room that you may write to") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return {"folder": str(out), "counts": counts, "num_classes": len(CLASS_NAMES)}


def _check_place(out: Path, force: bool) -> None:
    """Raise unless `out` is free, or is a set made before and may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MARK).is_file():
        raise UsageError("there is something else than a generated set", where=str(out),
                         hint="choose another folder")
    if not force:
        raise UsageError("the folder exists", where=str(out), hint="another name, or --force")


def _write_all(folder: Path, settings: dict[str, Any], format: str,
               progress: Callable[[int, int], None] | None) -> dict[str, int]:
    from pcinv.io import write

    per_class = settings["per_class"]
    counts = {"train": per_class, "test": max(1, per_class // TRAIN_TO_TEST)}
    total, done = sum(counts.values()) * len(CLASS_NAMES), 0
    for part, each in counts.items():
        for name in CLASS_NAMES:
            (folder / name / part).mkdir(parents=True, exist_ok=True)
        for index in range(each * len(CLASS_NAMES)):
            name = CLASS_NAMES[index % len(CLASS_NAMES)]
            raw = generate(settings["seed"], part, index, settings["num_points"], settings["noise"])
            labels = np.asarray(raw.part, dtype=np.uint8)
            cloud = PointCloud(unit_ball(raw.xyz, name),
                               attributes={"normal": np.asarray(raw.normal), "part": labels})
            write(folder / name / part / f"{name}_{index // len(CLASS_NAMES):04d}.{format}", cloud)
            done += 1
            if progress is not None:
                progress(done, total)
    parts = {name: part_ids()[k] for k, name in enumerate(CLASS_NAMES)}
    table = {"labels": PART_LABELS, "classes": parts}
    (folder / PARTS_FILE).write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    (folder / MARK).write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
    return {part: each * len(CLASS_NAMES) for part, each in counts.items()}
