"""`pcinv sample MESH OUT`: a seeded cloud from the surface of a mesh."""

from __future__ import annotations

import click

from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk


@verb("sample", "Sample points from the surface of a mesh, evenly by area, with normals.", (
    ("pcinv sample mesh.obj cloud.ply", "2048 points"),
    ("pcinv sample chair.off chair.npy --points 1024 --seed 7", "same seed, same points"),
    ("pcinv sample part.stl part.pcd --points 100000 --force", "overwrite what is there"),
), seed={"default": 0}, force={}, dry_run={})
@click.argument("mesh", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path())
@click.option("--points", default=2048, metavar="N", type=click.IntRange(1),
              help="How many points.")
def command(talk: Talk, mesh: str, target: str, points: int, seed: int, force: bool,
            dry_run: bool) -> Outcome:
    """Read `mesh`, sample it, write `target`."""
    from pcinv import io
    from pcinv.errors import InputError
    from pcinv.types import Mesh

    surface = io.read(mesh)
    if not isinstance(surface, Mesh):
        raise InputError(f"a cloud of {len(surface):,} points has no surface to sample",
                         where=mesh, hint="pcinv convert writes clouds; sample takes meshes")
    cloud = io.sample_surface(surface, points, seed)
    if not dry_run:
        io.write(target, cloud, force=force)
    result = {"input": mesh, "output": target, "num_points": len(cloud), "seed": seed,
              "attributes": sorted(cloud.attributes), "written": not dry_run}
    did = "would write" if dry_run else "wrote"
    return Outcome(result, lambda t: t.result(f"{did} {target}: {len(cloud):,} points"))
