"""One model of many clouds: their poses, the clouds merged, and a report of what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float

from pcinv.errors import PcinvError
from pcinv.io import write
from pcinv.io.assemble import split_origin
from pcinv.registration.clouds import points_of
from pcinv.registration.pair_store import Row, write_json
from pcinv.registration.pose_graph import Edge, PoseGraph, solve_pose_graph
from pcinv.registration.scale import thin
from pcinv.types import PointCloud

POSES, MODEL, REPORT = "poses.json", "model.ply", "report.json"
_CONVENTION = "T_frame_cloud: a point p of the cloud is at R p + t in the frame of the first cloud"


@dataclass(frozen=True)
class Model:
    """What hangs together: clouds that trusted pairs connect, the largest group first.

    poses : cloud -> (4, 4) into the frame of the first cloud of its group.
    groups : the names of the clouds of each.
    model_file : None where no pair is trusted.  unreadable : cloud -> what is wrong with it.
    """

    poses: dict[str, Float[np.ndarray, "4 4"]]
    groups: list[list[str]]
    voxel: float | None
    unreadable: dict[str, str]
    num_in_doubt: int
    poses_file: Path
    model_file: Path | None
    report_file: Path

    def to_dict(self) -> dict[str, Any]:
        """Return what a person wants to know of it, as plain values."""
        return {"poses_file": str(self.poses_file), "report_file": str(self.report_file),
                "model_file": None if self.model_file is None else str(self.model_file),
                "groups": self.groups, "unreadable": self.unreadable, "voxel": self.voxel,
                "num_in_doubt": self.num_in_doubt}


def build_model(
    names: list[str], rows: list[Row], folder: Path, output: Path, voxel: float | None, seed: int
) -> Model:
    """Join the clouds by their trusted pairs, and write poses, model and report.

    rows : of `register_pairs`.  voxel : of the model; of the trusted pairs, the median, if None.
    """
    trusted = [row for row in rows if row["verdict"] == "trusted"]
    if voxel is None and trusted:
        voxel = median(row["voxel"] for row in trusted)
    clouds, unreadable = _read(names, folder, voxel, seed)
    names = list(clouds)
    edges = [Edge(names.index(row["source"]), names.index(row["target"]),
                  np.array(row["transform"]), row["score"])
             for row in trusted if row["source"] in clouds and row["target"] in clouds]
    centres = np.array([clouds[name].mean(0) for name in names]).reshape(-1, 3)
    radii = np.array([np.sqrt(((clouds[n] - c) ** 2).sum(1).mean())
                      for n, c in zip(names, centres, strict=True)])
    graph = solve_pose_graph(edges, centres, radii, voxel or 1.0)
    groups: list[list[str]] = [[] for _ in range(int(graph.component.max(initial=-1)) + 1)]
    for name, component in zip(names, graph.component, strict=True):
        groups[component].append(name)
    poses = dict(zip(names, graph.poses, strict=True))
    model = output / MODEL if edges else None
    told = Model(poses, groups, voxel, unreadable, int(graph.in_doubt.sum()), output / POSES,
                 model, output / REPORT)
    write_json(told.poses_file, {
        "convention": _CONVENTION, "groups": groups,
        "poses": {name: pose.tolist() for name, pose in poses.items()}})
    points = _merged([clouds[name] for name in groups[0]], [poses[name] for name in groups[0]],
                     voxel) if model is not None and voxel is not None else None
    if points is None:
        (output / MODEL).unlink(missing_ok=True)  # of an earlier run
    else:
        write(output / MODEL, PointCloud(*split_origin(points)), force=True)
    write_json(told.report_file, _report(told, rows, edges, graph, points))
    return told


def _read(
    names: list[str], folder: Path, voxel: float | None, seed: int
) -> tuple[dict[str, Float[np.ndarray, "n 3"]], dict[str, str]]:
    """Return the clouds that can be read, thinned, and what is wrong with the others."""
    clouds, unreadable = {}, {}
    for name in names:
        try:
            points = points_of(folder / name, name, seed=seed).points
            clouds[name] = points if voxel is None else thin(points, voxel)
        except PcinvError as error:
            unreadable[name] = error.message
    return clouds, unreadable


def _merged(
    clouds: list[Float[np.ndarray, "n 3"]], poses: list[Float[np.ndarray, "4 4"]], voxel: float
) -> Float[np.ndarray, "n 3"]:
    moved = [points @ pose[:3, :3].T + pose[:3, 3]
             for points, pose in zip(clouds, poses, strict=True)]
    return thin(np.concatenate(moved), voxel)


def _report(
    model: Model, rows: list[Row], edges: list[Edge], graph: PoseGraph,
    points: Float[np.ndarray, "n 3"] | None,
) -> dict[str, Any]:
    names = list(model.poses)
    return model.to_dict() | {
        "schema": "pcinv/1", "num_clouds": len(names) + len(model.unreadable),
        "num_pairs": len(rows), "num_trusted": len(edges),
        "num_points": None if points is None else len(points),
        "residual_rms": float(np.sqrt(np.mean(graph.residual**2))) if edges else None,
        "pairs": [
            {"source": names[edge.source], "target": names[edge.target], "score": edge.score,
             "confirming_loops": int(loops), "residual": float(residual), "in_doubt": bool(doubt)}
            for edge, loops, residual, doubt in zip(edges, graph.loops, graph.residual,
                                                    graph.in_doubt, strict=True)],
        "not_trusted": [
            {"source": row["source"], "target": row["target"], "verdict": row["verdict"],
             "reasons": row.get("reasons", []), "error": row["error"]}
            for row in rows if row["verdict"] != "trusted"],
        "units": "residuals count in voxels",
    }
