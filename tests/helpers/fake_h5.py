"""Small HDF5 files in the form of the public data sets."""

from pathlib import Path

import h5py
import numpy as np


def write_h5(file: Path, labels, rng: np.random.Generator, points: int = 64, column: bool = True,
             **more) -> None:
    """Write `data` (clouds neither centred nor scaled), `label` and `more` arrays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    labels = np.asarray(labels, np.uint8)
    clouds = rng.standard_normal((len(labels), points, 3)) * [40, 80, 120] + 500
    with h5py.File(file, "w") as handle:
        handle["data"] = clouds.astype(np.float32)
        handle["label"] = labels[:, None] if column else labels
        for name, values in more.items():
            handle[name] = values
