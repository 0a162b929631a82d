"""A person's own files: a folder for each class, or `labels.csv` with a row for each file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError
from pcinv_data.dataset import Raw, Request, Source
from pcinv_data.files import read_shape
from pcinv_data.recognise import nearest_thing
from pcinv_data.splits import validation_mask

TEST_SHARE = 0.2
PARTS_FILE = "parts.json"
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}


def open_folder(request: Request) -> Source:
    """Open `labels.csv`, `<class>/{train,test}/*` or `<class>/*`.

    Without a split of its own, a fifth of each class is kept for testing: which, depends on the
    sorted file names alone.
    """
    root = request.root
    if not root.is_dir():
        raise DatasetError(f"not a folder: {nearest_thing(root)}", where=str(root),
                           hint="--root must name the folder of your files")
    table = root / "labels.csv"
    layout, rows = ("csv", _from_csv(table)) if table.is_file() else _from_folders(root)
    if not rows:
        raise DatasetError(f"no class folder with files that pcinv reads; {nearest_thing(root)}",
                           where=str(root),
                           hint="put files in <class>/, or list them in labels.csv (file,label)")
    classes = sorted({name for _, name, _ in rows})
    labels = np.array([classes.index(name) for _, name, _ in rows])
    if any(part for _, _, part in rows):
        chosen = np.array([(part or "train") == request.part for _, _, part in rows])
    else:
        test = validation_mask(labels, TEST_SHARE)
        chosen = test if request.part == "test" else ~test
    files = [row[0] for row, use in zip(rows, chosen, strict=True) if use]
    names = [file.relative_to(root).as_posix() for file in files]

    def read(indices: Sequence[int]) -> Iterator[Raw]:
        for i in indices:
            yield read_shape(files[i], request.num_points, request.seed, names[i])

    part_names, part_labels = _parts(root / PARTS_FILE, classes)
    return Source(layout=layout, class_names=classes, labels=labels[chosen], names=names,
                  files=[str(file) for file in files], read=read, part_names=part_names,
                  part_labels=part_labels,
                  missing=[n for n, file in zip(names, files, strict=True) if not file.is_file()])


def _from_csv(table: Path) -> list[tuple[Path, str, str]]:
    """Read the rows (file, label[, split]); files are relative to the table and stay below it."""
    rows = []
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not {"file", "label"} <= set(reader.fieldnames or ()):
                raise DatasetError(f"columns {reader.fieldnames}, expected file and label",
                                   where=f"{table}:1", hint="begin the table with 'file,label'")
            for row in reader:
                rows.append(_csv_row(row, table, reader.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"the table cannot be read: {error}", where=str(table),
                           hint="save it as CSV in UTF-8") from error
    return rows


def _csv_row(row: dict[str, str | None], table: Path, line: int) -> tuple[Path, str, str]:
    name, label, part = (str(row.get(key) or "").strip() for key in ("file", "label", "split"))
    if not name or not label:
        raise DatasetError("no file or no label in this row", where=f"{table}:{line}",
                           hint="each row is file,label")
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise DatasetError(f"'{name}' leads out of the folder", where=f"{table}:{line}",
                           hint="name files relative to the table")
    if part and part not in PARTS:
        raise DatasetError(f"unknown split '{part}'", where=f"{table}:{line}",
                           hint="train or test, or leave it empty")
    return table.parent / name, label, PARTS.get(part, "")


def _from_folders(root: Path) -> tuple[str, list[tuple[Path, str, str]]]:
    from pcinv.io import formats

    suffixes = {suffix for row in formats() for suffix in row["suffixes"]}
    rows = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        for file in sorted(folder.iterdir()):
            if file.is_dir() and file.name in PARTS:
                rows += [(f, folder.name, PARTS[file.name]) for f in sorted(file.iterdir())
                         if f.suffix.lower() in suffixes]
            elif file.suffix.lower() in suffixes and file.is_file():
                rows.append((file, folder.name, ""))
    return ("split" if any(part for _, _, part in rows) else "classes"), rows


def _parts(file: Path, classes: list[str]) -> tuple[dict[int, list[int]] | None, list[str] | None]:
    """Read `parts.json`: {"labels": [name of part 0, ...], "classes": {class: [part, ...]}}."""
    if not file.is_file():
        return None, None
    try:
        content = json.loads(file.read_text("utf-8"))
        labels = [str(name) for name in content["labels"]]
        by_class = {k: [int(p) for p in content["classes"][name]] for k, name in enumerate(classes)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        example = '{"labels": ["seat", "leg"], "classes": {"chair": [0, 1]}}'
        raise DatasetError(f"the table of parts cannot be used: {error!r}", where=str(file),
                           hint=example) from error
    wrong = [p for parts in by_class.values() for p in parts if not 0 <= p < len(labels)]
    if wrong:
        raise DatasetError(f"part {wrong[0]} has no name among {len(labels)}", where=str(file),
                           hint="parts are positions in 'labels'")
    return by_class, labels
