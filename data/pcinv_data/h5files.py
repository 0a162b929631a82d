"""Point clouds in HDF5: `data` (N, P, 3) and `label` (N,) or (N, 1), read through the guard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pcinv.errors import DatasetError, FileFormatError
from pcinv_data.dataset import Raw, Request, Source
from pcinv_data.files import read_lines


def open_lists(name: str, classes: list[str], request: Request) -> Source:
    """Open a folder with `train_files.txt` and `test_files.txt`; only listed files are used."""
    root = request.root
    check_class_list(root / "shape_names.txt", classes, name)
    files, missing = [], []
    listing = root / f"{request.part}_files.txt"
    for number, line in read_lines(listing):
        file = listed_file(root, line, f"{listing}:{number}")
        if file is None:
            missing.append(PurePosixPath(line).name)
        else:
            files.append(file)
    return open_files("hdf5", files, classes, [stored_names(file) for file in files], missing)


def listed_file(root: Path, line: str, where: str) -> Path | None:
    """Find a listed file below `root`: the lists carry the prefix of another folder."""
    steps = [step for step in PurePosixPath(line.replace("\\", "/")).parts if step != "/"]
    if ".." in steps:
        raise DatasetError(f"'{line}' leads out of the folder", where=where,
                           hint="lines are names of .h5 files")
    for start in range(len(steps)):
        file = root.joinpath(*steps[start:])
        if file.is_file():
            return file
    return None


def check_class_list(file: Path, classes: list[str], name: str) -> None:
    """Raise where the folder's own list of classes is that of another data set."""
    if not file.is_file():
        return
    found = [line for _, line in read_lines(file)]
    if found != classes:
        raise DatasetError(
            f"{len(found)} classes beginning with '{', '.join(found[:3])}' are not those of {name}",
            where=str(file), hint={10: "--dataset modelnet10", 40: "--dataset modelnet40"}.get(
                len(found), f"pcinv data info {name} lists its classes"))


def stored_names(file: Path) -> list[str] | None:
    """Return the shape names of `<stem>_<k>_id2file.json` beside a file, or None."""
    stem = file.stem.rstrip("0123456789")
    beside = file.with_name(f"{stem}_{file.stem[len(stem):]}_id2file.json")
    try:
        names = json.loads(beside.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return [PurePosixPath(name).stem for name in names]


def open_files(layout: str, files: list[Path], classes: list[str],
               given_names: list[list[str] | None], missing: list[str]) -> Source:
    """Open HDF5 files one after the other; labels now, coordinates when they are read."""
    from pcinv.io import read_h5_array

    labels, owner = [np.zeros(0, np.int64)], []
    names: list[str] = []
    for k, (file, given) in enumerate(zip(files, given_names, strict=True)):
        label = read_h5_array(file, "label", kinds="iu").reshape(-1)
        if len(label) and not 0 <= label.min() <= label.max() < len(classes):
            raise FileFormatError(
                f"labels lie in {label.min()} to {label.max()}, expected 0 to {len(classes) - 1}",
                where=f"{file} (label)", hint="get this file again")
        labels.append(label.astype(np.int64))
        owner += [(k, row) for row in range(len(label))]
        if given is None or len(given) != len(label):
            given = [f"{file.stem}/{row}" for row in range(len(label))]
        names += given

    last: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}  # the file that was read last

    def read(indices: Sequence[int]) -> Iterator[Raw]:
        for i in indices:
            k, row = owner[i]
            if k not in last:
                last.clear()
                last[k] = read_clouds(files[k], len(labels[k + 1]))
            xyz, normal = last[k]
            yield Raw(xyz[row], None if normal is None else normal[row])

    return Source(layout=layout, class_names=list(classes), labels=np.concatenate(labels),
                  names=names, files=[str(files[k]) for k, _ in owner], read=read, missing=missing)


def read_clouds(file: Path, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Read `data`, and `normal` where the file has unit normals, as (count, P, 3) float32."""
    from pcinv.io import open_h5

    normal = None
    with open_h5(file) as handle:
        xyz = handle.read("data", ndim=3, kinds="f").astype(np.float32, copy=False)
        if "normal" in handle.names():
            normal = handle.read("normal", kinds="f").astype(np.float32, copy=False)
    if xyz.shape[2] != 3 or len(xyz) != count:
        raise FileFormatError(f"'data' has shape {xyz.shape}, expected ({count}, P, 3)",
                              where=f"{file} (data)", hint="get this file again")
    if not np.isfinite(xyz).all():
        raise FileFormatError("'data' holds coordinates that are not finite",
                              where=f"{file} (data)", hint="get this file again")
    if normal is not None:
        sizes = np.linalg.norm(normal, axis=-1) if normal.shape == xyz.shape else np.zeros(1)
        normal = normal if np.abs(sizes - 1).max() < 1e-2 else None
    return xyz, normal
