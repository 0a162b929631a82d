"""From the stored rows of a benchmark to the pairs that its page shows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcinv.errors import DatasetError

if TYPE_CHECKING:
    from pcinv.vis.registration_report import Clouds, Pair
    from pcinv_data.benchmark_pair import Row, Trial


class Rows:
    """The callback of a benchmark that keeps each row, and passes all on to another one."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress
        self.kept: dict[str, Row] = {}

    def __call__(self, done: int, total: int, row: Row | None) -> None:
        if row is not None:
            self.kept[row["name"]] = row
        self.progress(done, total, row)


def rows_of(kept: dict[str, Row], output: str | None) -> list[Row]:
    """Return the rows that were asked for, those that the folder had before included."""
    if output is None:
        return list(kept.values())
    from pcinv_data.benchmark_store import read_rows, read_settings

    stored = {row["name"]: row for row in read_rows(Path(output))} | kept
    return [stored[name] for name in read_settings(Path(output))[1] if name in stored]


def pairs_of(rows: list[Row], rule: str, *, dataset: str, root: str | None, scene: str | None,
             negatives: int, seed: int, output: str | None) -> list[Pair]:
    """Return the pairs that count, with what is right and how to read their clouds."""
    from pcinv.vis.registration_report import Pair
    from pcinv_data.benchmark_score import judged

    trials = _trials(dataset, root, scene, negatives, seed, output)
    found = []
    for row in rows:
        if row["consecutive"]:
            continue
        result = None if row["negative"] else judged(row, rule)
        found.append(Pair(
            name=row["name"], scene=row["scene"], meets=result is not None,
            right=result is not None and result.registered, score=row["score"],
            verdict=row["verdict"], features=row["numbers"].get("features") or "none",
            rre_deg=float("inf") if result is None else result.rre_deg,
            rte=float("inf") if result is None else result.rte, overlap=row["overlap"],
            time_ms=row["time_ms"], error=row["error"] and row["error"]["message"],
            T=_matrix(row["pose"]), T_true=_matrix(row["truth"]),
            load=partial(_clouds, trials.get(row["name"]), row)))
    return found


def _trials(dataset: str, root: str | None, scene: str | None, negatives: int, seed: int,
            output: str | None) -> dict[str, Trial]:
    """Return the trials by name; where the clouds lie is what `run_registration` has chosen."""
    from pcinv_data.benchmark import CLOUDS, draw_negatives
    from pcinv_data.benchmark_pair import trial_of
    from pcinv_data.pairs import PAIR_SETS, load_pairs

    folder: str | Path | None = root
    if root is None and output is not None and not PAIR_SETS[dataset].needs_root:
        folder = Path(output) / CLOUDS
    trials = [trial_of(pair) for pair in load_pairs(dataset, folder, scene=scene)]
    if negatives:
        trials += draw_negatives(load_pairs(dataset, folder), negatives, seed, scene)
    return {trial.name: trial for trial in trials}


def _clouds(trial: Trial | None, row: Row) -> Clouds:
    """Read the clouds of a row and move them as they were moved before they were registered."""
    from pcinv_data.benchmark_pair import moved
    from pcinv_data.pairs import read_points

    if trial is None:
        raise DatasetError("its clouds are not in the data set", where=row["name"])
    clouds = read_points(trial.source_file), read_points(trial.target_file)
    if row["source_motion"] is None:
        return clouds
    return (moved(clouds[0], np.array(row["source_motion"])),
            moved(clouds[1], np.array(row["target_motion"])))


def _matrix(rows: Any) -> np.ndarray | None:
    return None if rows is None else np.array(rows, np.float64)
