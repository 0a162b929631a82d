"""ShapeNetPart in its native text layout: categories, 50 global part ids, official splits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pcinv.errors import DatasetError, FileFormatError
from pcinv_data.dataset import Raw, Request, Source
from pcinv_data.files import read_lines, read_table
from pcinv_data.manifest import read_manifest
from pcinv_data.recognise import nearest_thing

TABLE = "synsetoffset2category.txt"


def open_shapenetpart(request: Request) -> Source:
    """Open the training part (train and val lists) or the test part."""
    root = request.root
    if not (root / TABLE).is_file():
        raise DatasetError(f"not shapenetpart: no {TABLE}; {nearest_thing(root)}", where=str(root),
                           hint="pcinv data info shapenetpart shows the expected layout")
    manifest = read_manifest("shapenetpart")
    category = _categories(root / TABLE, manifest.classes)
    lists = ("train", "val") if request.part == "train" else ("test",)
    labels, files, missing, held = [], [], [], []
    for split in lists:
        listing = root / "train_test_split" / f"shuffled_{split}_file_list.json"
        for entry in _listed(listing):
            synset, shape = PurePosixPath(entry).parts[-2:]
            if synset not in category:
                raise DatasetError(f"'{entry}' is of no category of {TABLE}", where=str(listing),
                                   hint="entries are shape_data/<synset>/<id>")
            file = root / synset / f"{shape}.txt"
            if not file.is_file():
                missing.append(f"{synset}/{shape}.txt")
                continue
            labels.append(category[synset])
            files.append(file)
            held.append(split == "val")
    part_names, first = {}, 0
    for k, name in enumerate(manifest.classes):
        part_names[k] = list(range(first, first + len(manifest.parts[name])))
        first += len(manifest.parts[name])

    def read(indices: Sequence[int]) -> Iterator[Raw]:
        for i in indices:
            yield _read(files[i], part_names[labels[i]])

    return Source(
        layout="text", class_names=list(manifest.classes), labels=np.array(labels, dtype=np.int64),
        names=[file.stem for file in files], files=[str(file) for file in files], read=read,
        missing=missing, validation=np.array(held, dtype=bool), part_names=part_names,
        part_labels=[f"{name}/{part}" for name in manifest.classes
                     for part in manifest.parts[name]])


def _read(file: Path, allowed: list[int]) -> Raw:
    rows = read_table(file, 7)
    part = rows[:, 6].astype(np.int64)
    wrong = np.flatnonzero((part != rows[:, 6]) | ~np.isin(part, allowed))
    if len(wrong):
        raise FileFormatError(
            f"part {rows[wrong[0], 6]:g} is not of its category ({allowed[0]} to {allowed[-1]})",
            where=f"{file}, row {wrong[0] + 1}", hint="get this file again")
    return Raw(rows[:, :3], rows[:, 3:6], part)


def _categories(file: Path, classes: list[str]) -> dict[str, int]:
    result = {}
    for number, line in read_lines(file):
        words = line.split()
        if len(words) != 2 or words[0] not in classes:
            raise DatasetError(f"'{line}' is not a category and its number",
                               where=f"{file}:{number}",
                               hint="lines are such as 'Airplane 02691156'")
        result[words[1]] = classes.index(words[0])
    return result


def _listed(file: Path) -> list[str]:
    try:
        entries = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"the list cannot be read: {error}", where=str(file),
                           hint="get this file again") from error
    if not isinstance(entries, list) or not all(
            isinstance(e, str) and len(PurePosixPath(e).parts) >= 2 for e in entries):
        raise DatasetError("the list is not one of shape_data/<synset>/<id>", where=str(file),
                           hint="get this file again")
    return entries
