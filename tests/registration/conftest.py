"""Fixtures of the registration tests: types, random numbers, real fragments, Open3D."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch

FRAGMENTS = Path(__file__).parents[3] / "shared/data/3DMatch/fragments"


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


@pytest.fixture(scope="session")
def open3d():
    """Open3D, an oracle here; it wants libusb, which few machines have."""
    try:
        import libusb_package

        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    except (ImportError, OSError):
        pass
    return pytest.importorskip("open3d", exc_type=ImportError)


class Fragment:
    """A real fragment at 5 cm in the frame of its camera, with normals by Open3D.

    `normals` point to the camera, at the origin; `raw_normals` have the signs of the solver.
    """

    def __init__(self, open3d, path):
        cloud = open3d.io.read_point_cloud(str(path)).voxel_down_sample(0.05)
        cloud.estimate_normals(open3d.geometry.KDTreeSearchParamHybrid(0.1, 30))
        self.points = np.asarray(cloud.points).copy()
        self.raw_normals = np.asarray(cloud.normals).copy()
        sign = np.where((self.points * self.raw_normals).sum(1) > 0, -1.0, 1.0)
        self.normals = self.raw_normals * sign[:, None]


@pytest.fixture(scope="session")
def fragments(open3d):
    """Return a function from a scene's first letters and a number to its fragment, cached."""
    if not FRAGMENTS.is_dir():
        pytest.skip(f"{FRAGMENTS}: no real fragments here")
    known = {}

    def load(scene, number):
        if (scene, number) not in known:
            (folder,) = FRAGMENTS.glob(f"{scene}*")
            known[scene, number] = Fragment(open3d, folder / f"cloud_bin_{number}.ply")
        return known[scene, number]

    return load
