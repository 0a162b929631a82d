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
from functools import partial
from itertools import takewhile
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pcinv.engine.files import write_atomic
from pcinv.errors import DatasetError, LimitError, PcinvError
from pcinv_data import room_store
from pcinv_data.pairs import load_pairs

MEASURED, SAMPLED = 40, 2000  # fragments of a kind, points of a fragment; at most
PLANE_NEIGHBOURS, FLAT, RADIUS = 30, 0.01, 0.1
BORDER = 2 / 3  # of the fragment's median number of neighbours; points with fewer are at one
WIDTH, HEIGHT, FOCAL, GAP, GAP_GREY = 400, 300, 220.0, 2, 190  # wider than a Kinect sees
NEAREST, SIDES, SPLAT = 0.1, (2, 8), 0.035  # squares: pixels a side, and metres: walls close
OBLIQUE = Rotation.from_euler("yx", (30, 25), degrees=True).as_matrix()
AWAY = 2.9  # of the oblique camera from the middle; one for all, so that sizes are seen
LIGHT = np.array([-0.35, -0.45, -0.82])  # where it comes from: behind the camera, above, left
Load = Callable[[], np.ndarray]  # gives the points (N, 3) float64 of a fragment
Figures = dict[str, float]


def generated_fragments(root: Path) -> list[Load]:
    """Return those of the rooms in a folder; DatasetError where there is none."""
    files = room_store.room_files(root, 1000)
    count = len(list(takewhile(Path.is_file, files)))
    rooms = room_store.load_rooms("rooms", root=root, limit=count) if count else []
    loads = [partial(np.float64, points) for room in rooms for points in room.fragments]
    if not loads:
        raise DatasetError("no generated fragments", where=str(files[0].parent),
                           hint="pcinv_data.room_store.load_rooms('rooms', DIR) makes them")
    return loads


def real_fragments(root: Path) -> list[Load]:
    """Return those that are in a pair of 3DMatch, once each, by file."""
    pairs = load_pairs("3dmatch", root)
    files = {pair.source_file: pair.load_source for pair in pairs}
    files |= {pair.target_file: pair.load_target for pair in pairs}
    return [files[file] for file in sorted(files)]


def spread(items: list[Load], count: int, seed: int) -> list[Load]:
    """Return up to `count` different items, one drawn from each of as many equal stretches."""
    edges = np.linspace(0, len(items), min(count, len(items)) + 1).astype(int)
    return [items[k] for k in np.random.default_rng(seed).integers(edges[:-1], edges[1:])]


