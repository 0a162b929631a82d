"""A folder of scans as a sequence: each one is read when it is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pcinv.engine.sequences import ScanSequence, open_sequence
from pcinv.errors import UsageError
from pcinv.io import read
from pcinv.registration.pair_list import clouds_of
from pcinv.vis.build import check_colors, resolved
from pcinv.vis.camera import up_of
from pcinv.vis.colors import ends_of
from pcinv.vis.scan_scene import scene_of_scan
from pcinv.vis.scene import Scene, make_scene, moved_to


@dataclass(frozen=True)
class Frames:
    """Scans of one sensor, in the order in which they were taken.

    files : of the scans, or with a `folder` their names.
    color_by, limit, format : as of `pcinv.vis.build.scene_of_files`.
    folder : of a LiDAR sequence, which `pcinv.open_sequence` reads; None: each file is read.
    world : scans of a sequence lie in the world by their poses, and not about the sensor.
    """

    files: tuple[str, ...]
    color_by: str = "auto"
    limit: int | None = None
    format: str | None = None
    folder: str | None = None
    world: bool = False

    def __len__(self) -> int:
        return len(self.files)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the files, without their folders."""
        return tuple(Path(file).name for file in self.files)

    @cached_property
    def first(self) -> Scene:
        """Return the first scan; all have its origin, its axis up and the ends of its colour bars.

        What stands still stays, and equal values have equal colours.
        """
        scene = resolved(self._read(0))
        scene = replace(scene, up=up_of(scene))
        return replace(scene, ends=ends_of(scene))

    @cached_property
    def sequence(self) -> ScanSequence | None:
        """Return the LiDAR sequence of the folder, or None where files are read one by one."""
        return None if self.folder is None else open_sequence(self.folder, on_error="skip")

    def scene(self, number: int) -> Scene:
        """Return the scan of a number, from 0, about the origin of all.

        Raises FileFormatError, InputError for a scan that cannot be shown, UnknownNameError for
        one without the attribute that is asked for.
        """
        first = self.first
        found = replace(self._read(number), color_by=first.color_by, up=first.up, ends=first.ends)
        if self.sequence is None:  # of a sequence some scans have labels and some have not
            check_colors(found)
        title = f"{self.names[number]}, {number + 1} of {len(self)}"
        return moved_to(replace(found, title=title), first.origin)

    def _read(self, number: int) -> Scene:
        if self.sequence is not None:
            return scene_of_scan(self.sequence[number], self.sequence.class_names, world=self.world,
                                 color_by=self.color_by, limit=self.limit)
        file, name = self.files[number], self.names[number]
        return make_scene([(name, read(file, format=self.format))], color_by=self.color_by,
                          limit=self.limit, files=[file])


def frames_of_folder(folder: str | Path, *, color_by: str = "auto", limit: int | None = None,
                     format: str | None = None, world: bool = False) -> Frames:
    """Return the scans of a folder: of a data set's layout, or else its files, 2 before 10.

    world : place each scan by its pose.

    Raises DatasetError where there is none, UsageError for a world without poses, and what
    `pcinv.open_sequence` does for a folder with several sequences or a damaged list.
    """
    found = None if format is not None else open_sequence(folder, on_error="skip")
    if world and (found is None or found.poses is None):
        raise UsageError("there are no poses to place the scans by", where="world",
                         hint="a poses.txt in the folder, a line for each scan; see pcinv info")
    if found is None or (found.format == "plain" and not world):
        files = tuple(str(Path(folder) / name) for name in clouds_of(folder, least=1))
        return Frames(files, color_by, limit, format)
    return Frames(tuple(found.names), color_by, limit, None, str(folder), world)
