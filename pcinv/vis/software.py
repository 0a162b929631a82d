"""Pictures without a window, a graphics card or a driver: a buffer of depths, numpy and rays.

Points are painted as discs, nearest last; meshes are hit by the rays of the pixels (Open3D's
RaycastingScene, on the CPU); depth edges are darkened, which is what makes bare points readable
(eye-dome lighting: Boucheny 2009).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from pcinv.io.open3d import import_open3d
from pcinv.vis.camera import Camera, camera_for
from pcinv.vis.colors import coloring
from pcinv.vis.compose import BACKGROUND, compose
from pcinv.vis.scene import Layer, Lines, Scene, drawn

SHADE = 0.35
"""How dark edges of depth become, in units of the scene's radius."""
AMBIENT = 0.35
LEAST_PIXELS, MOST_PIXELS, CELL = 1.5, 7.0, 8
FEW_CELLS = 4
MOST_COUNTED = 200_000
BEHIND = 0.4
"""What shows of a line that is behind something."""
MOST_STEPS = 4000
"""Points that a line is painted with, at most."""


def draw(scene: Scene, *, width: int = 1280, height: int = 960,
         look: str | tuple[float, ...] = "iso", up: str = "auto", turn_deg: float = 0.0,
         point_size: float | None = None, legend: bool = True) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture (H, W, 3) of what is visible in a scene.

    look, up, turn_deg : see `camera_for`.
    point_size : diameter of a point in pixels; None: so that neighbours touch, where they can.
    legend : write title, legend and notes on it.

    Raises UsageError for a view that does not exist, UnknownNameError for an unknown attribute.
    """
    camera = camera_for(scene, look, up, turn_deg, width / height)
    image = paint(scene, camera, width, height, point_size)
    return compose(image, scene) if legend else image


def paint(scene: Scene, camera: Camera, width: int, height: int, point_size: float | None = None
          ) -> UInt8[np.ndarray, "h w 3"]:
    """Return what a camera sees (H, W, 3), without words on it."""
    buffer, over = Buffer(width, height), Buffer(width, height)
    size = touching(scene, camera, width, height) if point_size is None else point_size
    for layer in scene.layers:
        if layer.visible and len(layer.points):
            _paint_layer(buffer, camera, layer, coloring(scene, layer).colors, size)
    image = buffer.shaded(float(np.linalg.norm(camera.eye - camera.target)))
    for lines in scene.lines:
        if lines.visible and len(lines.start):
            _paint_lines(over, camera, lines)
    opaque = np.where(over.depth <= buffer.depth, 1.0, BEHIND)[..., None]
    mixed = (opaque * over.image + (1 - opaque) * image).astype(np.uint8)
    return np.where(np.isfinite(over.depth)[..., None], mixed, image)


def touching(scene: Scene, camera: Camera, width: int, height: int) -> float:
    """Return the diameter in pixels at which points cover the area that they take, about."""
    clouds = [layer.points for layer in scene.layers
              if layer.visible and layer.faces is None and len(layer.points)]
    if not clouds:
        return MOST_PIXELS
    points = np.concatenate(clouds)
    share = min(1.0, MOST_COUNTED / len(points))
    places, depth = camera.project(points[drawn(len(points), share)].astype(np.float64), width,
                                   height)
    inside = ((depth > camera.near) & (places >= 0).all(1) & (places[:, 0] < width)
              & (places[:, 1] < height))
    cells = np.unique((places[inside] // CELL).astype(np.int64), axis=0)
    if len(cells) < FEW_CELLS:  # all at a place or two: to be seen at all
        return MOST_PIXELS
    area = float(CELL * CELL * len(cells))
    size = 1.5 * np.sqrt(area * share / max(int(inside.sum()), 1))
    return float(np.clip(size, LEAST_PIXELS, MOST_PIXELS))


class Buffer:
    """A picture (H, W, 3) and the depth (H, W) of what is painted in each pixel."""

    def __init__(self, width: int, height: int) -> None:
        self.image = np.empty((height, width, 3), np.uint8)
        self.image[:] = BACKGROUND
        self.depth = np.full((height, width), np.inf)

    def paint(self, places: Int[np.ndarray, "n 2"], depth: Float[np.ndarray, " n"],
              colors: UInt8[np.ndarray, "n 3"], radius: float) -> None:
        """Paint discs at pixels (right, down), nearer ones over farther ones."""
        height, width = self.depth.shape
        order = np.argsort(-depth, kind="stable")
        places, depth, colors = places[order], depth[order], colors[order]
        flat_depth, flat_image = self.depth.reshape(-1), self.image.reshape(-1, 3)
        for right, down in _disc(radius):
            x, y = places[:, 0] + right, places[:, 1] + down
            inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))
            pixels = y[inside] * width + x[inside]
            front = np.full(flat_depth.shape, -1, np.int64)
            front[pixels] = inside  # of equal pixels the last one stays, which is the nearest
            seen = np.flatnonzero(front >= 0)
            rows = front[seen]
            nearer = depth[rows] < flat_depth[seen]
            seen, rows = seen[nearer], rows[nearer]
            flat_depth[seen], flat_image[seen] = depth[rows], colors[rows]

    def shaded(self, distance: float) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture (H, W, 3) with edges of depth darkened.

        distance : of the eye from the middle of the scene.
        """
        depth = self.depth / distance
        nearer = np.zeros_like(depth)
        for axis in (0, 1):
            for step in (-2, 2):
                other = np.roll(depth, step, axis)
                with np.errstate(invalid="ignore"):  # empty beside empty
                    fall = depth - other
                nearer += np.clip(np.nan_to_num(fall, nan=0.0, posinf=0.0, neginf=0.0), 0, 0.02)
        shade = np.where(np.isfinite(depth), np.exp(-nearer / 0.02 * SHADE), 1.0)
        return np.asarray(np.round(self.image * shade[..., None]).astype(np.uint8))


