"""3DMatch and 3DLoMatch: fragments of RGB-D scans, and the official pairs with their motions.

    benchmarks/{3DMatch,3DLoMatch}/<scene>/gt.log, gt.info and, where given, gt_overlap.log
    fragments/<scene>/cloud_bin_<k>.ply   or   test/<scene>/cloud_bin_<k>.pth   (see `FRAGMENTS`)

A block of gt.log is a line `i j n` and a 4x4 matrix that takes fragment j (the source) into the
frame of fragment i (the target); n fragments make the scene. gt.info holds the 6x6 information
matrix of the same pairs in the same order. Format: Choi, Zhou, Koltun, CVPR 2015 (Redwood); pairs:
Zeng et al., CVPR 2017 and Huang et al., CVPR 2021. The rotations are stored as they are: some are
off an exact one by 0.001.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError, unknown_name
from pcinv_data.files import read_lines
from pcinv_data.pairs import RegistrationPair, as_motion, numbers
from pcinv_data.recognise import nearest_thing

BENCHMARKS = ("benchmarks", "configs/benchmarks", "metadata/benchmarks")
FRAGMENTS = ("fragments/{}", "test/{}", "indoor/test/{}", "data/test/{}", "data/indoor/test/{}",
             "test/{}/fragments")
"""Folders of a scene's clouds, in the layouts of PointDSC, Predator, GeoTransformer, 3DMatch."""
CLOUD = re.compile(r"cloud_bin_(\d+)\.(ply|pth)")
_AGAIN = "the file is damaged; get it again from configs/benchmarks of OverlapPredator"


@dataclass(frozen=True)
class Block:
    """A pair as gt.log or gt.info has it. line : of its header.  matrix : (rows, rows) float64."""

    line: int
    target: int
    source: int
    count: int
    matrix: np.ndarray


def open_benchmark(root: Path, benchmark: str, scene: str | None = None) -> list[RegistrationPair]:
    """List the pairs of "3DMatch" or "3DLoMatch", scenes by name and pairs in official order.

    Raises DatasetError with file and line for damaged lists, lists that disagree, and fragments
    that are not there; UnknownNameError for a `scene` that is not listed.
    """
    folder, scenes = _benchmark_folder(root, benchmark), list_scenes(root, benchmark)
    if scene is not None and scene not in scenes:
        raise unknown_name("scene", scene, scenes)
    return [pair for name in ([scene] if scene is not None else scenes)
            for pair in _scene_pairs(root, folder / name)]


def list_scenes(root: Path, benchmark: str) -> list[str]:
    """Return the names of the scenes that have a gt.log, whether their fragments are there or not.

    Raises DatasetError where there is none.
    """
    folder = _benchmark_folder(root, benchmark)
    return sorted(p.parent.name for p in folder.glob("*/gt.log"))


def _benchmark_folder(root: Path, benchmark: str) -> Path:
    inner = sorted(root.iterdir())[:50] if root.is_dir() else []
    near = [root, *root.absolute().parents[:3], *inner]
    found = [(base, base / place / benchmark) for base in near for place in BENCHMARKS
             if next((base / place / benchmark).glob("*/gt.log"), None) is not None]
    if found and found[0][0] == root:
        return found[0][1]
    hint = (f"--root {found[0][0]}" if found else
            "this folder must hold benchmarks/ (from configs/ of OverlapPredator) and fragments/")
    seen = ("there are fragments, but no lists of pairs" if (root / "fragments").is_dir()
            else nearest_thing(root))
    raise DatasetError(f"not {benchmark}: no benchmarks/{benchmark}/<scene>/gt.log; {seen}",
                       where=str(root), hint=hint)


def _scene_pairs(root: Path, folder: Path) -> list[RegistrationPair]:
    scene, log, info = folder.name, folder / "gt.log", folder / "gt.info"
    poses, weights = read_blocks(log, 4), read_blocks(info, 6)
    for pose, weight in zip(poses, weights, strict=False):
        if (pose.target, pose.source) != (weight.target, weight.source):
            raise DatasetError(
                f"pair {weight.target} {weight.source}, but gt.log line {pose.line} has"
                f" {pose.target} {pose.source}", where=f"{info}:{weight.line}",
                hint="both files must be of one release; get both again")
    if len(poses) != len(weights):
        raise DatasetError(f"{len(weights)} pairs, but gt.log has {len(poses)}", where=str(info),
                           hint="both files must be of one release; get both again")
    clouds, overlaps = _clouds(root, scene, log), read_overlaps(folder / "gt_overlap.log")
    pairs = []
    for pose, weight in zip(poses, weights, strict=True):
        for k in (pose.target, pose.source):
            if k not in clouds:
                raise DatasetError(
                    f"fragment {k} of {scene} is not in {next(iter(clouds.values())).parent}",
                    where=f"{log}:{pose.line}", hint="get the fragments of this scene again")
        pairs.append(RegistrationPair(
            name=f"{scene}/{pose.target}-{pose.source}", scene=scene,
            source_id=pose.source, target_id=pose.target,
            T_target_source=as_motion(pose.matrix.tolist(), f"{log}:{pose.line}"),
            source_file=clouds[pose.source], target_file=clouds[pose.target],
            information=_information(weight, info),
            overlap=overlaps.get((pose.target, pose.source)),
            consecutive=pose.source - pose.target == 1))
    return pairs


