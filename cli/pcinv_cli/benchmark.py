"""`pcinv benchmark`: published protocols and comparisons; here registration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from pcinv_cli import params
from pcinv_cli.failures import Failure
from pcinv_cli.group import VerbGroup
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.reports import check_report, command_line, report_option

VERBS = {
    "registration": ("benchmark:registration", "Register the pairs of a data set and judge them by "
                     "its official rule."),
    "classification": ("trials:classification", "Train backbones alike and compare their classes."),
    "part-segmentation": ("trials:part_segmentation", "The same for parts of shapes."),
    "normals": ("trials:normals", "The same for directions of surfaces."),
    "pretraining": ("pretraining", "Train LiDAR backbones from scratch and pretrained, with few "
                    "labels and many."),
    "speed": ("speed", "Measure time and memory of backbones."),
    "retrieval": ("retrieval", "Let each shape of a data set search for others of its class."),
    "robustness": ("robustness", "Measure runs on clouds that are damaged more and more."),
}

_PURPOSE = "Run a published protocol, or set backbones side by side."
command = VerbGroup("benchmark", VERBS, _PURPOSE, (
    ("pcinv benchmark registration --dataset 3dmatch --root DIR --pairs 60", "evenly spaced pairs"),
    ("pcinv benchmark classification --dataset modelnet10 --root DIR -o OUT",
     "all backbones, trained alike"),
    ("pcinv data info 3dmatch", "where to get the data set"),
))


def _methods() -> Iterable[str]:
    from pcinv.registration.pipeline import METHODS

    return METHODS


def _view_points() -> Iterable[str]:
    from pcinv_data.benchmark import VIEW_POINTS

    return VIEW_POINTS


@verb("registration", VERBS["registration"][1], (
    ("pcinv benchmark registration --dataset 3dmatch --root DIR", "all pairs: half an hour"),
    ("pcinv benchmark registration --dataset 3dlomatch --root DIR --pairs 60 --rotate -o out",
     "60 pairs, each cloud turned; the same command goes on where it was stopped"),
    ("pcinv benchmark registration --dataset 3dmatch --root DIR --negatives 60 --report r.html",
     "how often clouds that do not meet are trusted; a page with pictures of the worst pairs"),
), output={"metavar": "DIR", "help": "Folder for results.jsonl, a line a pair, and settings.json; "
           "pairs that it holds are not computed again."},
    seed={"default": 0}, force={"help": "Overwrite a report that is there."})
@click.option("--dataset", type=params.PAIR_SET, required=True, metavar="NAME",
              help="Data set of pairs; pcinv data list names them.")
@click.option("--root", type=click.Path(), metavar="DIR",
              help="Folder of your copy of it; generated sets need none.")
@click.option("--method", type=params.Name("method", _methods), default="auto", metavar="NAME",
              help="How the pose is found.")
@click.option("--weights", type=click.Path(), metavar="RUN|FILE",
              help="A network for patches, or a RoITr.  [default: the one that comes with pcinv]")
@click.option("--pairs", type=click.IntRange(1), metavar="N",
              help="At most so many, evenly spaced.  [default: all]")
@click.option("--scene", metavar="NAME", help="Only this scene.")
@click.option("--rotate", is_flag=True, help="Move each cloud by a random motion of its own first.")
@click.option("--view-point", type=params.Name("view point", _view_points), default="auto",
              metavar="auto|origin|none|given",
              help="Where the cameras were; given: the truth, moved along with the clouds.")
@click.option("--fast", is_flag=True, help="One size of histograms instead of two, no patches.")
@click.option("--voxel", type=float, metavar="METRES",
              help="Working size.  [default: chosen from the data]")
@click.option("--matches", is_flag=True, help="Measure inlier ratios too.")
@click.option("--negatives", type=click.IntRange(0), default=0, metavar="N",
              help="Pairs of clouds of different scenes as well: no answer to them is right.")
@click.option("--jobs", type=click.IntRange(1), metavar="N",
              help="Processes; each computes with one thread.  [default: 1]")
@click.option("--cluster", metavar="ADDRESS",
              help="A dask scheduler, tcp://HOST:8786, whose workers do it.")
@report_option("recall by overlap and scene, verdicts, errors, pictures of the worst pairs.")
def registration(talk: Talk, output: str | None, jobs: int | None, cluster: str | None,
                 report: str | None, force: bool, **options: Any) -> Outcome:
    """Run the benchmark and show its figures."""
    from pcinv_cli.benchmark_report import Rows
    from pcinv_cli.progress import PairProgress
    from pcinv_data.benchmark import run_registration
    from pcinv_data.pairs import PAIR_SETS

    check_report(report, force)
    if not PAIR_SETS[options["dataset"]].needs_root and talk.progress:
        talk.say(f"the clouds of {options['dataset']} are made where they are not there yet, "
                 "which takes a minute or two")
    with PairProgress(talk) as progress:
        rows = Rows(progress)
        found = run_registration(output=output, callback=rows,
                                 **params.workers(jobs, cluster), **options)
    result: dict[str, Any] = {**to_plain(found), "output": output}
    if report is not None:
        _write_report(report, force, rows.kept, found, output, options)
        result["report"] = report
    gate = None
    if result["num_errors"]:
        name, said = next(iter(result["errors"].items()))
        talk.warn("pair-failed", f"{result['num_errors']} pairs failed with an error; "
                                 f"{name}: {said}")
        if result["num_errors"] == result["num_pairs"] + result["num_negatives"]:
            gate = Failure(1, "pairs-failed", f"every pair failed with an error: {said}", name,
                           "pcinv doctor checks this installation")
    return Outcome(result, lambda t: _show(t, result), gate)


def _write_report(report: str, force: bool, kept: dict[str, Any], found: dict[str, Any],
                  output: str | None, options: dict[str, Any]) -> None:
    from pcinv.vis.registration_report import registration_report
    from pcinv_cli.benchmark_report import pairs_of, rows_of

    pairs = pairs_of(rows_of(kept, output), found["rule"], output=output, **{
        name: options[name] for name in ("dataset", "root", "scene", "negatives", "seed")})
    registration_report(pairs, found, command=command_line()).save(report, force=force)


def _show(talk: Talk, result: dict[str, Any]) -> None:
    of_bodies = bool(result["by_kind"])
    talk.table(("class" if of_bodies else "scene", "pairs", "recall"), [
        (name, result["pairs_by_scene"][name], _share(recall))
        for name, recall in result["recall_by_scene"].items()])
    if len(result["recall_by_overlap"]) > 1:
        talk.result()
        talk.table(("overlap", "pairs", "recall"), [
            (name, row["pairs"], _share(row["recall"]))
            for name, row in result["recall_by_overlap"].items()])
    if of_bodies:
        talk.result()
        talk.table(("kind", "overlap", "pairs", "recall", "not trusted", "called open",
                    "trusted, wrong"), [
            (kind, name, row["pairs"], _share(row["recall"]), _share(row["not_trusted"]),
             _share(row["called_open"]), row["trusted_wrong"])
            for kind, bins in result["by_kind"].items() for name, row in bins.items()])
    if talk.verbose:
        talk.result()
        talk.table(("score from", "answers", "right among them", "of the right ones"), [
            (f"{row[0]:.3g}", *map(_share, row[1:])) for row in result["roc"]])
        talk.result()
        talk.table(("features", "score", "answers", "right"), [
            (kind, f"{low:g} to {high:g}" if high is not None else f"{low:g} or more", count,
             _share(right))
            for kind, rows in result["reliability"].items() for low, high, count, right in rows])
    talk.result()
    for line in _lines(result):
        talk.result(line)


def _lines(result: dict[str, Any]) -> Iterable[str]:
    turned = ", clouds moved" if result["rotate"] else ""
    yield (f"{result['dataset']}, method {result['method']}, view point {result['view_point']}"
           f"{turned}: recall {_share(result['recall'])} of {result['num_counted']} pairs, mean of "
           f"the scenes {_share(result['scene_mean_recall'])}, by the rule {result['rule']}")
    if result["by_kind"]:
        yield (f"median error of the right ones: {_number(result['rre_deg_median'])} degrees up to "
               f"symmetry, centre off by {_share(result['rte_median'])} of the diagonal")
    else:
        yield (f"median error of the right ones: {_number(result['rre_deg_median'])} degrees, "
               f"{_number(result['rte_median'])} m")
    if result["inlier_ratio"] is not None:
        yield (f"inlier ratio {_share(result['inlier_ratio'])}, feature matching recall "
               f"{_share(result['feature_matching_recall'])}")
    alone = _share(result["verdict_precision_without_negatives"])
    yield (f"trusted: {result['num_trusted']} pairs, right {alone}; of the right ones "
           f"{_share(result['verdict_recall'])} are trusted")
    if result["num_negatives"]:
        yield (f"clouds that do not meet: {result['negatives_trusted']} of "
               f"{result['num_negatives']} trusted; with them right "
               f"{_share(result['verdict_precision'])}")
    if result["time_ms_median"] is not None:
        yield f"median time of a pair, one thread: {result['time_ms_median'] / 1e3:.2f} s"
    if result["output"]:
        yield f"results: {result['output']}"
    if result.get("report"):
        yield f"wrote {result['report']}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
