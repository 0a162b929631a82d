"""Generated fragments beside real ones: a picture of some of each, and figures of more.

    python benchmarks/compare_fragments.py --rooms DIR --real DIR -o fragments.png

Rows of the picture: generated fragments from their own cameras, the same from a raised place at
their side, then both of real fragments. The table has the median over the fragments and, in
brackets, the 10th and 90th percentile. No room is made: only those in the folder are looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pcinv.errors import InputError, PcinvError
from pcinv_data import room_store
from pcinv_data.pairs import load_pairs

MEASURED = 40
"""Fragments of each kind that are measured, at most."""
SAMPLED = 2000
"""Points of a fragment that are measured, at most; their neighbours are among all points."""
PLANE_NEIGHBOURS, FLAT = 30, 0.01
RADIUS = 0.1
"""Of the neighbours that tell curvature and borders, in metres."""
BORDER = 2 / 3
"""A point with a smaller share than this of the fragment's median number is at a border."""
WIDTH, HEIGHT, FOCAL, GAP = 400, 300, 220.0, 4
"""Of a tile, in pixels; wider than a Kinect, as fragments are of several images."""
NEAREST = 0.1
SIDES, SPLAT = (2, 8), 0.035
"""Pixels of a square's side, and the metres it covers: more than 2.5 cm, so that walls close."""
OBLIQUE = Rotation.from_euler("yx", (30, 25), degrees=True).as_matrix()
AWAY = 2.9
"""Distance of the oblique camera from the middle of a fragment; one for all shows their sizes."""
LIGHT = np.array([-0.35, -0.45, -0.82])
"""Direction to the light in the frame of a fragment: behind its camera, above at the left."""
Load = Callable[[], np.ndarray]


def generated_fragments(root: Path) -> list[Load]:
    """Return what loads each fragment of the rooms in a folder.

    Raises DatasetError where there is no room.
    """
    there = list(takewhile(Path.is_file, room_store.room_files(root, 1000)))
    if not there:
        room_store.read_room(room_store.room_files(root, 1)[0])  # says that it is not there
    rooms = room_store.load_rooms("rooms", root=root, limit=len(there))
    return [lambda points=points: points for room in rooms for points in room.fragments]


def real_fragments(root: Path) -> list[Load]:
    """Return what loads each fragment that is in a pair of 3DMatch, once each, by file."""
    pairs = load_pairs("3dmatch", root)
    files = {pair.source_file: pair.load_source for pair in pairs}
    files |= {pair.target_file: pair.load_target for pair in pairs}
    return [files[file] for file in sorted(files)]


def spread(items: list[Load], count: int, seed: int) -> list[Load]:
    """Return `count` different items, one drawn from each of as many equal stretches."""
    count = min(count, len(items))
    edges = np.linspace(0, len(items), count + 1).astype(int)
    return [items[k] for k in np.random.default_rng(seed).integers(edges[:-1], edges[1:])]


