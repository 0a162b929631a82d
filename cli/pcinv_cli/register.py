"""`pcinv register SOURCE TARGET`: the motion that takes one cloud into the frame of another."""

from __future__ import annotations

from typing import Any

import click

from pcinv.errors import UsageError
from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk
from pcinv_cli.reports import report_option


@verb("register", "Find the motion between two clouds, or many, and judge it; exit code 1 unless "
      "all answers are trusted.", (
    ("pcinv register a.ply b.ply", "any sensor, units and pose"),
    ("pcinv register a.ply b.ply -o T.txt -o aligned.ply", "the matrix, and a in the frame of b"),
    ("pcinv register --folder scans -o model --jobs 4", "all pairs, poses, one merged cloud"),
), output={"multiple": True,
           "help": "T.txt: the matrix T_target_source; .json: the result; .ply, .pcd...: the "
                   "source in the frame of the target. May be repeated. Of many: a folder."},
    seed={"default": 0, "help": "Seed of the points that are sampled of meshes."},
    force={}, dry_run={})
@click.argument("source", type=click.Path(), required=False)
@click.argument("target", type=click.Path(), required=False)
@click.option("--method", type=params.METHOD, default="auto", metavar="auto|patch|roitr|sc2|icp",
              help="How the motion is found: auto takes histograms, then learned patches; icp "
                   "starts where the clouds are.")
@click.option("--weights", type=click.Path(), metavar="RUN|FILE",
              help="A network for patches, or a RoITr.  [default: the one that comes with pcinv]")
@click.option("--view-point", "--viewpoint", "view_point", type=params.VIEW_POINT, default="auto",
              metavar="auto|origin|none|X,Y,Z", help="Where the cameras were, in both frames.")
@click.option("--voxel", type=click.FloatRange(min=0, min_open=True), metavar="V",
              help="Working size, in the units of the clouds.  [default: from the data]")
@click.option("--init", type=click.Path(), metavar="T.txt",
              help="A motion to refine; nothing is searched for.")
@click.option("--fast", is_flag=True, help="One size of histograms instead of two, no patches.")
@click.option("--scale", is_flag=True,
              help="The units differ, nobody knows how: find the scale as well.")
@click.option("--explain", is_flag=True, help="Say what each stage did, and its time.")
@click.option("--view", is_flag=True, help="Show the two, before and after, in a window or page.")
@report_option("before and after, matches, evidence.")
@click.option("--pairs", type=click.Path(), metavar="LIST.csv",
              help="Many: columns source,target[,init], paths relative to the list.")
@click.option("--folder", type=click.Path(), metavar="DIR",
              help="Many: all pairs of the clouds in it, joined to a model.")
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N",
              help="Many: processes.  [default: 1]")
@click.option("--cluster", metavar="ADDRESS",
              help="Many: a dask scheduler, tcp://HOST:8786, whose workers do it.")
def command(talk: Talk, source: str | None, target: str | None, pairs: str | None,
            folder: str | None, jobs: int | None, cluster: str | None, output: tuple[str, ...],
            init: str | None, scale: bool, explain: bool, force: bool, dry_run: bool,
            weights: str | None, view: bool, report: str | None, **settings: Any) -> Outcome:
    """Register one pair or many; `settings` are those of `pcinv.register`."""
    if pairs is None and folder is None:
        if source is None or target is None:
            raise UsageError("two clouds are needed, SOURCE and TARGET", where="pcinv register",
                             hint="pcinv register a.ply b.ply, or --pairs LIST.csv, --folder DIR")
        for name, given in (("--jobs", jobs), ("--cluster", cluster)):
            if given is not None:
                raise UsageError("one pair is one process", where=name,
                                 hint=f"{name} goes with --pairs or --folder")
        from pcinv_cli.register_one import register_one

        return register_one(talk, source, target, output, init, explain, force, dry_run, view,
                            report, settings | {"scale": scale, "weights": weights})
    _check_many(source, pairs, folder, output, init, {
        "--explain": explain, "--scale": scale, "--view": view, "--report": report is not None})
    from pcinv_cli.register_many import register_many

    return register_many(talk, pairs, folder, output[0], params.workers(jobs, cluster), force,
                         dry_run, settings | {"weights": weights})


def _check_many(source: str | None, pairs: str | None, folder: str | None,
                output: tuple[str, ...], init: str | None, of_one: dict[str, bool]) -> None:
    option = "--folder" if pairs is None else "--pairs"
    wrong = [("--folder", folder is not None and pairs is not None), ("SOURCE", source is not None),
             ("--init", init is not None), *of_one.items()]
    for name, given in wrong:
        if given:
            raise UsageError(f"{name} does not go with {option}", where=name,
                             hint="motions to refine are a column of the list: init"
                             if name == "--init" else f"leave out one of {name} and {option}")
    if len(output) != 1:
        raise UsageError(f"{option} needs one folder for its results, {len(output)} are given",
                         where="--output", hint=f"pcinv register {option} ... -o OUTDIR")
