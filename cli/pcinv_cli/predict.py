"""`pcinv predict RUN FILE…`: what is in your own files."""

from __future__ import annotations

import csv
import dataclasses
import io as text_io
import json
from pathlib import Path
from typing import Any

import click

from pcinv.errors import PcinvError, UsageError
from pcinv_cli import params
from pcinv_cli.failures import Failure, failure_of
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk

_WRITTEN = {"part_segmentation": "parts", "normals": "normals"}
"""Tasks whose answers are clouds, and what their files are called."""
_OF_ONE_FILE = (3, 6)
"""Exit codes of errors that leave the other files to be predicted."""


@verb("predict", "Name what is in your own files: a class, or the part or normal of each point.", (
    ("pcinv predict RUN chair.off scan.ply", "any format that pcinv info reads"),
    ("pcinv predict RUN parts/*.stl --top 3 --json", "the three likeliest, for another program"),
    ("pcinv predict RUN chair.ply --category chair -o labelled", "part labels, as files"),
), output={"metavar": "DIR", "help": "Folder for predictions.csv, or for the clouds with part "
           "labels or normals.  [default: no csv; clouds beside the input]"},
    device={}, seed={"default": 0}, force={})
@click.argument("target", metavar="RUN", type=params.RUN)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--points", type=click.IntRange(1), metavar="N",
              help="Points that the network sees of each file.  [default: as in training]")
@click.option("--top", type=click.IntRange(1), default=5, metavar="N",
              help="How many of the likeliest classes.")
@click.option("--category", metavar="NAME", help="Class of the files, for part segmentation.")
def command(talk: Talk, target: str, files: tuple[str, ...], points: int | None, top: int,
            category: str | None, output: str | None, device: str | None, seed: int, force: bool
            ) -> Outcome:
    """Predict each file; a damaged one does not keep the others from being predicted."""
    from pcinv.engine.loading import load_model
    from pcinv.engine.predict import predict

    loaded = load_model(target)
    kind = _WRITTEN.get(loaded.meta.config.model.task, "")
    targets = _targets(files, output, kind, force)
    rows: list[dict[str, Any]] = []
    first: Failure | None = None
    for file in files:
        try:
            told, = predict(loaded, [file], points=points, seed=seed, device=device or "auto",
                            top=top, category=category)
        except PcinvError as error:
            if len(files) == 1 or error.exit_code not in _OF_ONE_FILE:
                raise
            failure = failure_of(error)
            if first is None:
                first = failure
            else:
                talk.warn(failure.code, f"{failure.where}: {failure.message}")
            continue
        row = {key: getattr(told, key) for key in ("file", "label", "confidence", "top",
                                                   "num_points", "num_used", "normals")}
        write = {"parts": _write_parts, "normals": _write_normals}.get(kind)
        rows.append(row | (write(told, targets[file], force) if write else {}))
    if output is not None and not kind and rows:
        _write_csv(rows, targets[files[0]])
    return Outcome({"files": rows}, lambda t: _show(t, rows), first)


def _targets(files: tuple[str, ...], output: str | None, kind: str, force: bool
             ) -> dict[str, Path]:
    """Return where each file's answer goes; nothing is computed if something would be lost."""
    if output is None and not kind:
        return {}
    targets = {file: Path(output or Path(file).parent) / f"{Path(file).stem}.{kind}.ply"
               if kind else Path(output or "") / "predictions.csv" for file in files}
    if kind and len(set(targets.values())) < len(targets):
        raise UsageError("two files of one name would be written to one place", where="--output",
                         hint="leave -o out, or predict them one after the other")
    beside = [p.with_suffix(".json") for p in targets.values() if kind == "parts"]
    for path in [*targets.values(), *beside]:
        if path.exists() and not force:
            raise UsageError("the file exists already", where=str(path),
                             hint="--force overwrites it, -o names another folder")
    return targets


def _write_parts(told: Any, path: Path, force: bool) -> dict[str, Any]:
    """Write the cloud with all its attributes and `part`; return what to tell about it."""
    from pcinv import io
    from pcinv.engine.files import write_atomic

    attributes = {**told.cloud.attributes, "part": told.labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(path, dataclasses.replace(told.cloud, attributes=attributes), force=force)
    words = json.dumps({"part": list(told.part_names)}, ensure_ascii=False)
    write_atomic(path.with_suffix(".json"), f"{words}\n".encode())  # pcinv view shows them
    counts = ((name, int((told.labels == k).sum())) for k, name in enumerate(told.part_names))
    return {"labels_file": path, "parts": {name: count for name, count in counts if count}}


def _write_normals(told: Any, path: Path, force: bool) -> dict[str, Any]:
    """Write the cloud with all its attributes and the network's normals."""
    from pcinv import io

    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(path, told.cloud, force=force)
    return {"normals_file": path}


def _write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    from pcinv.engine.files import write_atomic

    text = text_io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "label", "confidence"))
    writer.writerows((row["file"], row["label"], f"{row['confidence']:.6f}") for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.getvalue().encode())


def _show(talk: Talk, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "normals_file" in row:
            talk.result(f"{row['file']}: {row['num_points']:,} normals, of either sign, written to "
                        f"{row['normals_file']}")
            continue
        if "labels_file" in row:
            parts = ", ".join(f"{name} {count:,}" for name, count in row["parts"].items())
            talk.result(f"{row['file']}: {parts}; written to {row['labels_file']}")
            continue
        others = ", ".join(f"{item['label']} {item['confidence']:.2f}" for item in row["top"][1:])
        talk.result(f"{row['file']}: {row['label']} {row['confidence']:.2f}"
                    + (f"  ({others})" if others else ""))
