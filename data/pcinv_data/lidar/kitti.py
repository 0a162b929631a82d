"""KITTI odometry: `sequences/XX/velodyne/NNNNNN.bin`, `calib.txt`, `times.txt`, `poses/XX.txt`.

Scans are float32 x y z reflectance, x forward, y left, z up, without the motion within a turn. A
line of a poses file is the left camera's pose P in the frame of its first; calib.txt has Tr, which
takes points of the scanner into that camera. The pose of a scan is inv(Tr) P Tr, so the world is
the scanner's frame where P is the identity: at the first scan.
Geiger, Lenz, Urtasun, CVPR 2012.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np

from pcinv.errors import DatasetError
from pcinv.io.lidar_bin import read_bin4
from pcinv.io.source import open_source
from pcinv.registration.trajectories import read_number_lines, read_trajectory
from pcinv.types import Scan
from pcinv_data.files import read_lines
from pcinv_data.lidar.sequence import Listing, Request, SequenceWarning, checked
from pcinv_data.pairs import numbers

SCANS = "velodyne"
ROOTS = ("", "sequences", "dataset/sequences")
"""Where the folders of the sequences lie below the folder that is given."""


def find(path: Path) -> dict[str, Path]:
    """Return name -> folder of the sequences; the folder may be a sequence's, or its scans'."""
    if path.name == SCANS and _has_scans(path):
        path = path.absolute().parent
    if _has_scans(path / SCANS):
        return {path.absolute().name: path}
    for root in ROOTS:
        folder = path / root
        found = sorted(p for p in folder.iterdir() if _has_scans(p / SCANS)) if folder.is_dir() \
            else []
        if found:
            return {p.name: p for p in found}
    return {}


def _has_scans(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.bin"), None) is not None


def open_listing(request: Request) -> Listing:
    """List the scans of a sequence, with poses where there are any."""
    folder = request.path.absolute()
    above = folder.parent
    return list_scans(request, [above.parent / "poses" / f"{folder.name}.txt",
                                above / "poses" / f"{folder.name}.txt", folder / "poses.txt"])


def list_scans(request: Request, poses_files: list[Path]) -> Listing:
    """List the scans, with the first file of poses that is there.

    Raises
    ------
    DatasetError : poses without calib.txt; names of scans that are no numbers.
    FileFormatError : a damaged calib.txt, times.txt or file of poses.
    """
    folder = request.path
    files = sorted((folder / SCANS).glob("*.bin"), key=_number)
    listing = Listing(folder.absolute().name, folder, [file.stem for file in files],
                      lambda position: read_scan(files[position]), numbers=[*map(_number, files)])
    times, calib = folder / "times.txt", folder / "calib.txt"
    if times.is_file():
        listing.stamps, listing.times_file = read_number_lines(times, (1,))[0][:, 0], times
    else:
        listing.missing.append(times.name)
    file = next((file for file in poses_files if file.is_file()), None)
    if file is None:
        listing.missing.append(f"poses ({poses_files[0].parent.name}/{poses_files[0].name})")
    if not calib.is_file():
        listing.missing.append(calib.name)
    if file is not None and calib.is_file():
        camera_poses, listing.poses_file = read_trajectory(file, "kitti").poses, file
        listing.poses = scanner_poses(camera_poses, read_calibration(calib))
    elif file is not None:
        said = "poses are those of a camera, and there is no calib.txt that tells where it is"
        if not request.skip:
            raise DatasetError(said, where=str(calib),
                               hint='get calib.txt of this sequence; on_error="skip" reads the'
                                    " scans without poses")
        listing.notes.append(said)
        warnings.warn(f"{folder}: {said}", SequenceWarning, stacklevel=2)
    return listing


def _number(file: Path) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", file.stem):
        raise DatasetError(f"'{file.name}' is not a number and .bin", where=str(file),
                           hint='scans of KITTI are named 000000.bin; format="plain" takes any')
    return int(file.stem)


def read_scan(file: Path) -> Scan:
    """Read a scan of x y z reflectance. Raises FileFormatError, InputError."""
    raw = read_bin4(open_source(file))
    return checked(Scan(np.ascontiguousarray(raw.xyz, np.float32), file.stem,
                        intensity=raw.attributes["intensity"], is_deskewed=True), file)


def read_calibration(file: Path) -> np.ndarray:
    """Return T_camera_scanner (4, 4), the line Tr of calib.txt. Raises DatasetError."""
    for line, text in read_lines(file):
        name, _, values = text.partition(":")
        if name.strip() == "Tr":
            T = np.eye(4)
            T[:3] = np.reshape(numbers(values, 12, f"{file}:{line}"), (3, 4))
            R = T[:3, :3]
            if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or not np.linalg.det(R) > 0:
                raise DatasetError("Tr is not a rotation and a shift", where=f"{file}:{line}",
                                   hint="the file is damaged; get it again")
            return T
    raise DatasetError("no line `Tr:` with where the scanner is", where=str(file),
                       hint="get calib.txt of the odometry benchmark, which has Tr")


def scanner_poses(camera_poses: np.ndarray, T_camera_scanner: np.ndarray) -> np.ndarray:
    """Return inv(Tr) P Tr (M, 4, 4) of camera poses (M, 4, 4)."""
    return np.linalg.inv(T_camera_scanner) @ camera_poses @ T_camera_scanner


def camera_poses(poses: np.ndarray, T_camera_scanner: np.ndarray) -> np.ndarray:
    """Return Tr T inv(Tr) (M, 4, 4), what a file of KITTI's benchmark holds, of scanner poses."""
    return T_camera_scanner @ poses @ np.linalg.inv(T_camera_scanner)
