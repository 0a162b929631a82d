"""`pcinv register SOURCE TARGET`: the pose that takes one cloud into the frame of another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np

from pcinv.errors import FileFormatError, UsageError
from pcinv_cli import params
from pcinv_cli.failures import Failure
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


def _methods() -> Iterable[str]:
    from pcinv.registration.pipeline import METHODS

    return METHODS


@verb("register", "Find the motion that takes one cloud into the frame of another, and judge it.", (
    ("pcinv register a.ply b.ply", "any sensor, units and pose; exit code 1 unless trusted"),
    ("pcinv register a.ply b.ply -o aligned.ply", "write a in the frame of b"),
    ("pcinv register a.ply b.ply -o T.txt --explain", "the matrix; a line for each stage"),
), output={"help": "T.txt: the matrix T_target_source; .json: the result; else the moved source."},
    seed={"default": 0}, force={}, dry_run={})
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--method", type=params.Name("method", _methods), default="auto", metavar="NAME",
              help="How the pose is found: auto, sc2, icp.")
@click.option("--view-point", "--viewpoint", default="auto", metavar="auto|origin|none|X,Y,Z",
              help="Where the cameras were, in the frames of the clouds.")
@click.option("--voxel", type=click.FloatRange(0, min_open=True), metavar="V",
              help="Working size, in the units of the clouds.  [default: from the data]")
@click.option("--init", type=click.Path(), metavar="T.txt",
              help="A pose to refine; nothing is searched for.")
@click.option("--fast", is_flag=True, help="One size of features instead of two.")
@click.option("--explain", is_flag=True, help="Say what each stage did, and its time.")
def command(talk: Talk, source: str, target: str, method: str, view_point: str,
            voxel: float | None, init: str | None, fast: bool, explain: bool, output: str | None,
            seed: int, force: bool, dry_run: bool) -> Outcome:
    """Register, write what was asked for, and gate on the verdict."""
    import pcinv

    if output is not None and Path(output).exists() and not force:
        raise UsageError("the output is there already", where=output, hint="--force overwrites it")
    found = pcinv.register(
        source, target, method=method, view_point=_view_point(view_point), voxel=voxel,
        init=None if init is None else read_matrix(init), fast=fast, seed=seed)
    if explain:
        for stage in found.stages:
            talk.say(f"{stage.name:12} {stage.time_ms:7.0f} ms  {stage.words}")
    result: dict[str, Any] = {"source": source, "target": target, "output": output,
                              **to_plain(found.to_dict())}
    if output is not None and not dry_run:
        _write(output, source, found.transform, result, force)
    gate = None
    if found.verdict != "trusted":
        gate = Failure(1, "not-trusted", f"{found.verdict}: " + "; ".join(found.reasons),
                       f"{source} {target}", "--explain shows each stage")
    return Outcome(result, lambda t: _show(t, found, output), gate)


def _show(talk: Talk, found: Any, output: str | None) -> None:
    talk.result(f"{found.verdict}" + "".join(f"\n  {reason}" for reason in found.reasons))
    for row in found.transform:
        talk.result(" ".join(f"{value:14.6g}" for value in row))
    talk.result(f"turned by {found.rotation_angle_deg:.2f} degrees, moved by "
                f"{found.translation_norm:.4g}; overlap {found.overlap:.0%} of the source, "
                f"{found.overlap_target:.0%} of the target; rmse {found.inlier_rmse:.3g}; "
                f"{found.num_inliers:,} of {found.num_correspondences:,} matches agree")
    if output is not None:
        talk.result(f"wrote {output}")


def _view_point(text: str) -> Any:
    """Return a word as it is, or three numbers."""
    parts = text.split(",")
    if len(parts) != 3:
        return text
    try:
        return np.array([float(part) for part in parts])
    except ValueError:
        raise UsageError(f"view point '{text}'", where="--view-point",
                         hint="auto, origin, none, or X,Y,Z") from None


def read_matrix(path: str) -> np.ndarray:
    """Read a 4x4 matrix as text; raises FileFormatError where the file holds none."""
    try:
        matrix = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"no matrix: {error}", where=path,
                              hint="four lines of four numbers, T_target_source") from error
    if matrix.shape != (4, 4):
        raise FileFormatError(f"a matrix {matrix.shape}, expected (4, 4)", where=path,
                              hint="four lines of four numbers, T_target_source")
    return matrix


def _write(output: str, source: str, transform: np.ndarray, result: dict[str, Any],
           force: bool) -> None:
    """Write the matrix, the result, or the moved source, by the suffix."""
    import json

    from pcinv.engine.files import write_atomic
    from pcinv.registration.moved import moved

    suffix = Path(output).suffix.lower()
    if suffix == ".txt":
        lines = ["# T_target_source: takes points of the source into the frame of the target",
                 *(" ".join(repr(float(v)) for v in row) for row in transform)]
        write_atomic(Path(output), ("\n".join(lines) + "\n").encode())
    elif suffix == ".json":
        write_atomic(Path(output), json.dumps(result, indent=1).encode())
    else:
        from pcinv import io

        io.write(output, moved(io.read(source), transform), force=force)
