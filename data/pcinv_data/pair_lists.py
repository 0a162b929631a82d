"""Pickled lists of pairs, as Predator and GeoTransformer ship them; none of their code is run.

    configs/indoor/train_info.pkl, val_info.pkl, 3DMatch.pkl, 3DLoMatch.pkl      (Predator)
    metadata/train.pkl, val.pkl, 3DMatch.pkl, 3DLoMatch.pkl                      (GeoTransformer)
    data/indoor/{train,test}/<sequence>/cloud_bin_<k>.pth                        (see `CLOUDS`)

The parts for training and validation come in this form alone, without information matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError, unknown_name
from pcinv_data.pairs import RegistrationPair, as_motion
from pcinv_data.recognise import nearest_thing
from pcinv_data.threedmatch import CLOUD

LISTS = {"train": ("train_info.pkl", "train.pkl"), "val": ("val_info.pkl", "val.pkl")}
"""Names of the list of each part: Predator's, GeoTransformer's."""
FOLDERS = ("", "configs/indoor", "metadata", "data/3DMatch/metadata")
CLOUDS = ("", "data/indoor", "indoor", "data", "data/3DMatch/data")
"""Folders below the root that may hold the lists, and those that hold train/ and test/."""


def open_lists(root: Path, part: str, scene: str | None = None) -> list[RegistrationPair]:
    """List the pairs of "train" or "val" in the order of their list.

    scene : only this one; the clouds of others need not be there.

    Raises DatasetError for a folder without the list, a damaged list, and clouds that are not
    there; UnknownNameError for a scene that is not listed; errors of `pairs_of_pickle`.
    """
    file = list_file(root, part)
    pairs = pairs_of_pickle(file, root)
    if scene is not None:
        scenes = sorted({pair.scene for pair in pairs})
        if scene not in scenes:
            raise unknown_name("scene", scene, scenes)
        pairs = [pair for pair in pairs if pair.scene == scene]
    if not pairs:
        raise DatasetError("the list is empty", where=str(file), hint="get it again")
    base = next((root / folder for folder in CLOUDS
                 if (root / folder / pairs[0].target_file.relative_to(root)).is_file()), root)
    placed = [replace(pair, source_file=base / pair.source_file.relative_to(root),
                      target_file=base / pair.target_file.relative_to(root)) for pair in pairs]
    there: dict[Path, bool] = {}
    for pair in placed:
        for cloud in (pair.source_file, pair.target_file):
            if not there.setdefault(cloud, cloud.is_file()):
                raise DatasetError(f"no {cloud.relative_to(root)}, which {file.name} names",
                                   where=str(root), hint="get this scene's fragments again, or "
                                   "choose a scene whose fragments are there: --scene")
    return placed


def list_file(root: Path, part: str) -> Path:
    """Return the list of a part. Raises DatasetError for a folder without one."""
    names = LISTS[part]
    for folder in FOLDERS:
        for name in names:
            if (root / folder / name).is_file():
                return root / folder / name
    raise DatasetError(f"no list of pairs, {' or '.join(names)}; {nearest_thing(root)}",
                       where=str(root), hint="it must hold configs/indoor of OverlapPredator or"
                       " metadata of GeoTransformer, and the clouds in data/")


def list_scenes(root: Path, part: str) -> list[str]:
    """Return the names of the scenes of a part, whether their clouds are there or not."""
    return sorted({pair.scene for pair in pairs_of_pickle(list_file(root, part), root)})


def pairs_of_pickle(file: Path, root: Path) -> list[RegistrationPair]:
    """List the pairs of a pickle of Predator or GeoTransformer, for training and validation too.

    Predator: a dict of aligned `src`, `tgt`, `rot`, `trans`, `overlap`. GeoTransformer: a list of
    dicts `pcd1` (source), `pcd0` (target), `rotation`, `translation`, `overlap`. The paths in it
    are below `root`. Predator's 3DMatch.pkl has wrong overlaps (up to 0.7 off). The poses differ
    from gt.log by up to 1 mm, and there is no information matrix.

    Raises DatasetError for other content, FileFormatError for a pickle that names anything but
    numpy arrays.
    """
    from pcinv.io.restricted_pickle import read_pickle

    pairs = []
    for k, (source, target, R, t, overlap) in enumerate(_entries(read_pickle(file), file)):
        where = f"{file} (pair {k})"
        files = [_below(root, path, where) for path in (source, target)]
        source_id, target_id = (int(file.stem.rpartition("_")[2]) for file in files)
        T = np.eye(4)
        try:
            T[:3] = np.hstack([np.reshape(R, (3, 3)), np.reshape(t, (3, 1))])
            share = float(overlap)
        except (TypeError, ValueError) as error:
            raise DatasetError("no rotation (3, 3), translation (3,) and overlap", where=where,
                               hint="this is not a list of pairs") from error
        scene = files[0].parent.name
        pairs.append(RegistrationPair(
            name=f"{scene}/{target_id}-{source_id}", scene=scene, source_id=source_id,
            target_id=target_id, T_target_source=as_motion(T.tolist(), where),
            source_file=files[0], target_file=files[1], overlap=share,
            consecutive=source_id - target_id == 1))
    return pairs


def _entries(content: object, file: Path) -> Iterator[tuple]:
    keys = ("src", "tgt", "rot", "trans", "overlap")
    geo = ("pcd1", "pcd0", "rotation", "translation", "overlap")
    if isinstance(content, dict) and set(keys) <= set(content):
        columns = [content[key] for key in keys]
        if all(hasattr(c, "__len__") and len(c) == len(columns[0]) for c in columns):
            yield from zip(*columns, strict=True)
            return
    elif isinstance(content, list) and all(
            isinstance(row, dict) and set(geo) <= set(row) for row in content):
        yield from (tuple(row[key] for key in geo) for row in content)
        return
    raise DatasetError("neither Predator's nor GeoTransformer's list of pairs", where=str(file),
                       hint="expected a dict of src, tgt, rot, trans, overlap of equal lengths")


def _below(root: Path, path: object, where: str) -> Path:
    steps = Path(str(path).replace("\\", "/"))
    if steps.is_absolute() or ".." in steps.parts or not CLOUD.fullmatch(steps.name):
        raise DatasetError(f"'{str(path)[:120]}' is not the path of a fragment below the folder",
                           where=where, hint="it must be as train/<sequence>/cloud_bin_0.pth")
    return root / steps
