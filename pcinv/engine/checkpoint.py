"""Checkpoints: atomic folders of safetensors and JSON, checked by hash when they are read.

    RUN/checkpoints/step-0001200/model.safetensors   weights; their metadata say what they belong to
                                 state.safetensors   optimiser, random sources, sums of the epoch
                                 meta.json           description, progress, hashes of both files
    RUN/best, RUN/last                               one line each, the name of a checkpoint

Nothing is pickled. A folder is written aside, synced and renamed, so it is whole or not there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import safetensors.torch
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic import dataclasses as pydantic_dataclasses
from safetensors import SafetensorError
from torch import Tensor

from pcinv.engine.config import Config, Tree
from pcinv.engine.files import cannot_write, sync_folder, write_atomic, write_synced
from pcinv.engine.runs import CHECKPOINTS
from pcinv.errors import CheckpointError
from pcinv.limits import MAX_FILE_BYTES, MAX_HEADER_BYTES
from pcinv.tasks import Labels

SCHEMA_VERSION = 1
MODEL, STATE, META = "model.safetensors", "state.safetensors", "meta.json"
_KEY = "pcinv"
_STRICT = ConfigDict(extra="forbid")
T = TypeVar("T")
Normals = Literal["data", "estimate", "none"]
_NAME = re.compile(r"step-\d{7,}(-partial)?(-\d+)?")


@pydantic_dataclasses.dataclass(frozen=True, config=_STRICT)
class ModelMeta:
    """What weights belong to; travels inside the weights file.

    hyper : the backbone's hyper-parameters, all of them.
    normals : where normals came from in training, see `DataConfig`.
    metrics : of the validation part (or the last training epoch, where there is none).
    digest : sha256 over the names, types, shapes and bytes of all tensors.
    """

    schema_version: int
    config: Config
    hyper: Tree
    labels: Labels
    normals: Normals
    num_categories: int
    step: int
    epoch: int
    metrics: dict[str, float]
    versions: dict[str, str]
    digest: str = ""


@pydantic_dataclasses.dataclass(frozen=True, config=_STRICT)
class Progress:
    """Where training stands.

    epoch, batch : completed epochs, and completed batches of the next one.
    best_score, best_loss : of the best checkpoint so far.
    metrics_bytes : length of metrics.jsonl at this point.
    """

    step: int
    epoch: int
    batch: int
    processes: int
    optimizer: list[Tree]
    scaler: Tree | None
    metrics_bytes: int
    best_score: float | None = None
    best_loss: float | None = None


@pydantic_dataclasses.dataclass(frozen=True, config=_STRICT)
class _MetaFile:
    schema_version: int
    model: ModelMeta
    progress: Progress
    sha256: dict[str, str]


_MODEL_META = TypeAdapter(ModelMeta)
_META_FILE = TypeAdapter(_MetaFile)


@dataclass(frozen=True)
class Weights:
    """A model's tensors on CPU, and what they belong to."""

    path: Path
    meta: ModelMeta
    tensors: dict[str, Tensor]


def save_checkpoint(
    run: Path,
    weights: dict[str, Tensor],
    state: dict[str, Tensor],
    meta: ModelMeta,
    progress: Progress,
) -> Path:
    """Write a checkpoint of a run and return its folder; it is there as a whole or not at all.

    Raises
    ------
    LimitError where the disk does not take it; older checkpoints stay as they are.
    """
    folder = run / CHECKPOINTS
    name = f"step-{progress.step:07d}" + ("-partial" if progress.batch else "")
    taken = (f"{name}-{again}" if again else name for again in itertools.count())
    target = next(folder / free for free in taken if not (folder / free).exists())
    aside = folder / f"{target.name}.tmp-{os.getpid()}"
    weights = {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}
    state = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    meta = dataclasses.replace(meta, digest=digest(weights))
    described = _MODEL_META.dump_json(meta).decode()
    files = {
        MODEL: safetensors.torch.save(weights, {_KEY: described}),
        STATE: safetensors.torch.save(state),
    }
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    whole = _MetaFile(SCHEMA_VERSION, meta, progress, hashes)
    files[META] = _META_FILE.dump_json(whole, indent=1)
    try:
        _remove(folder.glob("*.tmp-*"))
        _remove(folder.glob("*.old-*"))
        aside.mkdir()
        for file, data in files.items():
            write_synced(aside / file, data)
        sync_folder(aside)
        os.replace(aside, target)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise cannot_write(target, error) from error
    return target


def point_to(run: Path, pointer: str, checkpoint: Path) -> None:
    """Let `best` or `last` name a checkpoint."""
    write_atomic(run / pointer, checkpoint.name.encode() + b"\n")


