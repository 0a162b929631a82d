"""`pcinv flow A B`: how each point of a scan moves until another one."""

from __future__ import annotations

from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain


def _methods() -> tuple[str, ...]:
    from pcinv.engine.flow import METHODS

    return METHODS


@verb("flow", "Estimate how each point of a scan moves until another one, without labels.", (
    ("pcinv flow 000000.bin 000001.bin -o flow.npz", "poses are taken from the sequence around"),
    ("pcinv flow a.ply b.ply --method student -o moving.ply",
     "at once; the first scan with columns flow, moving, cluster"),
    ("pcinv flow A.feather B.feather --view", "with labels it says how far it is off"),
), output={"metavar": "FILE", "help": "Arrays in a .npz, or the first scan with columns in any "
           "format of clouds."}, force={}, device={})
@click.argument("first", type=click.Path(), metavar="A")
@click.argument("second", type=click.Path(), metavar="B")
@click.option("--method", type=params.Name("method", _methods), default="floxels", metavar="NAME",
              help="floxels, student: the network that it has taught, fast_nsf, or ego: "
              "nothing moves but the sensor.")
@click.option("--weights", type=params.RUN, metavar="RUN|FILE",
              help="A student of yours.  [default: the one that comes with pcinv]")
@click.option("--around", type=click.IntRange(0), default=2, metavar="N",
              help="More scans on either side that floxels looks at, where there are some.")
@click.option("--layout", type=params.LAYOUT, metavar="NAME",
              help="Of the sequence.  [default: recognised]")
@click.option("--view", is_flag=True, help="Show what moves, with arrows.")
@click.option("--screenshot", type=click.Path(), metavar="FILE", help="The same as a picture.")
def command(talk: Talk, first: str, second: str, output: str | None, force: bool, view: bool,
            screenshot: str | None, device: str | None, **options: Any) -> Outcome:
    """Estimate, write, show, and say what moves."""
    from pathlib import Path

    import pcinv
    from pcinv.io.writing import check_place

    for path in (output, screenshot):
        if path is not None:
            check_place(Path(path), force=force)
    found = pcinv.flow(first, second, device=device or "auto", **options,
                       callback=lambda stage: talk.say(f"{stage} ..."))
    if found.ego_from == "scans" and talk.progress:
        talk.say("no poses: the sensor's own motion is found from the two scans")
    if output is not None:
        from pcinv.engine.flow import write_flow

        write_flow(output, found, force=force)
    result: dict[str, Any] = {
        "flow_file": output, "method": found.method, "num_points": len(found.flow),
        "num_moving": int(found.is_moving.sum()), "num_pieces": _pieces(found),
        "transform": to_plain(found.T_second_first), "ego_from": found.ego_from,
        "scans": found.scans, "interval_s": found.interval_s, "time_ms": found.time_ms}
    if found.scores is not None:
        mine = found.scores[found.method]
        result |= {key: mine[key] for key in ("epe", "three_way_epe", "dynamic_bucket_epe")}
        result["scores"] = to_plain(found.scores)
    if view or screenshot is not None:
        _picture(talk, found, view, screenshot, force)
        result["screenshot"] = screenshot
    return Outcome(result, lambda t: _show(t, result))


def _pieces(found: Any) -> int:
    import numpy as np

    moving = found.cluster[found.is_moving]
    return len(np.unique(moving[moving >= 0]))


def _picture(talk: Talk, found: Any, view: bool, screenshot: str | None, force: bool) -> None:
    from pcinv.vis.flow_scene import flow_scene

    scene = flow_scene(found)
    if screenshot is not None:
        from pcinv.vis.picture import save_picture

        save_picture(scene, screenshot, force=force)
    if view:
        from pcinv_cli.viewing import show_also

        show_also(talk, scene)


def _show(talk: Talk, result: dict[str, Any]) -> None:
    talk.result(f"{result['num_moving']:,} of {result['num_points']:,} points move, in "
                f"{result['num_pieces']} pieces; {result['method']}, "
                f"{sum(result['time_ms'].values()) / 1e3:.1f} s, {len(result['scans'])} scans")
    if "scores" in result:
        talk.table(("method", "EPE", "three-way EPE", "moving foreground", "moving, by speed"), [
            (name, *(_metres(row[key]) for key in (
                "epe", "three_way_epe", "epe_foreground_dynamic")),
             "-" if row["dynamic_bucket_epe"] is None else f"{row['dynamic_bucket_epe']:.3f}")
            for name, row in result["scores"].items()])
    if result["flow_file"]:
        talk.result(f"wrote {result['flow_file']}")


def _metres(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f} m"
