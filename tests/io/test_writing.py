"""Nothing is overwritten unasked, nothing is left half-written."""

import errno
import os
import stat

import numpy as np
import pytest
from builders import cube, full_cloud, told

from pcinv.errors import InputError, LimitError, UsageError
from pcinv.io import FORMATS, read, write
from pcinv.io.writing import replacing
from pcinv.types import PointCloud

POINTS = PointCloud(np.eye(4, 3, dtype=np.float32))
WRITERS = [name for name, f in FORMATS.items() if f.write]


def test_existing_files_are_kept_unless_forced(tmp_path):
    path = tmp_path / "a.ply"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists") as caught:
        write(path, POINTS)
    assert path.read_bytes() == b"precious" and caught.value.exit_code == 2
    write(path, POINTS, force=True)
    assert len(read(path)) == 4
    (tmp_path / "dangling.ply").symlink_to(tmp_path / "nowhere.ply")
    with pytest.raises(UsageError, match="exists"):
        write(tmp_path / "dangling.ply", POINTS)


def test_links_are_followed_not_replaced(tmp_path):
    (tmp_path / "real.ply").write_bytes(b"old")
    (tmp_path / "link.ply").symlink_to(tmp_path / "real.ply")
    write(tmp_path / "link.ply", POINTS, force=True)
    assert (tmp_path / "link.ply").is_symlink() and len(read(tmp_path / "real.ply")) == 4


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, number):
    path = tmp_path / f"a.{name}"
    path.write_bytes(b"precious")

    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    data = POINTS if FORMATS[name].writes_clouds else cube()
    with pytest.raises(LimitError) as caught:
        write(path, data, force=True)
    assert caught.value.exit_code == 7 and f"a.{name}" in caught.value.where
    assert path.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", WRITERS)
def test_disk_that_fills_up_while_writing(tmp_path, name):
    """The kernel's own limit on the size of a file, in a child process."""
    script = f"""
import resource, signal, sys, warnings
sys.path[:0] = {[os.path.dirname(__file__)]!r}
from builders import cube, full_cloud
from pcinv.errors import LimitError
from pcinv.io import FORMATS, write
from pcinv.types import Mesh, PointCloud
import numpy as np
warnings.simplefilter("ignore")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
mesh = Mesh(cube().vertices, np.tile(cube().faces, (2000, 1)))
data = full_cloud(20_000) if FORMATS["{name}"].writes_clouds else mesh
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write({str(tmp_path / f"a.{name}")!r}, data)
except LimitError as error:
    print(error.exit_code)
"""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "7", done.stderr[-2000:]
    assert not list(tmp_path.iterdir())


def test_any_error_removes_the_file_aside(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.ply") as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_folders_that_are_missing_or_in_the_way(tmp_path):
    with pytest.raises(UsageError, match="folder does not exist") as caught:
        write(tmp_path / "no" / "a.ply", POINTS)
    assert "mkdir" in caught.value.hint
    (tmp_path / "b.ply").mkdir()
    with pytest.raises(UsageError):
        write(tmp_path / "b.ply", POINTS, force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_closed_folder(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path / "a.ply", POINTS)
    tmp_path.chmod(0o700)


def test_what_does_not_fit_is_refused(tmp_path):
    for name in ("a.glb", "a.h5", "a.docx", "a"):
        with pytest.raises(UsageError) as caught:
            write(tmp_path / name, POINTS)
        assert "ply" in caught.value.hint
    for name in ("xyz", "pcd", "npy", "npz", "las", "bin", "csv"):
        with pytest.raises(UsageError, match="points only"):
            write(tmp_path / f"a.{name}", cube())
    for name in ("obj", "stl"):
        with pytest.raises(UsageError, match="meshes only"):
            write(tmp_path / f"a.{name}", POINTS)
    with pytest.raises(InputError):
        write(tmp_path / "a.ply", PointCloud(np.zeros((0, 3), np.float32)))
    with pytest.raises(UsageError):
        write(tmp_path / "a.ply", POINTS, format="plyy")
    assert not list(tmp_path.iterdir())


def test_format_overrides_the_suffix(tmp_path):
    write(tmp_path / "a.dat", POINTS, format="ply")
    assert (tmp_path / "a.dat").read_bytes().startswith(b"ply\n")


def test_what_is_dropped_is_named(tmp_path):
    with told("off does not keep intensity, label, time"):
        write(tmp_path / "a.off", full_cloud())


def test_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write(tmp_path / "a.ply", POINTS)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.ply").stat().st_mode) == 0o640
