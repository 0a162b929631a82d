"""Data sets of 3D shapes: loaders, manifests with terms and layout, and generated shapes."""

from pcinv_data.dataset import Dataset
from pcinv_data.make import make_dataset
from pcinv_data.registry import (
    DATASETS,
    DatasetSpec,
    describe_dataset,
    list_datasets,
    load_dataset,
)
from pcinv_data.room_store import load_rooms
from pcinv_data.verify import VerifyReport, verify_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetSpec",
    "VerifyReport",
    "describe_dataset",
    "list_datasets",
    "load_dataset",
    "load_rooms",
    "make_dataset",
    "verify_dataset",
]
