"""Generated sets of pairs on disk: scenes are made when they are first asked for, and kept.

    <root>/<set>-<version>/<scene>/cloud_<k>.ply and pairs.json

A scene's folder is written aside and renamed, so it is there whole or not at all, and what was made
before an interruption is not made again. The version is that of what the generator draws: files of
another one are left alone.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pcinv.errors import DatasetError, InputError, unknown_name
from pcinv.types import PointCloud
from pcinv_data.pairs import RegistrationPair, as_motion

log = logging.getLogger(__name__)
LIST = "pairs.json"
_FIELDS = ("name", "source", "target", "T_target_source", "information", "overlap", "body")


class MadePair(NamedTuple):
    """A pair of a scene; the fields are those of `RegistrationPair`, clouds by their numbers."""

    name: str
    source_id: int
    target_id: int
    T_target_source: np.ndarray
    overlap: float
    information: np.ndarray | None = None
    body: dict[str, object] | None = None


class MadeScene(NamedTuple):
    """What a generator returns for a scene. clouds : (N, 3) each, in the order of their numbers."""

    clouds: list[np.ndarray]
    pairs: list[MadePair]


def open_generated(root: Path, name: str, version: int, scenes: Sequence[str],
                   make: Callable[[str], MadeScene], scene: str | None = None
                   ) -> list[RegistrationPair]:
    """List the pairs of a generated set, after making those scenes that are not in `root` yet.

    Raises UnknownNameError for a scene that is not one of `scenes`, DatasetError for a damaged
    list, LimitError where nothing can be written.
    """
    if scene is not None and scene not in scenes:
        raise unknown_name("scene", scene, scenes)
    folder = root / f"{name}-{version}"
    chosen = [scene] if scene is not None else list(scenes)
    pairs = []
    for number, one in enumerate(chosen, 1):
        if not (folder / one / LIST).is_file():
            log.info("%s: making %s, %d of %d", name, one, number, len(chosen))
            _write_scene(folder / one, make(one))
        pairs += _read_scene(folder / one)
    return pairs


def process_folder() -> Path:
    """Return a folder for generated clouds that lasts as long as this process."""
    return Path(_temporary().name)


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    """Return the folder itself; it is removed when nothing holds it any more, at the end."""
    return tempfile.TemporaryDirectory(prefix="pcinv-generated-")


def _write_scene(place: Path, made: MadeScene) -> None:
    from pcinv.engine.files import cannot_write, make_folder, write_synced
    from pcinv.io import write

    aside = place.with_name(f".{place.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    make_folder(aside)
    try:
        for k, points in enumerate(made.clouds):
            write(aside / f"cloud_{k}.ply", PointCloud(points.astype(np.float32)))
        rows = [dict(zip(_FIELDS, (
            pair.name, pair.source_id, pair.target_id, pair.T_target_source.tolist(),
            None if pair.information is None else pair.information.tolist(), pair.overlap,
            pair.body), strict=True)) for pair in made.pairs]
        text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
        write_synced(aside / LIST, text.encode())
        if place.is_dir():  # without its list, so not one of ours, or one that was taken apart
            raise DatasetError(f"there is a folder without {LIST}", where=str(place),
                               hint="remove it, or name another folder with --root")
        try:
            aside.rename(place)
        except OSError as error:
            if not (place / LIST).is_file():  # else another process has made the same meanwhile
                raise cannot_write(place, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _read_scene(folder: Path) -> list[RegistrationPair]:
    file, scene = folder / LIST, folder.name
    pairs = []
    try:
        for row in json.loads(file.read_text("utf-8")):
            name, source, target, T, information, overlap, body = (row[key] for key in _FIELDS)
            files = [folder / f"cloud_{int(k)}.ply" for k in (source, target)]
            pairs.append(RegistrationPair(
                name=str(name), scene=scene, source_id=int(source), target_id=int(target),
                T_target_source=as_motion(np.reshape(T, (4, 4)).tolist(), str(file)),
                source_file=files[0], target_file=files[1], overlap=float(overlap),
                information=None if information is None
                else np.array(information, np.float64).reshape(6, 6),
                body=None if body is None else _checked(body)))
    except (OSError, ValueError, TypeError, KeyError, InputError) as error:
        raise DatasetError(f"the list of pairs cannot be read: {error}", where=str(file),
                           hint=f"remove {folder}; it is made again") from error
    missing = {file for pair in pairs for file in (pair.source_file, pair.target_file)
               if not file.is_file()}
    if missing:
        raise DatasetError(f"{len(missing)} clouds of the list are not there, the first is "
                           f"{min(missing).name}", where=str(folder),
                           hint="remove this folder; it is made again")
    return pairs


def _checked(body: dict[str, object]) -> dict[str, object]:
    from pcinv.metrics.symmetry import Body

    return Body.from_dict(body).to_dict()
