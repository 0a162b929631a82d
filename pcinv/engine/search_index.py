"""The vectors of the shapes of a folder, kept in a file (SQLite) and brought up to date.

A shape is known by its path, size and time of change. Each batch is committed as a whole, so
whatever ends the program, what was done is kept and nothing is half-written.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sqlite3
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from pcinv.engine.embed import Embedded, Embedder, Skipped
from pcinv.errors import CheckpointError, InputError, LimitError, PcinvError, UsageError
from pcinv.io.formats import format_of_suffix
from pcinv.registration.pair_list import AMBIGUOUS_SUFFIXES

logger = logging.getLogger(__name__)

FOLDER = ".pcinv-index"
_FILE = "index.sqlite"
_OURS, _VERSION = 0x70636978, 1
"""SQLite's application_id and user_version of our files."""
_WAIT_S = 30.0
"""For another process that is writing."""
_TABLES = """
    CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS shapes (
        id INTEGER PRIMARY KEY, file BLOB UNIQUE NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, vector BLOB NOT NULL);
"""

Progress = Callable[[int, int], None]
"""Is told how many of the new shapes are done, of how many."""
Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


@dataclass(frozen=True)
class Update:
    """What bringing an index up to date did.

    embedded, dropped : shapes that were new or had changed; that were gone.
    skipped : files that cannot be read.
    """

    embedded: int
    dropped: int
    skipped: tuple[Skipped, ...]


def shapes_of(folder: Path) -> tuple[dict[str, Stamp], list[Skipped]]:
    """Return path in the folder -> stamp of the clouds and meshes in it and below, by suffix.

    Hidden files and folders are left out, and .txt and .csv files, which are as often other things.
    Folders that cannot be listed come second.
    """
    found: dict[str, Stamp] = {}
    closed: list[Skipped] = []

    def refuse(error: OSError) -> None:
        closed.append(Skipped(str(error.filename), InputError(
            f"the folder cannot be listed: {error.strerror}", where=str(error.filename),
            hint="check its permissions")))

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(place).relative_to(folder).as_posix()
        start = "" if below == "." else f"{below}/"
        for name in sorted(names):
            if name.startswith(".") or not _is_shape(os.path.splitext(name)[1].lower()):
                continue
            with contextlib.suppress(OSError):  # gone in the meantime, or a link to nowhere
                told = os.stat(os.path.join(place, name))
                if stat.S_ISREG(told.st_mode):
                    found[start + name] = told.st_size, told.st_mtime_ns
    return found, closed


@functools.cache
def _is_shape(suffix: str) -> bool:
    return suffix not in AMBIGUOUS_SUFFIXES and format_of_suffix(Path(f"_{suffix}")) is not None