def principal(points: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means (G, 3), variances (G, 3) ascending and axes (G, 3, 3) of groups of points.

    points : (N, 3), group after group.  sizes : (G,) points of each, at least one.
    """
    starts = np.cumsum(sizes) - sizes
    mean = np.add.reduceat(points, starts) / sizes[:, None]
    local = points - np.repeat(mean, sizes, axis=0)
    covariance = np.add.reduceat(local[:, :, None] * local[:, None], starts) / sizes[:, None, None]
    return mean, *np.linalg.eigh(covariance)


def nearest_planes(points: np.ndarray, centres: np.ndarray, k: int
                   ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and unit normal (M, 3) of the k nearest points, and distance (M,) of the first.

    points : (N, 3).  centres : (M, 3) of the points, not counted as neighbours of themselves.
    """
    k = min(k, len(points) - 1)
    distance, index = cKDTree(points).query(centres, k + 1)
    mean, _, axes = principal(points[index[:, 1:]].reshape(-1, 3), np.full(len(centres), k))
    return mean, axes[..., 0], distance[:, 1]


def describe(points: np.ndarray) -> Figures:
    """Return figures of a fragment (N, 3) float64 in metres, whose camera is at the origin."""
    some = points[np.linspace(0, len(points) - 1, min(SAMPLED, len(points))).round().astype(int)]
    mean, normal, nearest = nearest_planes(points, some, PLANE_NEIGHBOURS)
    residual = np.abs(((some - mean) * normal).sum(1))
    around = cKDTree(points).query_ball_point(some, RADIUS)
    sizes = np.array(list(map(len, around)))
    _, variances, _ = principal(points[np.concatenate(around).astype(int)], sizes)
    curvature = variances[:, 0].clip(0) / np.maximum(variances.sum(1), 1e-12)
    low, high = np.quantile(points[:, 2], (0.02, 0.98))
    figures = {
        "points": len(points), "extent_m": np.linalg.norm(np.ptp(points, axis=0)),
        "nearest_neighbour_mm": 1e3 * np.median(nearest), "depth_2%_m": low, "depth_98%_m": high,
        "flat_share": (residual < FLAT).mean(), "residual_mm": 1e3 * np.median(residual),
        "border_share": (sizes < BORDER * np.median(sizes)).mean(),
        **{f"curvature_{q}%": np.quantile(curvature, q / 100) for q in (25, 50, 75, 90)}}
    return {name: float(value) for name, value in figures.items()}


def summarise(measured: list[Figures]) -> dict[str, Figures]:
    """Return p10, median and p90 over the fragments of each of their figures."""
    columns = {name: [figures[name] for figures in measured] for name in measured[0]}
    return {name: dict(zip(("p10", "median", "p90"), np.quantile(values, (0.1, 0.5, 0.9)).tolist(),
                           strict=True)) for name, values in columns.items()}


def splat(points: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return the (HEIGHT, WIDTH) uint8 image of points (N, 3) of grey (N,) before a camera."""
    points, grey = points[points[:, 2] > NEAREST], grey[points[:, 2] > NEAREST]
    z = points[:, 2]
    side = np.clip(np.rint(SPLAT * FOCAL / z), *SIDES).astype(int)
    middle = points[:, :2] * FOCAL / z[:, None] + (WIDTH / 2, HEIGHT / 2)
    corner = np.floor(middle - side[:, None] / 2 + 0.5).astype(int)
    step = np.stack(np.meshgrid(*[np.arange(SIDES[1])] * 2), -1).reshape(-1, 2)
    row, which = np.nonzero(side[:, None] > step.max(1))
    u, v = (corner[row] + step[which]).T
    inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    pixel, row = (v * WIDTH + u)[inside], row[inside]
    order = np.lexsort((z[row], pixel))
    pixel, first = np.unique(pixel[order], return_index=True)
    image = np.full(HEIGHT * WIDTH, 255, np.uint8)
    image[pixel] = grey[row[order[first]]]
    return image.reshape(HEIGHT, WIDTH)


def draw(points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return uint8 views, with rims, of a fragment (N, 3) float64: its camera's, the oblique."""
    _, normal, _ = nearest_planes(points, points, 12)
    normal = np.where((normal * points).sum(1, keepdims=True) > 0, -normal, normal)  # to the camera
    lit = 0.5 + 0.5 * normal @ LIGHT  # half of it, so that what turns away is not black
    grey = (20 + 215 * lit.clip(0, 1) ** 1.5).astype(np.uint8)
    moved = (points - np.median(points, axis=0)) @ OBLIQUE.T + (0, 0, AWAY)
    return tuple(np.pad(splat(view, grey), GAP, constant_values=GAP_GREY)
                 for view in (points, moved))


def write_png(file: Path, image: np.ndarray) -> None:
    """Write an (H, W) uint8 image; LimitError where that fails."""
    import ctypes

    import libusb_package  # open3d wants this library, which few machines have

    ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    import open3d

    if not open3d.io.write_image(str(file), open3d.geometry.Image(np.ascontiguousarray(image))):
        raise LimitError("cannot write the picture", where=str(file), hint="-o FOLDER/FILE.png")


def print_table(kinds: dict[str, dict[str, Figures]]) -> None:
    """Print a row for each figure and a column for each kind of fragments."""
    print(" " * 22 + "".join(f"{kind:>30}" for kind in kinds))
    for name in next(iter(kinds.values())):
        cells = [[f"{kind[name][key]:,.0f}" if kind[name][key] >= 1000 else f"{kind[name][key]:.3g}"
                  for key in ("median", "p10", "p90")] for kind in kinds.values()]
        print(f"{name:<22}" + "".join(f"{f'{a} ({b} .. {c})':>30}" for a, b, c in cells))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=Path, required=True, help="root of generated rooms")
    parser.add_argument("--real", type=Path, help="root of a copy of 3DMatch")
    parser.add_argument("--count", type=int, default=4, choices=range(1, 41), metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the PNG")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    try:
        kinds = {"generated": generated_fragments(options.rooms)}
        if options.real is not None:
            kinds["real"] = real_fragments(options.real)
        count, rows, figures = min(options.count, *map(len, kinds.values())), [], {}
        for kind, loads in kinds.items():
            shown, measured = (spread(loads, k, options.seed) for k in (count, MEASURED))
            rows += map(list, zip(*(draw(load()) for load in shown), strict=True))
            figures[kind] = summarise([describe(load()) for load in measured])
        write_png(options.output, np.block(rows))
        if options.json is not None:
            write_atomic(options.json, (json.dumps(figures, indent=2) + "\n").encode())
    except PcinvError as error:
        print(f"error: {error}", file=sys.stderr)  # it says where, and what to try
        return error.exit_code
    print_table(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
