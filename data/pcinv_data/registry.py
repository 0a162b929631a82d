"""The one table of data sets, and what can be asked of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError, InputError, UsageError, unknown_name
from pcinv_data.cache import Arrays, cached
from pcinv_data.dataset import Dataset, Request, Source
from pcinv_data.folder import open_folder
from pcinv_data.lidar.sets import SEQUENCE_SETS
from pcinv_data.manifest import Manifest, read_manifest
from pcinv_data.modelnet import open_modelnet10, open_modelnet40
from pcinv_data.pairs import PAIR_SETS
from pcinv_data.prepare import prepare
from pcinv_data.scanobjectnn import open_scanobjectnn
from pcinv_data.shapenetpart import open_shapenetpart
from pcinv_data.shapes import open_shapes
from pcinv_data.splits import SPLITS, balanced, split_indices

SAMPLINGS = ("fps", "random")


@dataclass(frozen=True)
class DatasetSpec:
    """One row of the table. options : names of the loader's own options."""

    name: str
    open: Callable[[Request], Source]
    tasks: tuple[str, ...] = ("classification",)
    needs_root: bool = True
    options: tuple[str, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """Terms, layout, class names and sizes."""
        return read_manifest(self.name)


BOTH = ("classification", "part_segmentation")
DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec for spec in (
        DatasetSpec("modelnet40", open_modelnet40),
        DatasetSpec("modelnet10", open_modelnet10),
        DatasetSpec("scanobjectnn", open_scanobjectnn, options=("variant",)),
        DatasetSpec("shapenetpart", open_shapenetpart, BOTH),
        DatasetSpec("folder", open_folder, BOTH),
        DatasetSpec("shapes", open_shapes, BOTH, needs_root=False, options=("per_class", "noise")),
    )
}


def dataset_spec(name: str) -> DatasetSpec:
    """Return the row of a data set, or raise with the nearest names."""
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS, where="dataset")
    return DATASETS[name]


def load_dataset(name: str, root: str | Path | None = None, split: str = "train", *,
                 num_points: int = 1024, seed: int = 0, val_fraction: float = 0.1,
                 limit: int | None = None, task: str = "classification", sampling: str = "fps",
                 cache: str | Path | None = None, **options: object) -> Dataset:
    """Load a split of a data set into memory.

    name : a key of `DATASETS`.  root : its folder; not needed for generated sets.
    split : "train", "val" (taken out of the official training part, the same for every seed,
        unless there is an official one), "trainval" (both), "test".
    num_points : points a sample; shapes with fewer repeat some.  seed : chooses random subsets,
        points on meshes, and the shapes of generated sets.
    limit : at most this many samples, the classes in turn.
    sampling : "fps" (farthest points, no randomness) or "random", for shapes with more points.
    cache : a folder where the prepared points are kept, for data sets of many files.
    options : the data set's own; `variant` of scanobjectnn, `per_class` and `noise` of shapes.

    Raises
    ------
    UnknownNameError : no such data set, split, task, sampling or option.
    DatasetError : the folder is not the data set, or lacks listed files.
    """
    spec = dataset_spec(name)
    for kind, value, known in (("split", split, SPLITS), ("sampling", sampling, SAMPLINGS)):
        if value not in known:
            raise unknown_name(kind, value, known)
    if task not in spec.tasks:
        raise UsageError(f"{name} is not for task '{task}'", where="task",
                         hint=f"its tasks: {', '.join(spec.tasks)}")
    check_range("num_points", num_points, 1, 1_000_000)
    check_range("seed", seed, 0, 2**63)
    if not 0 <= val_fraction < 1:
        raise InputError(f"val_fraction is {val_fraction}, expected 0 to 1", where="val_fraction",
                         hint="a tenth, 0.1, is usual")
    source = open_source(spec, root, "test" if split == "test" else "train", num_points, seed,
                         options)
    where = str(root) if spec.needs_root else name
    if source.missing:
        raise DatasetError(
            f"{len(source.missing)} listed files are not there, the first is {source.missing[0]}",
            where=where, hint=f"pcinv data verify {name} --root {root} lists them all")
    chosen = split_indices(source.labels, split, val_fraction, source.validation)
    if limit is not None:
        check_range("limit", limit, 1, 2**31)
        chosen = chosen[balanced(source.labels[chosen], limit)]
    if not len(chosen):
        raise DatasetError(f"{name} has no shapes in split '{split}' here", where=where,
                           hint="use another split" + (", or a val_fraction above 0"
                                                       if split == "val" else ""))
    if task == "part_segmentation" and source.part_labels is None:
        raise DatasetError(f"{name} has no table of parts here", where=where,
                           hint="a folder needs parts.json; see pcinv data info folder")
    def make() -> Arrays:
        return prepare(source, chosen.tolist(), num_points, seed, sampling)

    if cache is None or not spec.needs_root:
        xyz, normal, part = make()
    else:
        settings = {"num_points": num_points, "seed": seed, "sampling": sampling}
        xyz, normal, part = cached(cache, name, source, chosen.tolist(), settings, make)
    if task == "part_segmentation" and part is None:
        raise DatasetError("some shapes have no part labels", where=where,
                           hint="each file needs a column 'part' of whole numbers")
    parts = task == "part_segmentation"
    return Dataset(
        name=name, split=split, task=task, layout=source.layout,
        class_names=list(source.class_names), labels=source.labels[chosen].astype(np.int64),
        names=[source.names[i] for i in chosen], xyz=xyz, normal=normal,
        part=part if parts else None, part_names=source.part_names if parts else None,
        part_labels=source.part_labels if parts else None)