class SearchIndex:
    """The open index of a folder; to be used in a `with` block.

    path : the file.  state : changes whenever the shapes do.
    """

    def __init__(
        self, folder: Path, embedder: Embedder, *, place: Path | None = None, rebuild: bool = False
    ) -> None:
        """Open the index, or begin one.

        place : folder of the index; `.pcinv-index` in the folder where None.
        rebuild : throw away what is there.

        Raises
        ------
        CheckpointError where it is damaged, or was made by another network.
        UsageError where it cannot be written.
        """
        self.folder, self.embedder = folder, embedder
        own = folder / FOLDER
        self.place = own if place is None else place
        self.path = self.place / _FILE
        self.about = {"fingerprint": embedder.fingerprint, "weights": str(embedder.loaded.path)}
        if self.place.resolve() != own.resolve():  # otherwise it may be moved along with its folder
            self.about["folder"] = str(folder.resolve())
        with self._guarded():
            self.place.mkdir(parents=True, exist_ok=True)
            if rebuild:
                self._remove()
            self.table = sqlite3.connect(self.path, timeout=_WAIT_S)
        try:
            with self._guarded():
                self._check()
        except BaseException:
            self.table.close()
            raise

    def __enter__(self) -> SearchIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.table.close()

    def _remove(self) -> None:
        for old in (self.path, self.path.with_name(f"{_FILE}-journal"), *self.libraries()):
            old.unlink(missing_ok=True)

    def libraries(self) -> list[Path]:
        """Return the files of the vector library, of this state and of earlier ones."""
        return sorted(self.place.glob("vectors-*.faiss"))

    @property
    def library(self) -> Path:
        """Return where the file of the vector library is, or would be."""
        return self.place / f"vectors-{self._read_about()['state']}.faiss"

    def _check(self) -> None:
        """Make the tables of a new file; see whether an old one is what is wanted."""
        mine, = self.table.execute("PRAGMA application_id").fetchone()
        version, = self.table.execute("PRAGMA user_version").fetchone()
        if not self.table.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            rows = {**self.about, "state": uuid.uuid4().hex}
            values = [f"INSERT OR IGNORE INTO about VALUES ({_quoted(k)}, {_quoted(v)});"
                      for k, v in rows.items()]
            self.table.executescript(
                f"PRAGMA page_size = 16384; BEGIN IMMEDIATE; {_TABLES} {''.join(values)}"
                f"PRAGMA application_id = {_OURS}; PRAGMA user_version = {_VERSION}; COMMIT;")
            return
        if (mine, version) != (_OURS, _VERSION):
            raise CheckpointError("this is no index of this version of pcinv", where=str(self.path),
                                  hint="--rebuild makes it anew")
        about = self._read_about()
        if about.get("folder") != self.about.get("folder"):
            raise CheckpointError(f"the index belongs to {about.get('folder', 'another folder')}",
                                  where=str(self.path),
                                  hint="another --index, or --rebuild to make it anew")
        if about.get("fingerprint") != self.about["fingerprint"]:
            raise CheckpointError(
                f"the index was made with other weights or settings: {about.get('weights')}",
                where=str(self.path), hint="--rebuild makes it anew, with these")

    def _read_about(self) -> dict[str, str]:
        return dict(self.table.execute("SELECT key, value FROM about"))

    def update(self, progress: Progress | None = None) -> Update:
        """Embed what is new or has changed in the folder, and drop what is gone.

        Raises as the constructor, and LimitError where the disk is full.
        """
        present, skipped = shapes_of(self.folder)
        with self._guarded():
            known = {os.fsdecode(file): (size, mtime) for file, size, mtime in
                     self.table.execute("SELECT file, size, mtime_ns FROM shapes")}
            stale = [file for file, stamp in known.items() if present.get(file) != stamp]
            new = [file for file, stamp in present.items() if known.get(file) != stamp]
            if stale:
                with self.table:
                    self.table.executemany("DELETE FROM shapes WHERE file = ?",
                                           [(os.fsencode(file),) for file in stale])
                    self._new_state()
        done = embedded = bare = 0
        for batch in self.embedder.batches([self.folder / file for file in new], quiet=True):
            names = new[done : done + len(batch)]
            found = [(name, item) for name, item in zip(names, batch, strict=True)
                     if isinstance(item, Embedded)]
            skipped += [item for item in batch if isinstance(item, Skipped)]
            if found:
                with self._guarded(), self.table:
                    self.table.executemany(
                        "INSERT OR REPLACE INTO shapes (file, size, mtime_ns, vector) "
                        "VALUES (?, ?, ?, ?)",
                        [(os.fsencode(name), *present[name],
                          item.vector.astype("<f4").tobytes()) for name, item in found])
                    self._new_state()
            done, embedded = done + len(batch), embedded + len(found)
            bare += sum(item.normals == "estimate" for _, item in found)
            if progress is not None:
                progress(done, len(new))
        if bare and self.embedder.loaded.meta.normals == "data":
            logger.warning("%d of %d new shapes have no normals, the network was trained with "
                           "some: it estimates them", bare, embedded)
        return Update(embedded, len([file for file in stale if file not in present]),
                      tuple(skipped))

    def _new_state(self) -> None:
        self.table.execute("UPDATE about SET value = ? WHERE key = 'state'", (uuid.uuid4().hex,))

    def __len__(self) -> int:
        with self._guarded():
            count: int = self.table.execute("SELECT count(*) FROM shapes").fetchone()[0]
        return count

    def shapes(self, ids: Int[np.ndarray, "n"] | None = None
               ) -> tuple[Int[np.ndarray, "n"], list[str], Float[np.ndarray, "n d"]]:
        """Return numbers, files and vectors of the shapes, in the order of the files.

        ids : only these.
        """
        query = "SELECT id, file, vector FROM shapes"
        if ids is not None:
            query += f" WHERE id IN ({','.join(str(int(i)) for i in ids)})"
        with self._guarded():
            rows = self.table.execute(f"{query} ORDER BY file").fetchall()
        data = b"".join(row[2] for row in rows)
        width = len(rows[0][2]) if rows else 4
        vectors = np.frombuffer(data, "<f4") if len(data) == len(rows) * width and not width % 4 \
            else np.full(1, np.nan)
        if not np.isfinite(vectors).all() or any(len(row[2]) != width for row in rows):
            raise _damaged(self.path, "vectors of different length, or not finite")
        return (np.array([row[0] for row in rows], np.int64), [os.fsdecode(row[1]) for row in rows],
                vectors.reshape(len(rows), -1))

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what SQLite and the system say into errors with a hint."""
        try:
            yield
        except sqlite3.Error as error:
            raise _told(self.path, error) from error
        except OSError as error:
            raise _closed(self.place, error.strerror or str(error)) from error


def _told(path: Path, error: sqlite3.Error) -> PcinvError:
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return _closed(path.parent, str(error))
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return LimitError(f"the index cannot be written: {error}; what was done is kept",
                          where=str(path), hint="free space on the disk, or --index DIR elsewhere")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return UsageError("another program is writing this index", where=str(path),
                          hint="wait until it is done, or --index DIR for one of its own")
    return _damaged(path, str(error))


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"the index is damaged: {reason}", where=str(path),
                           hint="--rebuild makes it anew")


def _closed(place: Path, reason: str) -> UsageError:
    return UsageError(f"the index cannot be kept here: {reason}", where=str(place),
                      hint="--index DIR names another place")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
