"""What a folder looks like, for the error that a wrong one gets."""

from __future__ import annotations

from pathlib import Path

SIGNS: list[tuple[str, tuple[str, ...]]] = [
    ("modelnet40_normal_resampled", ("modelnet40_shape_names.txt",)),
    ("ModelNet in HDF5", ("train_files.txt", "*.h5")),
    ("ModelNet in HDF5", ("ply_data_train*.h5",)),
    ("ShapeNetPart", ("synsetoffset2category.txt",)),
    ("ScanObjectNN", ("main_split*/*objectdataset*.h5",)),
    ("one variant of ScanObjectNN", ("*objectdataset*.h5",)),
    ("ShapeNetCore", ("0*/*/models/model_normalized.obj",)),
    ("a table of labelled files", ("labels.csv",)),
    ("ModelNet meshes", ("*/train/*.off",)),
    ("ModelNet meshes", ("*/test/*.off",)),
    ("ModelNet as PCD clouds", ("*/train/*.pcd",)),
    ("3DMatch", ("gt.log",)),
    ("3DMatch", ("fragments/*/cloud_bin_*.ply",)),
    ("SemanticKITTI", ("sequences/*/labels", "sequences/*/velodyne")),
    ("KITTI odometry", ("sequences/*/velodyne",)),
    ("a sequence of KITTI odometry", ("velodyne/*.bin",)),
    ("nuScenes", ("samples/LIDAR_TOP",)),
    ("a log of Argoverse 2", ("sensors/lidar/*.feather",)),
    ("Argoverse 2", ("*/*/sensors/lidar",)),
]
"""Title -> patterns that must all be found; the first that fits wins."""


def recognise(root: Path) -> str | None:
    """Name the data set that a folder looks like, or None."""
    for title, patterns in SIGNS:
        if all(next(root.glob(pattern), None) is not None for pattern in patterns):
            return title
    return None


def nearest_thing(root: Path) -> str:
    """Say in half a sentence what was found instead; looks into the folder and one level below."""
    if not root.exists():
        parent = next(p for p in [*root.parents, Path()] if p.exists())
        return f"there is no such folder; {parent} is there"
    if not root.is_dir():
        return "this is a file, not a folder"
    found = recognise(root)
    if found:
        return f"this looks like {found}"
    children = sorted(p for p in root.iterdir() if p.is_dir())
    for child in children[:50]:
        found = recognise(child)
        if found:
            return f"its sub-folder '{child.name}' looks like {found}"
    names = [p.name for p in sorted(root.iterdir())[:4]]
    return f"it holds {', '.join(names)}" if names else "the folder is empty"
