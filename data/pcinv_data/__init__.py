"""Data sets of shapes and scans: loaders, manifests with terms and layout, and generated ones."""

from pcinv_data.dataset import Dataset
from pcinv_data.lidar import ScanSequence, list_sequences, open_sequence
from pcinv_data.make import make_dataset
from pcinv_data.registry import (
    DATASETS,
    DatasetSpec,
    describe_dataset,
    list_datasets,
    load_dataset,
)
from pcinv_data.room_store import load_rooms
from pcinv_data.streets import generate_sequence
from pcinv_data.verify import VerifyReport, verify_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetSpec",
    "ScanSequence",
    "VerifyReport",
    "describe_dataset",
    "generate_sequence",
    "list_datasets",
    "list_sequences",
    "load_dataset",
    "load_rooms",
    "make_dataset",
    "open_sequence",
    "verify_dataset",
]
