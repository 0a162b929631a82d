"""Pictures and turntables of a scene as files, on machines with a graphics driver and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pcinv.errors import DependencyError, DeviceError, UsageError
from pcinv.io.writing import check_place, replacing
from pcinv.vis import software
from pcinv.vis.camera import Camera, camera_for
from pcinv.vis.compose import compose
from pcinv.vis.frames import Frames
from pcinv.vis.scene import Scene, take
from pcinv.vis.scene import drawn as drawn_rows
from pcinv.vis.store import save_scene

RENDERERS = ("software", "gl")
SUFFIXES = {"screenshot": (".png", ".jpg", ".jpeg", ".webp"), "turntable": (".gif", ".mp4"),
            "html": (".html", ".htm")}
TURNS = 60
"""Pictures of a turntable."""
FRAMES_A_SECOND = 15
SHORT_FILM_S = 6.0
"""How long a film of few scans lasts, unless a scan would stay for more than half a second."""
MOST_FITTED = 2000
"""Points of each scan that the camera of a film is placed by."""
COMMAND = (sys.executable, "-m", "pcinv.vis.offscreen")
Image = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class View:
    """How pictures are made.

    width, height : pixels.  point_size : pixels; None: so that neighbours touch.
    look, up : see `pcinv.vis.camera.camera_for`.
    renderer : "software", the same picture on every machine; or "gl", Open3D and the graphics
        driver, in a process of its own, which falls back to software where that fails.
    time_limit_s : after which the process that speaks to the driver is ended.
    """

    width: int = 1280
    height: int = 960
    look: str | tuple[float, ...] = "iso"
    up: str = "auto"
    point_size: float | None = None
    renderer: str = "software"
    time_limit_s: float = 60.0


DEFAULT_VIEW = View()


@dataclass(frozen=True)
class Drawn:
    """What made the pictures, and why the driver did not where it was asked to."""

    renderer: str
    note: str | None = None


def save_picture(scene: Scene, path: str | Path, view: View = DEFAULT_VIEW, *,
                 force: bool = False) -> Drawn:
    """Write a picture of a scene: png, jpg or webp, by the suffix.

    Raises UsageError for another suffix, view or renderer, or a file that is there and not
    `force`.
    """
    check_files({"screenshot": path}, force=force)
    images, drawn = draw_all(scene, view, [_camera(scene, view)])
    _save(path, (compose(image, scene) for image in images), force)
    return drawn


def save_turntable(scene: Scene, path: str | Path, view: View = DEFAULT_VIEW, *,
                   turns: int = TURNS, force: bool = False) -> Drawn:
    """Write a scene that turns once about its upward axis, as gif or mp4.

    turns : pictures of one round.

    Raises as `save_picture`, and DependencyError for an mp4 without the extra `video`.
    """
    check_files({"turntable": path}, force=force)
    angles = np.linspace(0, 360, turns, endpoint=False)
    away = max(_distance(_camera(scene, view, angle)) for angle in angles)
    cameras = [_camera(scene, view, angle, away) for angle in angles]
    images, drawn = draw_all(scene, view, cameras)
    _save(path, (compose(image, scene) for image in images), force)
    return drawn


def save_film(frames: Frames, path: str | Path, view: View = DEFAULT_VIEW, *, force: bool = False
              ) -> Drawn:
    """Write the scans of a sequence one after the other, from where all of them are seen.

    Raises as `save_turntable`, and as `Frames.scene` for a scan that cannot be shown.
    """
    check_files({"turntable": path}, force=force)
    clouds = (layer for number in range(len(frames)) for layer in frames.scene(number).layers
              if layer.faces is None and len(layer.points))
    some = [take(layer, drawn_rows(len(layer.points), min(1.0, MOST_FITTED / len(layer.points))))
            for layer in clouds]
    camera = _camera(replace(frames.first, layers=(*frames.first.layers, *some)), view)
    told = [Drawn("software")]

    def images() -> Iterator[Image]:
        for number in range(len(frames)):
            scene = frames.scene(number)
            image, told[0] = draw_all(scene, view, [camera])
            yield compose(next(image), scene)

    seconds = float(np.clip(SHORT_FILM_S / len(frames), 1 / FRAMES_A_SECOND, 0.5))
    _save(path, images(), force, 1 / seconds)
    return told[0]


def draw_all(scene: Scene, view: View, cameras: Sequence[Camera]) -> tuple[Iterator[Image], Drawn]:
    """Return a picture (H, W, 3) for each camera, without words on it; one at a time."""
    if view.renderer not in RENDERERS:
        raise UsageError(f"no renderer '{view.renderer}'", where="renderer",
                         hint=", ".join(RENDERERS))
    note = None
    if view.renderer == "gl":
        try:
            return iter(_by_driver(scene, view, cameras)), Drawn("gl")
        except DeviceError as error:
            note = error.message
    images = (software.paint(scene, camera, view.width, view.height, view.point_size)
              for camera in cameras)
    return images, Drawn("software", note)


def _by_driver(scene: Scene, view: View, cameras: Sequence[Camera]) -> list[Image]:
    """Have a child draw, which may hang or be killed by its driver."""
    size = view.point_size
    if size is None:
        size = software.touching(scene, cameras[0], view.width, view.height)
    job = {"width": view.width, "height": view.height, "point_size": size,
           "cameras": [[part.tolist() if isinstance(part, np.ndarray) else part
                        for part in asdict(camera).values()] for camera in cameras]}
    with tempfile.TemporaryDirectory(prefix="pcinv-") as folder:
        save_scene(Path(folder) / "scene.npz", scene)
        place = Path(folder) / "job.json"
        place.write_text(json.dumps(job), "utf-8")
        _run([*COMMAND, str(place)], view.time_limit_s)
        try:
            return [np.load(Path(folder) / f"{k}.npy", allow_pickle=False)
                    for k in range(len(cameras))]
        except (OSError, ValueError) as error:
            raise DeviceError("the graphics driver made no picture") from error


def _run(command: Sequence[str], limit_s: float) -> None:
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s,
                              check=False, stdin=subprocess.DEVNULL, env=environment)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"the graphics driver gave no picture within {limit_s:g} s"
                          ) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        last = said[-1] if said else f"exit {done.returncode}"
        raise DeviceError(f"the graphics driver draws nothing: {last[:200]}")


def _camera(scene: Scene, view: View, turn_deg: float = 0.0, distance: float | None = None
            ) -> Camera:
    return camera_for(scene, view.look, view.up, turn_deg, view.width / view.height, distance)


def _distance(camera: Camera) -> float:
    return float(np.linalg.norm(camera.eye - camera.target))


def check_files(outputs: Mapping[str, str | Path], *, force: bool) -> None:
    """Raise before anything is drawn if a file could not be written, or would be lost.

    outputs : what is to be written ("screenshot", "turntable", "html") and where.
    """
    for kind, path in outputs.items():
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES[kind]:
            raise UsageError(f"'{suffix}' is not a suffix of what --{kind} writes", where=str(path),
                             hint=", ".join(SUFFIXES[kind]))
        if suffix == ".mp4":
            _imageio()
        check_place(Path(path), force=force)
    if len({os.path.realpath(path) for path in outputs.values()}) < len(outputs):
        raise UsageError("two outputs have the same name", where="--screenshot",
                         hint="name each file once")


def _save(path: str | Path, images: Iterator[Image], force: bool,
          frames_a_second: float = FRAMES_A_SECOND) -> None:
    from PIL import Image as pillow

    suffix = Path(path).suffix.lower()
    with replacing(Path(path), force=force) as stream:
        if suffix == ".mp4":
            with tempfile.TemporaryDirectory(prefix="pcinv-") as folder:  # it writes to files only
                aside = Path(folder) / "film.mp4"
                with _imageio().get_writer(aside, fps=frames_a_second, macro_block_size=2) as film:
                    for image in images:
                        film.append_data(image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2])
                stream.write(aside.read_bytes())
        elif suffix == ".gif":
            shown = (pillow.fromarray(image).quantize(128, dither=pillow.Dither.NONE)
                     for image in images)
            next(shown).save(stream, "GIF", save_all=True, append_images=shown, loop=0,
                             duration=round(1000 / frames_a_second))
        else:
            pillow.fromarray(next(images)).save(
                stream, "JPEG" if suffix in (".jpg", ".jpeg") else suffix[1:].upper())


def _imageio() -> Any:
    try:
        import imageio.v2
        import imageio_ffmpeg  # noqa: F401 what writes the film
    except ImportError as error:
        raise DependencyError(f"mp4 needs a package that is not here: {error.name}", where="mp4",
                              hint="pip install 'pcinv[video]', or write a .gif") from error
    return imageio.v2
