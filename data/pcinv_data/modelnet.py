"""ModelNet40 and ModelNet10 in the four forms in which they go round: see their manifests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError
from pcinv_data.dataset import Raw, Request, Source
from pcinv_data.files import read_lines, read_shape, read_table
from pcinv_data.h5files import open_lists
from pcinv_data.manifest import read_manifest
from pcinv_data.recognise import nearest_thing


def open_modelnet40(request: Request) -> Source:
    """Open ModelNet40 in whichever of its layouts the folder has."""
    return _open("modelnet40", request)


def open_modelnet10(request: Request) -> Source:
    """Open ModelNet10 in whichever of its layouts the folder has."""
    return _open("modelnet10", request)


def _open(name: str, request: Request) -> Source:
    classes = read_manifest(name).classes
    root = request.root
    if (root / f"{request.part}_files.txt").is_file():
        return open_lists(name, classes, request)
    if (root / f"{name}_{request.part}.txt").is_file():
        return _resampled(name, classes, request)
    for suffix in ("off", "pcd"):
        found = sorted({p.parent.parent.name for p in root.glob(f"*/*/*.{suffix}")
                        if p.parent.name in ("train", "test")})
        strangers = [folder for folder in found if folder not in classes]
        if found and not strangers:
            return _per_class(suffix, classes, request)
        if found:
            raise DatasetError(
                f"{strangers[0]} is not a class of {name}", where=str(root),
                hint="is this ModelNet40 (--dataset modelnet40)? else use --dataset folder")
    layouts = " or ".join(layout.tree[0] for layout in read_manifest(name).layouts)
    raise DatasetError(f"not {name}: no {layouts}; {nearest_thing(root)}", where=str(root),
                       hint=f"pcinv data info {name} shows the expected layout")


def _per_class(suffix: str, classes: list[str], request: Request) -> Source:
    files = [(label, file) for label, name in enumerate(classes)
             for file in sorted((request.root / name / request.part).glob(f"*.{suffix}"))]
    return _source(suffix, classes, files, [],
                   lambda file, name: read_shape(file, request.num_points, request.seed, name))


def _resampled(name: str, classes: list[str], request: Request) -> Source:
    """`<class>_<number>` a line in the list; 10,000 rows of x,y,z,nx,ny,nz a file."""
    listing = request.root / f"{name}_{request.part}.txt"
    files, missing = [], []
    for number, shape in read_lines(listing):
        folder = shape.rpartition("_")[0]
        if folder not in classes:
            raise DatasetError(f"'{shape}' is not of a class of {name}",
                               where=f"{listing}:{number}",
                               hint="lines are <class>_<number>, such as night_stand_0001")
        file = request.root / folder / f"{shape}.txt"
        if file.is_file():
            files.append((classes.index(folder), file))
        else:
            missing.append(f"{folder}/{shape}.txt")

    def read(file: Path, _: str) -> Raw:
        rows = read_table(file, 6)
        return Raw(rows[:, :3], rows[:, 3:].astype(np.float32))

    return _source("resampled", classes, files, missing, read)


def _source(layout: str, classes: list[str], files: list[tuple[int, Path]], missing: list[str],
            read_one: Callable[[Path, str], Raw]) -> Source:
    names = [file.stem for _, file in files]

    def read(indices: Sequence[int]) -> Iterator[Raw]:
        for i in indices:
            yield read_one(files[i][1], names[i])

    return Source(layout=layout, class_names=list(classes), names=names, read=read, missing=missing,
                  labels=np.array([label for label, _ in files], dtype=np.int64),
                  files=[str(file) for _, file in files])
