"""Registration benchmarks: every pair of a data set registered, judged by its official rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.errors import InputError, Interrupted, UsageError, unknown_name
from pcinv.registration.jobs import answers
from pcinv_data.benchmark_pair import Row, Settings, Trial, run_trial, trial_of
from pcinv_data.benchmark_score import score_rows
from pcinv_data.benchmark_store import (
    append,
    appending,
    begin,
    check_settings,
    is_done,
    read_rows,
    read_settings,
)
from pcinv_data.pairs import PAIR_SETS, RegistrationPair, load_pairs
from pcinv_data.registry import check_range

VIEW_POINTS = ("auto", "origin", "none", "given")
CLOUDS = "clouds"
"""Folder in the output for the clouds of a generated set."""
Callback = Callable[[int, int, Row | None], None]


def run_registration(
    dataset: str, root: str | Path | None, *, method: str = "auto", pairs: int | None = None,
    scene: str | None = None, rotate: bool = False, view_point: str = "auto", fast: bool = False,
    voxel: float | None = None, matches: bool = False, negatives: int = 0, jobs: int = 1,
    cluster: str | None = None,
    output: str | Path | None = None, seed: int = 0, weights: str | Path | None = None,
    callback: Callback | None = None,
) -> dict[str, Any]:
    """Register the pairs of a data set and return the figures of its benchmark, ready for JSON.

    A pair whose registration fails with an error is a failed pair. Each is computed by one thread.

    Parameters
    ----------
    dataset, root : a key of `pcinv_data.pairs.PAIR_SETS`, and the folder of your copy. The clouds
        of generated sets are made there; without a root in `clouds` of the output, and without
        both in a folder that is removed when the program ends.
    method, fast, voxel, seed, weights : of `pcinv.register`. The seed also draws motions and
        negatives.
    pairs : at most so many, evenly spaced over the list; all where None. Pairs of neighbours in
        time are left out, since no recall counts them; `matches` of all pairs takes them in.
    scene : only this one.
    rotate : each cloud is moved before it is registered, by a motion of its own: a uniform (Haar)
        rotation and a shift of up to 4 m along each axis. The answer is moved back before it is
        judged, since the official 3DMatch error depends on the frames.
    view_point : "auto", "origin" or "none", of `pcinv.register`, or "given": the true places of
        the cameras, also where clouds are moved. There "origin" would be false, so "auto" is used
        in its place; which one was used is told in the result.
    matches : measure inlier ratios, of all matches that the answer was found from. Costs time.
    negatives : so many pairs of clouds of different scenes as well: to trust one is wrong.
    jobs : processes.
    cluster : address of a dask scheduler (extra `dask`), whose workers do it in place of processes
        here. They need the data under the same absolute names, and this version of pcinv.
    output : folder for `results.jsonl` and `settings.json`. If it has results of the same settings
        already, these are not computed again, except those that ended with an error.
    callback : called with the number of trials done, of all, and the row of the last (None first).

    Returns
    -------
    The fields of `pcinv.metrics.registration.recall_table`, and
    num_negatives, negatives_trusted : clouds that do not meet, and how many answers were trusted.
    verdict_precision, verdict_precision_without_negatives : share of the trusted that are right.
    roc : what a threshold on the score alone would do, (threshold, share of all answers that reach
        it, precision, share of the right ones that reach it), with the negatives.
    reliability : kind of features -> (score from, to, answers, share that is right).
    time_ms_median : of `pcinv.register`, without reading.
    recall_by_overlap : by the overlap that the data set tells, or else as `measure_overlap` does.
    by_kind : for single objects, the same for those without symmetry ("plain"), the symmetric ones
        and those whose shared part hides what tells their sides apart; empty for other sets.
    inlier_ratio, feature_matching_recall : None without `matches`.
    num_errors, errors : pairs that failed with an error, and what the first of them said.
    dataset, method, rule, rotate, view_point, fast, voxel, seed, pairs_by_scene, num_left : what
        was run.

    Raises
    ------
    UnknownNameError : no such data set, method, scene or view point.
    DatasetError : the folder is not the data set.
    UsageError : the output has results of other settings; the message says which. View points or
        matches that a data set of single bodies does not have.
    Interrupted : stopped by Ctrl-C; with the same output the next call goes on.
    LimitError : a process was ended by the system, or the disk is full.
    NetworkError, DependencyError : no cluster is there, or no `distributed` to reach it.
    """
    import pcinv

    _check(method, view_point, negatives, jobs, voxel)
    if dataset not in PAIR_SETS:
        raise unknown_name("data set of pairs", dataset, PAIR_SETS, where="dataset")
    kept = PAIR_SETS[dataset]
    if kept.bodies and view_point in ("origin", "given"):
        raise UsageError(f"some clouds of {dataset} were not seen by a camera at their origin",
                         where="view_point", hint="use auto or none")
    if kept.bodies and matches:
        raise UsageError(f"inlier ratios count metres, and {dataset} are in any units",
                         where="matches", hint="leave it out")
    used = "auto" if rotate and view_point == "origin" else view_point
    settings = Settings(
        dataset=dataset, root=str(Path(root or "").resolve()) if kept.needs_root else "generated",
        version=pcinv.__version__, method=method, view_point=used, rotate=rotate, fast=fast,
        voxel=voxel, matches=matches, seed=seed,
        weights=None if weights is None else str(Path(weights).resolve()))
    if not kept.needs_root and output is not None:
        check_settings(Path(output), settings)
        root = Path(output) / CLOUDS if root is None else root
    if cluster is not None and root is not None:  # workers have working folders of their own
        root = Path(root).absolute()
    chosen = load_pairs(dataset, root, scene=scene, limit=pairs,
                        consecutive=matches and pairs is None)
    if all(pair.consecutive for pair in chosen):
        raise InputError("none of the pairs counts", where=f"{dataset} {scene or ''}".strip(),
                         hint="take more pairs, or another scene")
    trials = [trial_of(pair) for pair in chosen]
    if negatives:
        trials += draw_negatives(load_pairs(dataset, root), negatives, seed, scene)
    rows = _run(trials, settings, jobs, cluster, None if output is None else Path(output), callback)
    return score_rows([rows[trial.name] for trial in trials], settings, len(trials))


def score_registration(folder: str | Path) -> dict[str, Any]:
    """Return the figures of a stored run again; no clouds are needed. `num_left` are to be done.

    folder : the output of `run_registration`. The trials that were last asked for are scored.

    Raises FileFormatError for a folder without results or with damaged ones, InputError where no
    pair is done that counts.
    """
    settings, names = read_settings(Path(folder))
    rows = {row["name"]: row for row in read_rows(Path(folder))}
    return score_rows([rows[name] for name in names if name in rows], settings, len(names))


def _check(method: str, view_point: str, negatives: int, jobs: int, voxel: float | None) -> None:
    from pcinv.registration.pipeline import METHODS

    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if view_point not in VIEW_POINTS:
        raise unknown_name("view point", view_point, VIEW_POINTS)
    check_range("negatives", negatives, 0, 1_000_000)
    check_range("jobs", jobs, 1, 1024)
    if voxel is not None and not 0 < voxel < np.inf:
        raise InputError(f"voxel is {voxel}, expected more than 0", where="voxel",
                         hint="a working size in metres; leave it out to have it chosen")


def _run(trials: list[Trial], settings: Settings, jobs: int, cluster: str | None,
         folder: Path | None, callback: Callback | None) -> dict[str, Row]:
    """Return the row of each trial by its name, those that were stored before included."""
    rows = {} if folder is None else begin(folder, settings, [trial.name for trial in trials])
    left = [trial for trial in trials if not is_done(rows.get(trial.name))]
    done = len(trials) - len(left)
    if callback is not None:
        callback(done, len(trials), None)
    try:
        with appending(folder) as stream:
            for row in answers(partial(run_trial, settings=settings), left, jobs, cluster):
                if stream is not None:
                    append(stream, row)
                rows[row["name"]] = row
                done += 1
                if callback is not None:
                    callback(done, len(trials), row)
    except KeyboardInterrupt as error:
        if folder is None:
            raise
        raise Interrupted(f"stopped, {done} of {len(trials)} pairs are done", where=str(folder),
                          hint="the same command goes on with the others") from error
    return rows


def draw_negatives(pairs: list[RegistrationPair], count: int, seed: int, scene: str | None = None
                   ) -> list[Trial]:
    """Return `count` trials of two clouds of different scenes, no two the same.

    pairs : all of a data set.  scene : of one of the two clouds, if given.

    The first of them do not depend on `count`. Raises UsageError where there are too few.
    """
    files = {(pair.scene, number): file for pair in pairs for number, file in (
        (pair.source_id, pair.source_file), (pair.target_id, pair.target_file))}
    clouds = sorted(files)
    possible = [(a, b) for k, a in enumerate(clouds) for b in clouds[k + 1:]
                if a[0] != b[0] and scene in (None, a[0], b[0])]
    if count > len(possible):
        raise UsageError(f"{count} pairs that do not meet, but the {len({s for s, _ in clouds})} "
                         f"scenes of this folder make only {len(possible)}", where="negatives",
                         hint="fewer of them, or a copy with more scenes")
    order = np.random.default_rng(seed).permutation(len(possible))[:count]
    return [Trial(f"{a[0]}/{a[1]}~{b[0]}/{b[1]}", f"{a[0]}~{b[0]}", files[b], files[a])
            for a, b in (possible[k] for k in order)]
