"""A folder of scans as a sequence: each one is read when it is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pcinv.io import read
from pcinv.registration.pair_list import clouds_of
from pcinv.vis.build import check_colors, resolved
from pcinv.vis.camera import up_of
from pcinv.vis.colors import ends_of
from pcinv.vis.scene import Scene, make_scene, moved_to


@dataclass(frozen=True)
class Frames:
    """Scans of one sensor, in the order in which they were taken.

    files : of the scans.
    color_by, limit, format : as of `pcinv.vis.build.scene_of_files`.
    """

    files: tuple[str, ...]
    color_by: str = "auto"
    limit: int | None = None
    format: str | None = None

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

    def scene(self, number: int) -> Scene:
        """Return the scan of a number, from 0, about the origin of all.

        Raises FileFormatError, InputError for a scan that cannot be shown, UnknownNameError for
        one without the attribute that is asked for.
        """
        first = self.first
        found = replace(self._read(number), color_by=first.color_by, up=first.up, ends=first.ends)
        check_colors(found)
        title = f"{self.names[number]}, {number + 1} of {len(self)}"
        return moved_to(replace(found, title=title), first.origin)

    def _read(self, number: int) -> Scene:
        file, name = self.files[number], self.names[number]
        return make_scene([(name, read(file, format=self.format))], color_by=self.color_by,
                          limit=self.limit, files=[file])


def frames_of_folder(folder: str | Path, *, color_by: str = "auto", limit: int | None = None,
                     format: str | None = None) -> Frames:
    """Return the scans of a folder, 2 before 10.

    Raises InputError where there is none.
    """
    files = tuple(str(Path(folder) / name) for name in clouds_of(folder, least=1))
    return Frames(files, color_by, limit, format)
