"""Many pairs: registered one by one or on several cores, each answer kept as soon as it is there.

A run can be stopped at any time and goes on where it was. A pair that cannot be registered leaves
its error in its line, and does not keep the others from being registered.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pcinv.checks import check_count
from pcinv.errors import Interrupted, PcinvError, UsageError
from pcinv.registration.jobs import answers
from pcinv.registration.model import Model, build_model
from pcinv.registration.pair_list import Pair, clouds_of, pairs_of, read_pairs
from pcinv.registration.pair_store import (
    PAIRS,
    Row,
    Settings,
    append,
    check_settings,
    make_folder,
    plain,
    read_rows,
)
from pcinv.registration.pipeline import register
from pcinv.registration.pose_files import read_pose
from pcinv.registration.shipped import network_of

VERDICTS = ("trusted", "suspect", "failed", "error")
MAX_JOBS = 1024
Callback = Callable[[int, int, Row | None], None]


@dataclass(frozen=True)
class Registered:
    """The rows of all pairs that were asked for, in their order.

    A row has source, target, init, files (size and time of change of each), settings, error, and
    the fields of `RegistrationResult.to_dict`; verdict is None where there is an error.
    file : where the rows are kept.  num_skipped : rows that were there already.
    """

    rows: list[Row]
    file: Path
    num_skipped: int

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs have which verdict, or an error."""
        found = Counter(row["verdict"] or "error" for row in self.rows)
        return {verdict: found[verdict] for verdict in VERDICTS}

    def to_dict(self) -> dict[str, Any]:
        """Return what a person wants to know of it, as plain values."""
        return {"pairs_file": str(self.file), "num_pairs": len(self.rows),
                "num_skipped": self.num_skipped, "counts": self.counts}


def register_pairs(
    pairs: str | os.PathLike[str] | Sequence[Sequence[str | None]],
    output: str | os.PathLike[str], *, jobs: int = 1, cluster: str | None = None,
    force: bool = False, method: str = "auto", view_point: Any = "auto",
    voxel: float | None = None, fast: bool = False, seed: int = 0,
    weights: str | os.PathLike[str] | None = None, callback: Callback | None = None,
) -> Registered:
    """Register the pairs of a list; keep each answer as a line of `output`/pairs.jsonl.

    Parameters
    ----------
    pairs : a CSV file with the columns source, target and perhaps init (a pose to refine), with
        paths relative to it; or (source, target) or (source, target, init) paths.
    output : a folder. Pairs that have their answer there are not registered again, unless a file
        has changed since; nor are those with an error left out.
    jobs : processes.  force : do all pairs again.
    cluster : address of a dask scheduler (extra `dask`), whose workers do it in place of processes
        here. They need the clouds under the same absolute names, and this version of pcinv.
    method, view_point, voxel, fast, seed : of `pcinv.register`.
    weights : run or file of a network for patches or a RoITr; None for what comes with the package.
    callback : called with the pairs done, all pairs, and the row of the last one (None first).

    Raises
    ------
    FileFormatError : the list cannot be read, or the output is damaged.
    UsageError : the output has pairs with other settings; the message says which.
    Interrupted : stopped by Ctrl-C; the same call goes on.
    LimitError : a process was ended by the system, or the disk is full.
    NetworkError, DependencyError : no cluster is there, or no `distributed` to reach it.
    """
    settings = settings_of(method, view_point, voxel, fast, seed, weights)
    if isinstance(pairs, str | os.PathLike):
        return run(read_pairs(pairs), Path(pairs).parent, Path(output), settings, jobs, cluster,
                   force, callback)
    given = [Pair(*(None if path is None else str(path) for path in pair)) for pair in pairs]  # type: ignore[arg-type]
    return run(list(dict.fromkeys(given)), Path(), Path(output), settings, jobs, cluster, force,
               callback)


@dataclass(frozen=True)
class Folder:
    """The pairs of a folder, and the model that the trusted ones of them make."""

    pairs: Registered
    model: Model

    def to_dict(self) -> dict[str, Any]:
        """Return what a person wants to know of it, as plain values."""
        return self.pairs.to_dict() | self.model.to_dict()