def _information(block: Block, file: Path) -> np.ndarray:
    matrix = block.matrix
    scale = np.abs(matrix).max()
    if matrix[0, 0] < 0 or np.abs(matrix - matrix.T).max() > 1e-3 * scale:
        raise DatasetError("the information matrix is not symmetric or has a negative count",
                           where=f"{file}:{block.line}", hint=_AGAIN)
    return matrix


def _clouds(root: Path, scene: str, log: Path) -> dict[int, Path]:
    """Return number -> file of the fragments, from the first of the known folders that has any."""
    for pattern in FRAGMENTS:
        folder = root / pattern.format(scene)
        found = {int(m[1]): p for p in sorted(folder.glob("cloud_bin_*.p*"))
                 if (m := CLOUD.fullmatch(p.name))}
        if found:
            return found
    raise DatasetError(
        f"no fragments of {scene}: no fragments/{scene}/cloud_bin_0.ply, no .pth in"
        f" test/{scene}", where=f"{log}:1",
        hint="get this scene's fragments, or choose a scene whose fragments are there")


def read_blocks(file: Path, rows: int) -> list[Block]:
    """Read a trajectory: blocks of a header `i j n` and a (rows, rows) matrix.

    Raises DatasetError with file and line: missing, cut off, not numbers, doubled pairs.
    """
    if not file.is_file():
        raise DatasetError(f"no {file.name} for this scene", where=str(file),
                           hint="get it from configs/benchmarks of OverlapPredator")
    lines = list(read_lines(file))
    blocks: list[Block] = []
    seen: dict[tuple[int, int], int] = {}
    for start in range(0, len(lines), rows + 1):
        line, text = lines[start]
        where = f"{file}:{line}"
        i, j, count = _header(text, where)
        body = lines[start + 1 : start + 1 + rows]
        if len(body) < rows:
            raise DatasetError(
                f"the file ends within pair {i} {j}: {len(body)} of {rows} rows", where=where,
                hint=_AGAIN)
        if (i, j) in seen:
            raise DatasetError(f"pair {i} {j} is listed again, after line {seen[i, j]}",
                               where=where, hint=_AGAIN)
        seen[i, j] = line
        matrix = [numbers(row, rows, f"{file}:{number}") for number, row in body]
        blocks.append(Block(line, i, j, count, np.asarray(matrix)))
    if not blocks:
        raise DatasetError("the file lists no pairs", where=str(file), hint=_AGAIN)
    return blocks


def _header(text: str, where: str) -> tuple[int, int, int]:
    words = text.split()
    if len(words) != 3 or not all(w.isascii() and w.isdigit() and len(w) < 9 for w in words):
        raise DatasetError(f"'{text[:60]}' is not a header `i j n` of whole numbers", where=where,
                           hint=_AGAIN)
    i, j, count = map(int, words)
    if i == j or max(i, j) >= count:
        raise DatasetError(f"fragments {i} and {j} of {count}", where=where, hint=_AGAIN)
    return i, j, count


def read_overlaps(file: Path) -> dict[tuple[int, int], float]:
    """Read `i,j,ratio` lines: the share of fragment i that overlaps j. Empty without the file."""
    if not file.is_file():
        return {}
    found = {}
    for line, text in read_lines(file):
        i, j, ratio = numbers(text.replace(",", " "), 3, f"{file}:{line}")
        if i != int(i) or j != int(j) or not 0 <= ratio <= 1:
            raise DatasetError(f"'{text[:60]}' is not `i,j,ratio`", where=f"{file}:{line}",
                               hint=_AGAIN)
        found[int(i), int(j)] = ratio
    return found


def read_fragment_pose(file: Path) -> np.ndarray:
    """Return T_world_fragment (4, 4) float64, the first camera's pose in `cloud_bin_<k>.info.txt`.

    The pose of a pair in gt.log is inv(T_world_target) T_world_source of these, to 1e-8.
    """
    lines = list(read_lines(file))[1:]
    rows = [numbers(text, 4, f"{file}:{line}") for line, text in lines]
    if len(rows) != 4:
        raise DatasetError(f"{len(rows)} rows behind the first line, expected 4", where=str(file),
                           hint="the file is damaged; get it again")
    return as_motion(rows, str(file))
