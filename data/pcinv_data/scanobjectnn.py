"""ScanObjectNN as distributed: one HDF5 file for each variant and part."""

from __future__ import annotations

from pcinv.errors import DatasetError, unknown_name
from pcinv_data.dataset import Request, Source
from pcinv_data.h5files import open_files
from pcinv_data.manifest import read_manifest
from pcinv_data.recognise import nearest_thing

VARIANTS: dict[str, tuple[str, str]] = {
    "obj_only": ("main_split_nobg", "objectdataset.h5"),
    "obj_bg": ("main_split", "objectdataset.h5"),
    "pb_t50_rs": ("main_split", "objectdataset_augmentedrot_scale75.h5"),
}
"""Variant -> folder and end of the file name. `obj_only` has no background points; `pb_t50_rs` is
the hardest: boxes shifted by up to half their size, turned and scaled."""
PREFIXES = {"train": "training_", "test": "test_"}


def open_scanobjectnn(request: Request) -> Source:
    """Open one variant; option `variant` (default pb_t50_rs)."""
    variant = str(request.options.get("variant", "pb_t50_rs")).lower()
    if variant not in VARIANTS:
        raise unknown_name("variant of scanobjectnn", variant, VARIANTS)
    folder, ending = VARIANTS[variant]
    name = PREFIXES[request.part] + ending
    for file in (request.root / folder / name, request.root / "h5_files" / folder / name):
        if file.is_file():
            classes = read_manifest("scanobjectnn").classes
            return open_files(variant, [file], classes, [None], [])
    raise DatasetError(
        f"not scanobjectnn ({variant}): no {folder}/{name}; {nearest_thing(request.root)}",
        where=str(request.root), hint="pcinv data info scanobjectnn shows the expected layout")