def register_folder(
    folder: str | os.PathLike[str], output: str | os.PathLike[str], *, jobs: int = 1,
    cluster: str | None = None, force: bool = False, method: str = "auto",
    view_point: Any = "auto", voxel: float | None = None, fast: bool = False, seed: int = 0,
    weights: str | os.PathLike[str] | None = None, callback: Callback | None = None,
) -> Folder:
    """Register all pairs of the clouds of a folder, and join the trusted ones to a model.

    folder : clouds and meshes of any format but .txt and .csv; folders in it are not looked at.
    output : another folder. Besides pairs.jsonl it gets poses.json (one 4x4 a cloud, into the frame
        of the first cloud of those that hang together), model.ply (the largest group of clouds that
        hang together, merged and thinned to the voxel) and report.json.

    The other parameters, and what is raised, as for `register_pairs`; InputError where there are
    fewer than two clouds.
    """
    folder, output = Path(folder), Path(output)
    clouds = clouds_of(folder)
    if output.resolve() == folder.resolve():
        raise UsageError("the output is the folder of the clouds", where=str(output),
                         hint="name another folder: the model would be taken for one of them")
    settings = settings_of(method, view_point, voxel, fast, seed, weights)
    found = run(pairs_of(clouds), folder, output, settings, jobs, cluster, force, callback)
    return Folder(found, build_model(clouds, found.rows, folder, output, voxel, seed))


def settings_of(
    method: str, view_point: Any, voxel: float | None, fast: bool, seed: int,
    weights: str | os.PathLike[str] | None = None,
) -> Settings:
    """Return the settings as JSON can hold them; weights that cannot be read are an error here."""
    from pcinv import __version__

    place = view_point if isinstance(view_point, str) else np.asarray(view_point, float).tolist()
    if weights is not None:
        network_of(os.path.abspath(weights))
    return Settings(method, place, voxel, fast, seed, __version__,
                    None if weights is None else os.path.abspath(weights))


def run(
    pairs: list[Pair], base: Path, folder: Path, settings: Settings, jobs: int,
    cluster: str | None, force: bool, callback: Callback | None,
) -> Registered:
    """Register what is left to do of a list of pairs, whose paths are relative to `base`."""
    check_count(jobs, "jobs", high=MAX_JOBS)
    if cluster is not None:  # workers have working folders of their own
        base = base.absolute()
    make_folder(folder)
    file = folder / PAIRS
    if force:
        file.unlink(missing_ok=True)
    stored = read_rows(file)
    rows = {pair: stored[pair] for pair in pairs if pair in stored}
    check_settings(file, rows, settings)
    left = [pair for pair in pairs if not _is_done(rows.get(pair), pair, base)]
    done = skipped = len(pairs) - len(left)
    if callback is not None:
        callback(done, len(pairs), None)
    try:
        work = partial(register_one, base=base, settings=settings)
        for row in answers(work, left, jobs, cluster):
            pair = Pair(row["source"], row["target"], row["init"])
            if row != rows.get(pair):  # the same error once more is no news
                append(file, row)
            rows[pair] = row
            done += 1
            if callback is not None:
                callback(done, len(pairs), row)
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped, {done} of {len(pairs)} pairs are done", where=str(folder),
                          hint="the same command goes on with the others") from error
    return Registered([rows[pair] for pair in pairs], file, skipped)


def register_one(pair: Pair, base: Path, settings: Settings) -> Row:
    """Return the row of one pair, whatever happens."""
    row: Row = {**pair._asdict(), "verdict": None, "error": None, "files": _files(pair, base),
                "settings": asdict(settings)}
    try:
        result = register(
            base / pair.source, base / pair.target, method=settings.method,
            view_point=settings.view_point, voxel=settings.voxel, fast=settings.fast,
            init=None if pair.init is None else read_pose(base / pair.init), seed=settings.seed,
            descriptor=network_of(settings.weights))
        row |= result.to_dict()
    except UsageError:  # of all pairs alike: a method that does not exist
        raise
    except PcinvError as error:
        row["error"] = {"code": error.code, "message": error.message, "where": error.where,
                        "hint": error.hint}
    except MemoryError as error:
        row["error"] = _unexpected(error, "limit", "out of memory", "a larger voxel, fewer jobs")
    except Exception as error:  # noqa: BLE001 the other pairs are to be registered all the same
        row["error"] = _unexpected(error, "internal", f"{type(error).__name__}: {error}",
                                   "register this pair alone, with --debug")
    return dict(plain(row))


def _unexpected(error: BaseException, code: str, message: str, hint: str) -> dict[str, str | None]:
    return {"code": code, "message": message[:300], "where": None, "hint": hint}


def _files(pair: Pair, base: Path) -> list[list[int] | None]:
    """Return size and time of change of each file of a pair, None where there is none."""
    told: list[list[int] | None] = []
    for name in pair:
        try:
            status = (base / name).stat() if name is not None else None
        except (OSError, ValueError):
            status = None
        told.append([status.st_size, status.st_mtime_ns] if status is not None else None)
    return told


def _is_done(row: Row | None, pair: Pair, base: Path) -> bool:
    return row is not None and row["error"] is None and row["files"] == _files(pair, base)