def prune(run: Path, keep: int) -> None:
    """Remove all checkpoints but the newest `keep` and the one that `best` names."""
    found = list_checkpoints(run)
    best = _pointed(run, "best")
    for old in found[:-keep]:
        if old != best:
            # renamed first: a folder with a proper name is always whole
            aside = old.with_name(f"{old.name}.old-{os.getpid()}")
            os.replace(old, aside)
            shutil.rmtree(aside, ignore_errors=True)


def list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first, by the numbers in their meta data."""
    folder = run / CHECKPOINTS
    if not folder.is_dir():
        return []
    found = [entry for entry in folder.iterdir() if _NAME.fullmatch(entry.name)]
    reached = {path: _read_meta(path).progress for path in found}
    # at equal steps a finished epoch comes after the same steps without its validation
    return sorted(found, key=lambda path: (
        reached[path].step, reached[path].batch == 0, len(path.name), path.name))


def find_checkpoint(run: Path, which: str = "last") -> Path:
    """Return the newest checkpoint of a run ("last"), or the one with the best validation ("best").

    Raises
    ------
    CheckpointError where there is none, or where `best` names one that is not there.
    """
    if which == "best":
        best = _pointed(run, "best")
        if best is not None:
            if not best.is_dir():
                raise CheckpointError(f"'best' names {best.name}, which is not there",
                                      where=str(run / "best"),
                                      hint="use the last checkpoint instead")
            return best
    found = list_checkpoints(run)
    if not found:
        raise CheckpointError("the run has no checkpoint yet", where=str(run / CHECKPOINTS),
                              hint="train again: it was stopped before its first checkpoint")
    return found[-1]


def load_state(checkpoint: Path) -> tuple[Weights, dict[str, Tensor], Progress]:
    """Read a whole checkpoint: weights, all other tensors, and where training stood."""
    meta = _read_meta(checkpoint)
    weights = _read_weights(checkpoint / MODEL, meta.sha256.get(MODEL))
    state, _ = _read_tensors(checkpoint / STATE, meta.sha256.get(STATE))
    return weights, state, meta.progress


def load_weights(path: str | Path, which: str = "best") -> Weights:
    """Read the weights of a run folder, a checkpoint folder or a weights file.

    Raises
    ------
    CheckpointError for anything that is missing, damaged, or not of pcinv.
    """
    path = Path(path)
    if path.is_file():
        return _read_weights(path, None)
    if (path / CHECKPOINTS).is_dir():
        path = find_checkpoint(path, which)
    if not (path / META).is_file():
        raise CheckpointError(f"'{path}' is no run, checkpoint or weights file of pcinv",
                              where=str(path), hint="give the folder that pcinv train wrote")
    return _read_weights(path / MODEL, _read_meta(path).sha256.get(MODEL))


def digest(tensors: dict[str, Tensor]) -> str:
    """Return the sha256 over names, types, shapes and bytes of CPU tensors."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _pointed(run: Path, pointer: str) -> Path | None:
    try:
        name = (run / pointer).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"'{pointer}' does not name a checkpoint", where=str(run / pointer),
                              hint=f"write the name of a folder of {CHECKPOINTS}/ into it")
    return run / CHECKPOINTS / name


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise CheckpointError(f"the file is larger than {limit} bytes", where=str(path),
                                  hint="this is no checkpoint of pcinv")
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error


def _read_meta(checkpoint: Path) -> _MetaFile:
    path = checkpoint / META
    return _parse(_META_FILE, _read(path, 16 * MAX_HEADER_BYTES), path)


def _parse(adapter: TypeAdapter[T], data: bytes | str, path: Path) -> T:
    try:
        version = json.loads(data).get("schema_version")
        if version != SCHEMA_VERSION:
            raise CheckpointError(f"schema version {version}, this pcinv reads {SCHEMA_VERSION}",
                                  where=str(path), hint="use the version of pcinv that wrote it")
        return adapter.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{key}: {first['msg']}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def _read_tensors(path: Path, sha256: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a safetensors file, after checking its hash."""
    data = _read(path, MAX_FILE_BYTES)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise _damaged(path, "its hash is not the one in meta.json")
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    return tensors, header.get("__metadata__") or {}


def _read_weights(path: Path, sha256: str | None) -> Weights:
    tensors, metadata = _read_tensors(path, sha256)
    if _KEY not in metadata:
        raise CheckpointError("the file does not say which network its weights belong to",
                              where=str(path), hint="give weights that pcinv train wrote")
    meta = _parse(_MODEL_META, metadata[_KEY], path)
    if digest(tensors) != meta.digest:
        raise _damaged(path, "the weights are not those that were saved")
    return Weights(path, meta, tensors)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint is damaged: {reason}", where=str(path),
                           hint="remove this checkpoint to use the one before it, or copy it again")


def _remove(paths: Any) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
