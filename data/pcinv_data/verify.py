"""Checking a person's copy of a data set against its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pcinv.errors import PcinvError, UsageError, unknown_name
from pcinv_data.dataset import Source, unit_ball
from pcinv_data.lidar.sets import SEQUENCE_SETS, check_copy
from pcinv_data.manifest import Manifest
from pcinv_data.pairs import PAIR_SETS, RegistrationPair, load_pairs, pair_folder, read_points
from pcinv_data.registry import DATASETS, dataset_spec, list_datasets, open_source

MAX_READS = 500
"""Files of one part that are read whole, spread evenly; the others must be there and not empty."""


@dataclass(frozen=True)
class VerifyReport:
    """What was found. ok : nothing is damaged or missing from the lists of the copy itself.

    problems : what must be repaired, each with its file.
    notes : what a person should know, such as a copy of fewer shapes than the whole data set.
    counts : shapes in "train" and "test" (and "val" where it is official), or pairs; of LiDAR
        "sequences" and "scans".
    """

    name: str
    root: str | None
    ok: bool
    layout: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def verify_dataset(name: str, root: str | Path | None = None, **options: object) -> VerifyReport:
    """Check the copy of a data set in `root`; problems are returned, not raised.

    Raises UnknownNameError and UsageError for a wrong name, option or a root left out.
    """
    if name in PAIR_SETS:
        if options:
            raise UsageError(f"{name} has no options", where="options", hint="leave them out")
        return _verify_pairs(name, root)
    if name in SEQUENCE_SETS:
        return _verify_sequences(name, root, options)
    if name not in DATASETS:
        raise unknown_name("data set", name, list_datasets(), where="dataset")
    spec = dataset_spec(name)
    problems: list[str] = []
    notes: list[str] = []
    counts: dict[str, int] = {}
    layout = None
    for part in ("train", "test"):
        try:
            source = open_source(spec, root, part, 64, 0, options)
        except PcinvError as error:
            if error.exit_code == 2:
                raise
            text = _text(error)
            if text not in problems:
                problems.append(text)
            continue
        layout = source.layout
        counts.update(_counts(source, part))
        problems += [f"{missing}: listed, but not there" for missing in source.missing]
        found, read = _read_some(source, set(source.missing))
        problems += found
        if read < len(set(source.files)):
            notes.append(f"{part}: {read} of {len(set(source.files))} files were read whole")
        notes += _absent_classes(source, part)
    notes += _against_official(spec.manifest, layout, counts)
    return VerifyReport(name, None if root is None else str(root), not problems, layout, problems,
                        notes, counts)


def _text(error: PcinvError) -> str:
    return f"{error.where}: {error.message}" if error.where else error.message


def _counts(source: Source, part: str) -> dict[str, int]:
    if source.validation is None or part != "train":
        return {part: len(source.labels)}
    held = int(source.validation.sum())
    return {"train": len(source.labels) - held, "val": held}


def _read_some(source: Source, missing: set[str]) -> tuple[list[str], int]:
    """Read the first shape of up to MAX_READS files; an HDF5 file is thereby read whole."""
    first: dict[str, int] = {}
    for i, file in enumerate(source.files):
        first.setdefault(file, i)
    files = [file for file in first if source.names[first[file]] not in missing]
    spread = np.linspace(0, len(files) - 1, min(len(files), MAX_READS)).astype(int)
    chosen = {files[k] for k in spread}
    problems = []
    for file in files:
        if file not in chosen:
            if Path(file).stat().st_size == 0:
                problems.append(f"{file}: the file is empty")
            continue
        try:
            for raw in source.read([first[file]]):
                unit_ball(raw.xyz, file)
        except PcinvError as error:
            problems.append(_text(error))
    return problems, len(chosen)


def _absent_classes(source: Source, part: str) -> list[str]:
    present = set(source.labels.tolist())
    absent = [name for k, name in enumerate(source.class_names) if k not in present]
    if not absent or not len(source.labels):
        return []
    some = ", ".join(absent[:4]) + (", ..." if len(absent) > 4 else "")
    return [f"{part}: no shapes of {len(absent)} of {len(source.class_names)} classes ({some})"]


def _against_official(manifest: Manifest, layout: str | None, counts: dict[str, int],
                      things: str = "shapes") -> list[str]:
    sizes = manifest.sizes
    expected = sizes.get(layout or "", sizes.get("official", {}))
    return [f"{split}: {counts[split]} of the {number} {things} of the whole data set"
            for split, number in expected.items() if split in counts and counts[split] != number]


def _verify_sequences(name: str, root: str | Path | None, options: dict[str, object]
                      ) -> VerifyReport:
    if options:
        raise UsageError(f"{name} has no options", where="options", hint="leave them out")
    if root is None:
        raise UsageError(f"{name} needs the folder of your copy", where="root",
                         hint=f"--root DIR; pcinv data info {name} says where to get it")
    problems, notes, counts = check_copy(name, Path(root))
    return VerifyReport(name, str(root), not problems, SEQUENCE_SETS[name].format, problems, notes,
                        counts)


def _verify_pairs(name: str, root: str | Path | None) -> VerifyReport:
    """Check the lists of every scene, and read the clouds that they name."""
    problems: list[str] = []
    pairs: list[RegistrationPair] = []
    folder = pair_folder(name, root)
    try:
        scenes = PAIR_SETS[name].scenes(folder)
    except PcinvError as error:
        return VerifyReport(name, str(root), False, problems=[_text(error)])
    for scene in scenes:
        try:
            pairs += load_pairs(name, folder, scene=scene)
        except PcinvError as error:
            if error.exit_code == 2:
                raise
            problems.append(_text(error))
    files = sorted({file for pair in pairs for file in (pair.source_file, pair.target_file)})
    spread = np.linspace(0, len(files) - 1, min(len(files), MAX_READS)).astype(int)
    for k in spread:
        try:
            read_points(files[k])
        except PcinvError as error:
            problems.append(_text(error))
    notes = []
    if len(spread) < len(files):
        notes.append(f"{len(spread)} of {len(files)} clouds were read")
    counts = {"test": len(pairs)}
    notes += _against_official(PAIR_SETS[name].manifest, name, counts, "pairs")
    return VerifyReport(name, None if root is None else str(root), not problems, None, problems,
                        notes, counts)
