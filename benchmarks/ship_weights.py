"""Write a run's best weights in half precision, to come with the package.

    python benchmarks/ship_weights.py RUN pcinv/weights/cylinder_patch.safetensors

Prints the SHA-256 of the file, for its card. The folder that the data was in stays out of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import safetensors.torch
import torch

from pcinv.engine.checkpoint import digest, load_weights
from pcinv.engine.config import to_tree


def ship(run: str, target: Path) -> str:
    """Write the file and return its SHA-256."""
    found = load_weights(run, "best")
    tensors = {name: value.half() if value.is_floating_point() else value
               for name, value in found.tensors.items()}
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise SystemExit("some weights are too large for half precision")
    meta = dataclasses.replace(found.meta, digest=digest(tensors))
    told = {field.name: getattr(meta, field.name) for field in dataclasses.fields(meta)}
    config = to_tree(meta.config)
    config["data"]["root"] = None
    told |= {"config": config, "labels": dataclasses.asdict(meta.labels)}
    data = safetensors.torch.save(tensors, {"pcinv": json.dumps(told)})
    target.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(ship(sys.argv[1], Path(sys.argv[2])))
