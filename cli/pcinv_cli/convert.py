"""`pcinv convert IN OUT`: the same cloud or mesh in another format."""

from __future__ import annotations

import os

import click

from pcinv.errors import UsageError
from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk


@verb("convert", "Write a cloud or mesh in another format; attributes and origin are kept.", (
    ("pcinv convert chair.off chair.ply", "the format follows from the suffix"),
    ("pcinv convert scan.pcd points --to xyz", "or is named"),
    ("pcinv convert 000000.bin sweep.ply --force", "overwrite what is there"),
), force={}, dry_run={})
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path())
@click.option("--to", "to_format", metavar="FORMAT", type=params.FORMAT,
              help="Format of OUT: ply, pcd, off, xyz, npy...  [default: its suffix]")
@click.option("--from", "from_format", type=params.FORMAT, metavar="FORMAT",
              help="Format of IN.  [default: what it contains]")
def command(talk: Talk, source: str, target: str, to_format: str | None, from_format: str | None,
            force: bool, dry_run: bool) -> Outcome:
    """Read `source` and write `target`."""
    from pcinv import io

    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise UsageError("IN and OUT are the same file", where=target, hint="name another OUT")
    item = io.read(source, format=from_format)
    if not dry_run:
        io.write(target, item, format=to_format, force=force)
    result = {"input": source, "output": target, "format": to_format, "num_points": len(item),
              "attributes": sorted(item.attributes), "written": not dry_run}
    did = "would write" if dry_run else "wrote"
    return Outcome(result, lambda t: t.result(f"{did} {target}: {len(item):,} points"))
