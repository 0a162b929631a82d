"""`pcinv embed RUN FILE… -o e.npy`: a vector of each file, and which file it belongs to."""

from __future__ import annotations

import csv
import io as text_io
from pathlib import Path
from typing import Any

import click

from pcinv.errors import UsageError
from pcinv_cli import params
from pcinv_cli.failures import Failure, failure_of
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk

_COLUMNS = ("file", "num_points", "num_used", "normals")


@verb("embed", "Turn shapes into vectors that are alike where the shapes are, in any pose.", (
    ("pcinv embed RUN parts/*.stl -o parts.npy", "a row a file; parts.csv names the files"),
    ("pcinv embed RUN a.ply b.ply -o ab.npz", "one file: the arrays embeddings and files"),
    ("pcinv embed RUN parts/*.stl -o short.npy --dim 32", "short vectors, of --head matryoshka"),
), output={"metavar": "FILE", "required": True,
           "help": "FILE.npy, with the names in FILE.csv beside it; or FILE.npz with both."},
    device={}, seed={"default": 0}, force={})
@click.argument("target", metavar="RUN", type=params.RUN)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--dim", type=click.IntRange(1), metavar="N",
              help="Only the first N numbers, of a network trained for it.  [default: all]")
@click.option("--raw", is_flag=True, help="Leave the vectors as long as they are, instead of 1.")
@click.option("--points", type=click.IntRange(1), metavar="N",
              help="Points that the network sees of each file.  [default: as in training]")
def command(talk: Talk, target: str, files: tuple[str, ...], dim: int | None, raw: bool,
            points: int | None, output: str, device: str | None, seed: int, force: bool) -> Outcome:
    """Embed each file; a damaged one does not keep the others from it."""
    from pcinv.engine.embed import embed

    names = _names_file(Path(output), force)
    found = embed(target, files, dim=dim, raw=raw, points=points, seed=seed,
                  device=device or "auto", skip=len(files) > 1)
    first: Failure | None = None
    for one in found.skipped:
        failure = failure_of(one.error)
        if first is None:
            first = failure
        else:
            talk.warn(failure.code, f"{failure.where}: {failure.message}")
    rows = [{key: getattr(row, key) for key in _COLUMNS} for row in found.rows]
    if rows:
        _write(Path(output), names, found, rows)
    result = {"files": rows, "output": output if rows else None, "names_file": names if rows else
              None, "dim": found.vectors.shape[1], "normalised": not raw,
              "num_skipped": len(found.skipped), "weights": found.weights,
              "fingerprint": found.fingerprint}
    return Outcome(result, lambda t: _show(t, result), first)


def _names_file(output: Path, force: bool) -> Path | None:
    """Return where the names go, None for an npz; nothing is computed if something would be lost.

    Raises UsageError for another suffix, or a file that is there.
    """
    from pcinv.io.writing import check_place

    if output.suffix not in (".npy", ".npz"):
        raise UsageError(f"'{output.suffix}' is no suffix of vectors", where="--output",
                         hint="e.npy, with the names in e.csv beside it, or e.npz")
    names = output.with_suffix(".csv") if output.suffix == ".npy" else None
    for path in filter(None, (output, names)):
        check_place(path, force=force)
    return names


def _write(output: Path, names: Path | None, found: Any, rows: list[dict[str, Any]]) -> None:
    import numpy as np

    from pcinv.engine.files import write_atomic

    data = text_io.BytesIO()
    if names is None:
        np.savez(data, embeddings=found.vectors, files=np.array(found.files),
                 fingerprint=np.array(found.fingerprint))
    else:
        np.save(data, found.vectors)
        text = text_io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([row[key] for key in _COLUMNS] for row in rows)
        write_atomic(names, text.getvalue().encode("utf-8", "surrogateescape"))
    write_atomic(output, data.getvalue())


def _show(talk: Talk, result: dict[str, Any]) -> None:
    if not result["files"]:
        return
    length = "of length 1" if result["normalised"] else "as the network gives them"
    talk.result(f"{len(result['files']):,} vectors of {result['dim']} numbers, {length}: "
                f"{result['output']}")
    if result["names_file"] is not None:
        talk.result(f"their files, in the same order: {result['names_file']}")
    if result["num_skipped"]:
        talk.result(f"skipped: {result['num_skipped']:,}")
