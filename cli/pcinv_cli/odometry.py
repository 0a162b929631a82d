"""`pcinv odometry FOLDER`: where a LiDAR was at each scan of a sequence."""

from __future__ import annotations

import time
from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.failures import Failure
from pcinv_cli.fields import show_fields
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.progress import Progress


@verb("odometry", "Follow a LiDAR through a folder of scans: the pose of each.", (
    ("pcinv odometry KITTI/sequences/00 -o poses.txt", "any layout that pcinv info knows"),
    ("pcinv odometry scans --write-as tum -o poses.tum", "with the stamps of the scans"),
    ("pcinv odometry scans --limit 100 --json", "a look at the first ones, nothing is written"),
), output={"metavar": "FILE", "help": "Poses, T_world_sensor, a line a scan. A run that is stopped "
           "goes on by the same command."}, force={})
@click.argument("folder", type=click.Path(), metavar="FOLDER")
@click.option("--layout", type=params.LAYOUT, metavar="NAME",
              help="kitti, semantickitti, nuscenes, argoverse2 or plain.  [default: recognised]")
@click.option("--write-as", type=click.Choice(["kitti", "tum"]), default="kitti",
              help="12 numbers of a matrix, or stamp, place and quaternion.")
@click.option("--voxel", type=click.FloatRange(0, min_open=True), default=0.5, metavar="METRES",
              help="Cells of the map, and of thinned scans; less indoors.")
@click.option("--max-range", type=click.FloatRange(0, min_open=True), default=100.0,
              metavar="METRES", help="Points farther off are left out.")
@click.option("--deskew/--no-deskew", default=True,
              help="Undo the motion within a scan where its points carry times.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many scans.")
@click.option("--threads", type=click.IntRange(1), default=2, metavar="N", help="Of the processor.")
def command(talk: Talk, folder: str, output: str | None, layout: str | None, write_as: str,
            voxel: float, max_range: float, deskew: bool, limit: int | None, threads: int,
            force: bool) -> Outcome:
    """Run it, show where the path goes, and say which scans are to be doubted."""
    import pcinv
    from pcinv.registration.odometry import OdometryOptions

    options = OdometryOptions(voxel=voxel, thin=voxel, max_range=max_range, deskew=deskew,
                              threads=threads)
    begun = time.monotonic()
    with Progress(talk) as progress:
        def watch(done: int, total: int, step: Any) -> None:
            if talk.progress:
                left = (time.monotonic() - begun) / done * (total - done)
                progress.show(f"{step.matched:.0%} of the points fit", "scan", done, total, left)

        found = pcinv.odometry(folder, output=output, layout=layout, write_as=write_as,
                               options=options, limit=limit, force=force, callback=watch)
    for name, why in found.skipped.items():
        talk.warn("scan-skipped", f"{name}: {why}")
    if found.open:
        first, way = next(iter(found.open.items()))
        talk.warn("degenerate", f"{len(found.open)} scans can slide along a direction, {first} "
                                f"along {way}: drift there is not noticed")
    fields = to_plain(found)
    result = {"num_scans": len(found.names), "poses_file": fields["poses_file"], **{
        key: fields[key] for key in ("time_ms_median", "path_length", "lost", "found_elsewhere",
                                     "open", "skipped")}, **(fields["against_truth"] or {})}
    if output is None:
        result["poses"] = [pose[:3] for pose in fields["poses"]]
    gate = None
    if found.lost:
        gate = Failure(1, "lost", f"{len(found.lost)} of {len(found.names)} scans fit nowhere, the "
                       f"first is {found.lost[0]}; their poses are only expected ones", folder,
                       "pcinv view FOLDER shows them; a larger --voxel, or scans nearer in time")
    return Outcome(result, lambda t: _show(t, result), gate)


def _show(talk: Talk, result: dict[str, Any]) -> None:
    shown = {"scans": result["num_scans"], "path": f"{result['path_length']:.1f} m",
             "time": f"{result['time_ms_median']:.0f} ms a scan"}
    if result["found_elsewhere"]:
        shown["found elsewhere"] = ", ".join(result["found_elsewhere"][:5])
    if "step_m" in result:
        shown["against the truth"] = (
            f"a step is off by {result['step_m_median'] * 100:.1f} cm and "
            f"{result['step_deg_median']:.3f} degrees in the median, {result['step_m'] * 100:.1f} "
            f"cm and {result['step_deg']:.3f} degrees at most")
        if result["t_rel_percent"] is not None:
            shown["drift"] = (f"{result['t_rel_percent']:.2f} %, "
                              f"{result['r_rel_deg_per_100m']:.3f} degrees in 100 m")
        shown["whole path"] = f"off by {result['ate_rmse']:.2f} m (root mean square)"
    show_fields(talk, shown)
    if result["poses_file"]:
        talk.result(f"wrote {result['poses_file']}")