def check_range(name: str, value: object, low: int, high: int) -> None:
    """Raise unless `value` is a whole number in [low, high]."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{name} is {value}, expected a whole number of {low} or more", where=name,
                         hint=f"choose {low} to {high}")


def open_source(spec: DatasetSpec, root: str | Path | None, part: str, num_points: int, seed: int,
                options: dict[str, object]) -> Source:
    """Look at the folder of a data set: which shapes there are, without reading them."""
    for option in options:
        if option not in spec.options:
            raise unknown_name(f"option of {spec.name}", option,
                               [*spec.options, "num_points", "seed", "limit", "sampling", "cache"])
    if root is None and spec.needs_root:
        raise UsageError(f"{spec.name} needs the folder of your copy", where="root",
                         hint=f"--root DIR; pcinv data info {spec.name} says where to get it")
    folder = Path(root) if root is not None else Path()
    return spec.open(Request(folder, part, num_points, seed, options))


def list_datasets() -> list[str]:
    """Return the names of all data sets: those of shapes, of pairs, of LiDAR sequences."""
    return [*DATASETS, *PAIR_SETS, *SEQUENCE_SETS]


def describe_dataset(name: str) -> dict[str, object]:
    """Return what a person needs to know of a data set: plain values, ready for JSON."""
    if name not in list_datasets():
        raise unknown_name("data set", name, list_datasets(), where="dataset")
    spec = DATASETS.get(name)
    scans = name in SEQUENCE_SETS
    manifest = (spec or SEQUENCE_SETS.get(name) or PAIR_SETS[name]).manifest
    return {
        "name": name, "title": manifest.title, "summary": manifest.summary, "url": manifest.url,
        "licence": manifest.licence, "terms": manifest.terms, "citation": manifest.citation,
        "get": manifest.get,
        "needs_root": (spec or SEQUENCE_SETS.get(name) or PAIR_SETS[name]).needs_root,
        "tasks": list(spec.tasks if spec else SEQUENCE_SETS[name].tasks if scans
                      else ("registration",)),
        "options": list(spec.options) if spec else [], "classes": list(manifest.classes),
        "num_classes": len(manifest.classes), "parts": dict(manifest.parts),
        "num_parts": sum(len(parts) for parts in manifest.parts.values()),
        "sizes": {edition: dict(sizes) for edition, sizes in manifest.sizes.items()
                  if name not in manifest.sizes or edition == name},
        "layouts": [{"name": layout.name, "title": layout.title, "tree": list(layout.tree),
                     "normals": layout.normals} for layout in manifest.layouts],
        "checks": list(manifest.checks),
    }
