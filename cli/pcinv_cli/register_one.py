"""One pair on the console: what is checked before, what is written, what a person is told."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from pcinv.errors import UsageError
from pcinv_cli.failures import Failure
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.reports import check_report, command_line
from pcinv_cli.viewing import MOST_SHOWN, show_also

_ADVICE = (
    ("scale mismatch", "write both clouds in the same units, or --scale finds the scale as well"),
    ("degenerate", "clouds that show more shape, or --init T.txt with what is known"),
    ("ambiguous", "look at it (-o aligned.ply); --init T.txt chooses one of the poses"),
    ("", "--explain tells each stage; --view-point X,Y,Z if you know it, or --init T.txt"),
)
"""What to try, by the beginning of the first reason."""


def register_one(talk: Talk, source: str, target: str, output: tuple[str, ...], init: str | None,
                 explain: bool, force: bool, dry_run: bool, view: bool, report: str | None,
                 settings: dict[str, Any]) -> Outcome:
    """Register, write and show what was asked for, and gate on the verdict."""
    import pcinv
    from pcinv.registration.pose_files import read_pose
    from pcinv.registration.shipped import network_of

    item = _check_outputs(output, (source, target, init), force)
    check_report(report, force)
    start = None if init is None else read_pose(init)
    talk.say(f"registering {source} to {target}")
    descriptor = network_of(settings.pop("weights"))
    found = pcinv.register(source, target, init=start, descriptor=descriptor, **settings)
    if explain:
        for stage in found.stages:
            talk.say(f"{stage.name:<12}{stage.time_ms:>8,.0f} ms  {stage.words}")
    result: dict[str, Any] = {**to_plain(found), "source": source, "target": target,
                              "output": list(output), "written": bool(output) and not dry_run,
                              "report": report}
    if not dry_run:
        for path in output:
            _write(Path(path), item, found, result, force)
    if view or (report and not dry_run):
        _look(talk, source, target, found, view, None if dry_run else report, force)
    return Outcome(result, lambda t: _show(t, result), _gate(result))


def _check_outputs(output: tuple[str, ...], inputs: tuple[str | None, ...], force: bool) -> Any:
    """Raise before anything is computed if something could not be written, or would be lost.

    Return the source, if it is to be written in the target's frame.
    """
    from pcinv import read
    from pcinv.io.writing import check_output, check_place

    if len({os.path.realpath(path) for path in output}) < len(output):
        raise UsageError("two outputs have the same name", where="--output",
                         hint="name each file once")
    for path in output:
        if any(name is not None and os.path.exists(name) and os.path.exists(path)
               and os.path.samefile(name, path) for name in inputs):
            raise UsageError("this output is one of the inputs", where=path,
                             hint="name another file")
        check_place(Path(path), force=force)
    clouds = [path for path in output if Path(path).suffix.lower() not in (".txt", ".json")]
    if not clouds:
        return None
    item = read(str(inputs[0]))
    for path in clouds:
        check_output(path, item, force=force)
    return item


def _write(path: Path, item: Any, found: Any, result: dict[str, Any], force: bool) -> None:
    """Write the matrix, the result, or the moved source, by the suffix."""
    from pcinv import write
    from pcinv.io.writing import replacing
    from pcinv.registration.moved import moved
    from pcinv.registration.pose_files import pose_text

    suffix = path.suffix.lower()
    if suffix == ".txt":
        words = f"takes {result['source']} to {result['target']}; {found.verdict}"
        text = pose_text(found.transform, words)
    elif suffix == ".json":
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    else:
        write(path, moved(item, found.transform), force=force)
        return
    with replacing(path, force=force) as stream:
        stream.write(text.encode())


def _look(talk: Talk, source: str, target: str, found: Any, view: bool, report: str | None,
          force: bool) -> None:
    """Write the page and show the scene."""
    from pcinv.vis.pair_report import report_of_pair, scene_of_pair

    scene = scene_of_pair(source, target, found, limit=MOST_SHOWN)
    if report is not None:
        report_of_pair(scene, found, command_line()).save(report, force=force)
        talk.say(f"wrote {report}")
    if view:
        show_also(talk, scene)


def _gate(result: dict[str, Any]) -> Failure | None:
    if result["verdict"] == "trusted":
        return None
    reason = (result["reasons"] or ["no reason"])[0]
    hint = next(advice for start, advice in _ADVICE if reason.startswith(start))
    return Failure(1, "not-trusted", f"{result['verdict']}, not to be trusted: {reason}",
                   f"{result['source']} to {result['target']}", hint)


def _show(talk: Talk, result: dict[str, Any]) -> None:
    talk.result(f"{result['verdict']}: {result['source']} to {result['target']}")
    for reason in result["reasons"]:
        talk.result(f"  - {reason}")
    talk.result("T_target_source")
    for row in result["transform"]:
        talk.result("  " + " ".join(f"{value:>13.9g}" for value in row))
    talk.result(f"turned by    {result['rotation_angle_deg']:.2f} degrees, moved by "
                f"{result['translation_norm']:.4g}")
    if result["scale"] != 1:
        talk.result(f"scale        {result['scale']:.6g} of the target's units make one of the "
                    "source's")
    talk.result(f"overlap      {result['overlap']:.0%} of the source, "
                f"{result['overlap_target']:.0%} of the target")
    rmse = result["inlier_rmse"]
    talk.result(f"RMSE         {'-' if rmse is None else format(rmse, '.3g')}, "
                f"voxel {result['voxel']:.3g}")
    talk.result(f"inliers      {result['num_inliers']:,} of {result['num_correspondences']:,} "
                f"matches, score {result['score']:.3g}")
    talk.result(f"method       {result['method']}, features: {result['features']}; view points: "
                f"{result['view_points']}")
    if result["output"]:
        did = "wrote" if result["written"] else "would write"
        talk.result(f"{did} {', '.join(result['output'])}")
    elif result["verdict"] != "failed":
        names = shlex.join([result["source"], result["target"]])
        talk.result(f"next: pcinv register {names} -o aligned.ply")