def _paint_layer(buffer: Buffer, camera: Camera, layer: Layer, colors: UInt8[np.ndarray, "n 3"],
                 point_size: float) -> None:
    if layer.faces is not None:
        _paint_mesh(buffer, camera, layer, colors)
        return
    height, width = buffer.depth.shape
    places, depth = camera.project(layer.points.astype(np.float64), width, height)
    ahead = depth > camera.near
    buffer.paint(np.floor(places[ahead]).astype(np.int64), depth[ahead], colors[ahead],
                 point_size / 2)


def _paint_mesh(buffer: Buffer, camera: Camera, layer: Layer, colors: UInt8[np.ndarray, "v 3"]
                ) -> None:
    """Send a ray through the middle of each pixel, and light what it hits from the eye."""
    height, width = buffer.depth.shape
    hit = _rays(layer, camera, width, height)
    depth = np.asarray(hit["t_hit"].numpy(), np.float64)  # the rays are as long as their depth
    seen = (depth > camera.near) & (depth < buffer.depth)
    if layer.faces is None or not seen.any():
        return
    corners = layer.faces[hit["primitive_ids"].numpy()[seen].astype(np.int64)]  # (P, 3)
    u, v = hit["primitive_uvs"].numpy()[seen].T
    weights = np.stack([1 - u - v, u, v], axis=1)
    mixed = (colors[corners] * weights[..., None]).sum(axis=1)
    facing = np.abs(hit["primitive_normals"].numpy()[seen] @ camera.axes()[2])
    light = AMBIENT + (1 - AMBIENT) * facing
    buffer.depth[seen] = depth[seen]
    buffer.image[seen] = np.clip(mixed * light[:, None], 0, 255).astype(np.uint8)


def _rays(layer: Layer, camera: Camera, width: int, height: int) -> Any:
    """Return what the rays of all pixels hit."""
    o3d = import_open3d()
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(np.ascontiguousarray(layer.points, np.float32),
                        np.ascontiguousarray(layer.faces, np.uint32))
    right, up, back = camera.axes()
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    focal = camera.focal(height)
    ways = (((x - width / 2) / focal)[..., None] * right + ((height / 2 - y) / focal)[..., None]
            * up - back)
    rays = np.concatenate([np.broadcast_to(camera.eye, ways.shape), ways], axis=2)
    return scene.cast_rays(o3d.core.Tensor(rays.astype(np.float32)))


def _paint_lines(buffer: Buffer, camera: Camera, lines: Lines) -> None:
    """Paint each line as points a pixel apart."""
    height, width = buffer.depth.shape
    ends = [camera.project(side.astype(np.float64), width, height)
            for side in (lines.start, lines.end)]
    ahead = (ends[0][1] > camera.near) & (ends[1][1] > camera.near)
    (start, start_depth), (end, end_depth) = ((p[ahead], d[ahead]) for p, d in ends)
    if not len(start):
        return
    steps = int(np.clip(np.abs(end - start).max(), 1, MOST_STEPS)) + 1
    share = np.linspace(0, 1, steps)[:, None]
    places = start[:, None] + share * (end - start)[:, None]
    depth = start_depth[:, None] + share[:, 0] * (end_depth - start_depth)[:, None]
    buffer.paint(np.floor(places).astype(np.int64).reshape(-1, 2), depth.reshape(-1),
                 np.repeat(lines.colors[ahead], steps, axis=0), height / 2000)


def _disc(radius: float) -> list[tuple[int, int]]:
    reach = int(np.ceil(radius))
    return [(x, y) for x in range(-reach, reach + 1) for y in range(-reach, reach + 1)
            if x * x + y * y <= max(radius * radius, 0.25)]
