"""Pickled lists of pairs, as Predator and GeoTransformer ship them; none of their code is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError
from pcinv_data.pairs import RegistrationPair, as_motion
from pcinv_data.threedmatch import CLOUD


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