def principal(points: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean (G, 3), variances (G, 3) ascending and axes (G, 3, 3), of groups of points.

    points : (N, 3), group after group.  starts : (G,) first row of each.
    """
    sizes = np.diff(np.append(starts, len(points)))
    mean = np.add.reduceat(points, starts) / sizes[:, None]
    local = points - np.repeat(mean, sizes, axis=0)
    products = (local[:, :, None] * local[:, None, :]).reshape(-1, 9)
    return mean, *np.linalg.eigh(np.add.reduceat(products, starts).reshape(-1, 3, 3)
                                 / sizes[:, None, None])


def nearest_planes(points: np.ndarray, centres: np.ndarray, k: int
                   ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and unit normal (M, 3) of the k nearest points, and distance (M,) of the first.

    points : (N, 3).  centres : (M, 3) of the points, not counted as neighbours of themselves.
    """
    k = min(k, len(points) - 1)
    distance, index = cKDTree(points).query(centres, k + 1)
    mean, _, axes = principal(points[index[:, 1:]].reshape(-1, 3), np.arange(len(centres)) * k)
    return mean, axes[..., 0], distance[:, 1]


def describe(points: np.ndarray) -> dict[str, float]:
    """Return the figures of a fragment (N, 3) in metres, whose camera is at the origin."""
    points = np.asarray(points, dtype=np.float64)
    rows = np.linspace(0, len(points) - 1, min(SAMPLED, len(points))).round().astype(int)
    some = points[rows]
    mean, normal, nearest = nearest_planes(points, some, PLANE_NEIGHBOURS)
    residual = np.abs(((some - mean) * normal).sum(1))
    around = cKDTree(points).query_ball_point(some, RADIUS)
    sizes = np.array([len(near) for near in around])
    _, variances, _ = principal(points[np.concatenate(around).astype(int)],
                                np.cumsum(sizes) - sizes)
    curvature = variances[:, 0].clip(0) / np.maximum(variances.sum(1), 1e-12)
    low, high = np.quantile(points[:, 2], (0.02, 0.98))
    figures = {
        "points": len(points), "extent_m": np.linalg.norm(np.ptp(points, axis=0)),
        "nearest_neighbour_mm": 1e3 * np.median(nearest), "depth_2%_m": low, "depth_98%_m": high,
        "flat_share": (residual < FLAT).mean(), "residual_mm": 1e3 * np.median(residual),
        "border_share": (sizes < BORDER * np.median(sizes)).mean(),
        **{f"curvature_{q}%": np.quantile(curvature, q / 100) for q in (25, 50, 75, 90)}}
    return {name: float(value) for name, value in figures.items()}


def summarise(fragments: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return median, p10 and p90 over fragments of each of their figures."""
    return {name: dict(zip(("p10", "median", "p90"), np.quantile(
        [figures[name] for figures in fragments], (0.1, 0.5, 0.9)).tolist(), strict=True))
        for name in fragments[0]}


def splat(points: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return the (HEIGHT, WIDTH) uint8 image of points (N, 3) in the frame of its camera.

    grey : (N,) uint8. Points are squares that shrink with depth; the nearest one is seen.
    """
    front = points[:, 2] > NEAREST
    points, grey = points[front], grey[front]
    z = points[:, 2]
    side = np.clip(np.rint(SPLAT * FOCAL / z), *SIDES).astype(int)
    middle = points[:, :2] * FOCAL / z[:, None] + (WIDTH / 2, HEIGHT / 2)
    corner = np.floor(middle - side[:, None] / 2 + 0.5).astype(int)
    parts = []
    for dy, dx in np.ndindex(SIDES[1], SIDES[1]):
        u, v = corner[:, 0] + dx, corner[:, 1] + dy
        inside = (side > max(dx, dy)) & (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
        parts.append(np.stack([(v * WIDTH + u)[inside], np.flatnonzero(inside)]))
    pixel, row = np.concatenate(parts, axis=1)
    order = np.lexsort((z[row], pixel))
    pixel, first = np.unique(pixel[order], return_index=True)
    image = np.full(HEIGHT * WIDTH, 255, np.uint8)
    image[pixel] = grey[row[order[first]]]
    return image.reshape(HEIGHT, WIDTH)


def draw(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (HEIGHT, WIDTH) uint8 views of a fragment (N, 3): its camera's and the oblique."""
    points = np.asarray(points, dtype=np.float64)
    _, normal, _ = nearest_planes(points, points, 12)
    normal = -normal * np.where((normal * points).sum(1) < 0, -1, 1)[:, None]  # to the camera
    grey = (40 + 190 * (normal @ LIGHT).clip(0, 1)).astype(np.uint8)
    middle = np.median(points, axis=0)
    return splat(points, grey), splat((points - middle) @ OBLIQUE.T + (0, 0, AWAY), grey)


def tiled(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Return tiles of one size as one (H, W) uint8 image, with white gaps; rows may be short."""
    sheet = np.full((len(rows) * (HEIGHT + GAP) - GAP,
                     max(map(len, rows)) * (WIDTH + GAP) - GAP), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            y, x = i * (HEIGHT + GAP), j * (WIDTH + GAP)
            sheet[y:y + HEIGHT, x:x + WIDTH] = tile
    return sheet


def write_png(file: Path, image: np.ndarray) -> None:
    """Write an (H, W) uint8 image; InputError where that fails."""
    import ctypes

    import libusb_package  # open3d wants this library, which few machines have

    ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    import open3d

    if not open3d.io.write_image(str(file), open3d.geometry.Image(image)):
        raise InputError("the picture cannot be written", where=str(file),
                         hint="-o FILE.png, in a folder that is there")


def print_table(summaries: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print a column for each kind of fragments."""
    def text(value: float) -> str:
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

    print(f"{'':<22}" + "".join(f"{kind:>30}" for kind in summaries))
    for name in next(iter(summaries.values())):
        cells = (summary[name] for summary in summaries.values())
        print(f"{name:<22}" + "".join(
            f"{text(c['median'])} ({text(c['p10'])} .. {text(c['p90'])})".rjust(30) for c in cells))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=Path, required=True, help="root of generated rooms")
    parser.add_argument("--real", type=Path, help="root of a copy of 3DMatch")
    parser.add_argument("--count", type=int, default=4, help="of each kind in the picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the PNG")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    try:
        kinds = {"generated": generated_fragments(options.rooms)}
        if options.real is not None:
            kinds["real"] = real_fragments(options.real)
        rows, summaries = [], {}
        for kind, loads in kinds.items():
            views = [draw(load()) for load in spread(loads, options.count, options.seed)]
            rows += [[view[k] for view in views] for k in (0, 1)]
            measured = [describe(load()) for load in spread(loads, MEASURED, options.seed)]
            summaries[kind] = {"fragments": len(measured), "figures": summarise(measured)}
        write_png(options.output, tiled(rows))
    except PcinvError as error:
        print(f"error: {error.message}\nwhere: {error.where}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    print_table({kind: summary["figures"] for kind, summary in summaries.items()})
    if options.json is not None:
        options.json.write_text(json.dumps(summaries, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
