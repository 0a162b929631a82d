"""`pcinv view FILE…`: look at clouds and meshes: a window, a page, a picture, a film, a file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from pcinv.errors import PcinvError, UsageError
from pcinv_cli import params
from pcinv_cli.options import verb
from pcinv_cli.output import Outcome, Talk
from pcinv_cli.viewing import MOST_SHOWN, show

if TYPE_CHECKING:
    from pcinv.vis.frames import Frames
    from pcinv.vis.scene import Scene


OPTIONS = ("color", "arrows", "transform", "labels", "up", "look", "world")


@verb("view", "Look at clouds and meshes: window, page, picture, film or one file for others.", (
    ("pcinv view scan.ply --color height", "a window, or a page where there is no display"),
    ("pcinv view a.ply b.ply --transform T.txt --web", "before and after, in a page"),
    ("pcinv view scans/ --turntable scans.gif", "a folder plays as a sequence, here as a film"),
), force={})
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--color", "color_by", default="auto", metavar="NAME",
              help="height, normal, distance, solid, color, x, y, z, or an attribute.")
@click.option("--transform", type=click.Path(), metavar="T.txt",
              help="T_target_source of the first file to the second: before and after.")
@click.option("--labels", type=click.Path(), metavar="FILE",
              help=".npy or text: a whole number for each point of the first file.")
@click.option("--arrows", metavar="NAME", help="Attribute of three columns, shown as arrows.")
@click.option("--world", is_flag=True,
              help="Of a LiDAR sequence: each scan in its place by its pose.")
@click.option("--web", is_flag=True, help="Show a page on 127.0.0.1 instead of a window.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N",
              help="Of the page.  [default: 8080, or the next free one]")
@click.option("--no-browser", is_flag=True, help="Print the address, open no browser.")
@click.option("--screenshot", type=click.Path(), metavar="P.png",
              help="Write a picture: png, jpg, webp.")
@click.option("--turntable", type=click.Path(), metavar="T.gif",
              help="Write a film: gif or mp4; of a folder, its scans one after the other.")
@click.option("--html", type=click.Path(), metavar="P.html",
              help="Write a page that works offline.")
@click.option("--look", type=params.LOOK, default="iso", metavar="NAME|X,Y,Z",
              help="From where: iso, front, back, left, right, top, bottom, a direction.")
@click.option("--up", default="auto", metavar="AXIS", help="z, y, x, -z, -y or -x.")
@click.option("--point-size", type=click.FloatRange(0.5, 50), metavar="PIXELS",
              help="Diameter of a point.  [default: neighbours touch]")
@click.option("--size", type=params.SIZE, default="1280x960", metavar="WxH",
              help="Of pictures, in pixels.")
@click.option("--renderer", type=params.RENDERER, default="software", metavar="software|gl",
              help="What makes pictures; gl asks the graphics driver.")
@click.option("--limit", type=click.IntRange(1), default=MOST_SHOWN, metavar="N",
              help="Points that are drawn; evenly chosen ones where there are more.")
@click.option("--from", "from_format", type=params.FORMAT, metavar="FORMAT",
              help="Format of the files.  [default: what they contain]")
def command(talk: Talk, files: tuple[str, ...], screenshot: str | None, turntable: str | None,
            html: str | None, web: bool, port: int | None, no_browser: bool, force: bool,
            size: tuple[int, int], renderer: str, look: Any, up: str, point_size: float | None,
            **of_scene: Any) -> Outcome:
    """Make the scene; write what was asked for, or show it."""
    outputs = {"screenshot": screenshot, "turntable": turntable, "html": html}
    outputs = {name: path for name, path in outputs.items() if path is not None}
    if outputs and (web or port or no_browser):
        raise UsageError(f"--{next(iter(outputs))} writes a file and shows nothing", where="--web",
                         hint="ask for one of the two")
    from pcinv.vis.camera import camera_for
    from pcinv.vis.picture import check_files
    from pcinv.vis.scene import Scene

    check_files(outputs, force=force)  # nothing is read if something would be lost
    try:
        what = _scene(files, of_scene)
        first = what if isinstance(what, Scene) else what.scene(0)
        camera_for(first, look, up)  # what does not exist is told before a window opens
    except PcinvError as error:
        if error.where in OPTIONS:
            error.where = f"--{error.where}"
        raise
    if isinstance(what, Scene):
        what = first = replace(what, up=up if up != "auto" else what.up)
    elif {"screenshot", "html"} & set(outputs):
        first = replace(first, notes=(*first.notes, f"the first of {len(what)} scans"))
    for note in first.notes:
        talk.say(note)
    view = {"look": look, "up": up, "point_size": point_size}
    told = {"shown": None, "address": None, "renderer": None}
    if outputs:
        told["renderer"] = _write(talk, what, outputs, force, {
            **view, "width": size[0], "height": size[1], "renderer": renderer})
    else:
        told |= show(talk, what, web=web, port=port, browser=not no_browser,
                     format=of_scene["from_format"], **view)
    result = {"files": list(files), **told, "written": list(outputs.values()),
              "color": of_scene["color_by"], "notes": list(first.notes),
              "num_points": sum(layer.total for layer in first.layers),
              "num_drawn": sum(len(layer.points) for layer in first.layers)}
    return Outcome(result, lambda t: _show(t, result))


def _scene(files: tuple[str, ...], told: dict[str, Any]) -> Scene | Frames:
    """Return the scene of files, or the frames of a folder."""
    from pcinv_data.lidar import is_sequence

    folders = [file for file in files if is_sequence(file)]
    if not folders:
        if told["world"]:
            raise UsageError("--world is for the folder of a LiDAR sequence", where="--world",
                             hint="--transform T.txt places one file by another")
        from pcinv.registration.pose_files import read_pose
        from pcinv.vis.build import scene_of_files

        transform = told["transform"]
        return scene_of_files(
            files, color_by=told["color_by"], limit=told["limit"], labels=told["labels"],
            arrows=told["arrows"], format=told["from_format"],
            transform=None if transform is None else read_pose(transform))
    from pcinv.vis.frames import frames_of_folder

    if len(files) > 1:
        raise UsageError("a folder is shown by itself", where=folders[0],
                         hint="pcinv view FOLDER, or name the files")
    for name in ("transform", "labels", "arrows"):
        if told[name] is not None:
            raise UsageError(f"--{name} does not go with a folder", where=f"--{name}",
                             hint="name the files")
    return frames_of_folder(files[0], color_by=told["color_by"], limit=told["limit"],
                            format=told["from_format"], world=told["world"])


def _write(talk: Talk, what: Scene | Frames, outputs: dict[str, str], force: bool,
           told: dict[str, Any]) -> str | None:
    """Write the files that were asked for; return what made the pictures, if any were."""
    from pcinv.vis.picture import View, save_film, save_picture, save_turntable
    from pcinv.vis.scene import Scene

    view = View(**told)
    scene = what if isinstance(what, Scene) else what.scene(0)
    drawn = None
    if "screenshot" in outputs:
        drawn = save_picture(scene, outputs["screenshot"], view, force=force)
    if "turntable" in outputs:
        drawn = (save_turntable(scene, outputs["turntable"], view, force=force)
                 if isinstance(what, Scene)
                 else save_film(what, outputs["turntable"], view, force=force))
    if "html" in outputs:
        from pcinv.vis.html import save_html

        save_html(scene, outputs["html"], look=view.look, up=view.up, point_size=view.point_size,
                  force=force)
    if drawn is not None and drawn.note:
        talk.warn("no-driver", f"{drawn.note}: drawn by software")
    return drawn.renderer if drawn else None


def _show(talk: Talk, result: dict[str, Any]) -> None:
    for path in result["written"]:
        talk.result(f"wrote {path}")
    if result["shown"]:
        place = f"page at {result['address']}" if result["address"] else result["shown"]
        points = "1 point" if result["num_drawn"] == 1 else f"{result['num_drawn']:,} points"
        talk.result(f"shown: {points} in a {place}")
