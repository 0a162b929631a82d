"""`pcinv search QUERY FOLDER --weights RUN`: the shapes most like one, in any pose."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from pcinv.errors import Interrupted, UsageError
from pcinv_cli import params
from pcinv_cli.failures import failure_of
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk, to_plain
from pcinv_cli.progress import Progress


class Stages(click.ParamType):
    """Prefixes and shortlists, `16:1000,64:200`."""

    name = "funnel"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> tuple[tuple[int, int], ...]:
        if isinstance(value, tuple):
            return value
        try:
            pairs = [part.split(":") for part in str(value).split(",")]
            return tuple((int(dim), int(keep)) for dim, keep in pairs)
        except ValueError:
            raise UsageError(f"'{value}' is no list of prefixes and shortlists", where="--funnel",
                             hint="--funnel 16:1000,64:200") from None


@verb("search", "Find the shapes of a folder that are most like one, in whatever pose they are.", (
    ("pcinv search part.stl parts/ --weights RUN", "the folder is indexed once, then kept up"),
    ("pcinv search scan.ply parts/ --weights RUN --screenshot found.png", "with pictures"),
    ("pcinv search part.stl parts/ --weights RUN --funnel 16:1000,64:200",
     "short vectors first, of --head matryoshka"),
), device={}, seed={"default": 0}, force={"help": "Overwrite a picture that is there."})
@click.argument("query", metavar="QUERY", type=click.Path())
@click.argument("folder", metavar="FOLDER", type=click.Path())
@click.option("--weights", required=True, type=params.RUN, metavar="RUN",
              help="Run folder or weights file of a classifier.")
@click.option("--top", type=click.IntRange(1), default=10, metavar="N", help="Matches, at most.")
@click.option("--index", type=click.Path(), metavar="DIR",
              help="Folder of the index.  [default: .pcinv-index in FOLDER]")
@click.option("--rebuild", is_flag=True, help="Make the index anew.")
@click.option("--dim", type=click.IntRange(1), metavar="N",
              help="Compare only the first N numbers, of a network trained for it.")
@click.option("--funnel", type=Stages(), metavar="N:KEEP,...",
              help="Compare prefixes of N numbers first and keep so many, then longer ones.")
@click.option("--view", is_flag=True, help="Show query and matches in a window or a page.")
@click.option("--screenshot", type=click.Path(), metavar="P.png",
              help="Write a picture of query and matches: png, svg or pdf.")
def command(talk: Talk, query: str, folder: str, view: bool, screenshot: str | None, force: bool,
            device: str | None, **options: Any) -> Outcome:
    """Bring the index up to date, search, show."""
    from pcinv.engine.search import LIBRARY_FROM, search

    if screenshot is not None:
        from pcinv.io.writing import check_place
        from pcinv.vis.figures import check_suffix

        check_suffix(screenshot)
        check_place(Path(screenshot), force=force)
    try:
        with IndexProgress(talk) as progress:
            found = search(query, folder, device=device or "auto", progress=progress, **options)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the shapes that were indexed are kept", where=folder,
                          hint="the same command goes on") from None
    skipped = [failure_of(one.error) for one in found.skipped]
    for failure in skipped:
        talk.warn(failure.code, f"{failure.where}: {failure.message}")
    if found.method == "exact" and found.num_indexed >= LIBRARY_FROM and options["dim"] is None:
        talk.say("searched one by one; pip install 'pcinv[search]' is faster for so many shapes")
    result: dict[str, Any] = {**to_plain(found), "screenshot": screenshot, "skipped": [
        {"file": one.file, "code": failure.code, "message": failure.message}
        for one, failure in zip(found.skipped, skipped, strict=True)]}
    if screenshot is not None:
        from pcinv.vis.figures import save_figure
        from pcinv.vis.matches import matches_figure

        save_figure(matches_figure(query, found.matches), screenshot, force=force)
    if view and talk.as_json:
        _look(talk, query, found)

    def show(talk: Talk) -> None:
        _show(talk, result)
        if view:  # the table can be read while the window is open
            sys.stdout.flush()
            _look(talk, query, found)

    return Outcome(result, show)


def _look(talk: Talk, query: str, found: Any) -> None:
    from pcinv.vis.matches import scene_of_matches
    from pcinv_cli import viewing

    viewing.show_also(talk, scene_of_matches(query, found.matches))


class IndexProgress(Progress):
    """Its call takes how many of the new shapes are embedded, of how many."""

    start = 0.0

    def __enter__(self) -> IndexProgress:
        super().__enter__()
        self.start = time.monotonic()
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show how far the index is."""
        if self.talk.progress:
            left = (time.monotonic() - self.start) / max(done, 1) * (total - done)
            self.show("indexing", "shape", done, total, left)


def _show(talk: Talk, result: dict[str, Any]) -> None:
    talk.table(("rank", "similarity", "file"), [
        (match["rank"], f"{match['similarity']:.4f}", match["file"])
        for match in result["matches"]])
    if not result["matches"]:
        talk.result("nothing but the query itself is in this folder")
    new = f", {result['num_embedded']:,} of them new" if result["num_embedded"] else ""
    gone = f", {result['num_dropped']:,} gone" if result["num_dropped"] else ""
    skipped = f", {len(result['skipped']):,} skipped" if result["skipped"] else ""
    talk.say(f"{result['num_indexed']:,} shapes indexed{new}{gone}{skipped}")
    if result["screenshot"]:
        talk.result(f"wrote {result['screenshot']}")
