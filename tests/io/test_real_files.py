"""Files of the public data sets, where a copy is at hand."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from builders import told

from pcinv.errors import FileFormatError
from pcinv.io import describe, read, read_cloud
from pcinv.types import Mesh

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data on this machine")


def files(pattern, count=3):
    found = sorted(DATA.glob(pattern))[:count]
    if not found:
        pytest.skip(f"no {pattern} in ../shared/data")
    return found


def test_3dmatch():
    for path in files("3DMatch/fragments/*/cloud_bin_0.ply") + files(
        "3DMatch/fragments_full/*/*.ply"
    ):
        assert describe(path)["num_points"] > 3000
    cloud = read(files("3DMatch/fragments_full/*/cloud_bin_0.ply")[0])
    assert len(cloud) == 258_342 and not cloud.origin.any()


def test_same_fragment_in_two_containers():
    ply = read(files("3DMatch/fragments/7-scenes-redkitchen/cloud_bin_0.ply")[0])
    npy = read(files("3DMatch/geotransformer_demo/ref.npy")[0])
    np.testing.assert_array_equal(ply.xyz, npy.xyz)


def test_kitti():
    for path in files("KITTI-odometry/sequences/00/velodyne/*.bin", 4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cloud = read(path)
        assert len(cloud) > 120_000 and cloud.attributes["intensity"].max() <= 1
    assert len(read(files("KITTI-pairs-10m/000_pts_src.ply")[0])) == 24_613


def test_nuscenes_fits_both_sizes_and_is_told():
    path = files("nuScenes/**/*.pcd.bin")[0]
    assert path.stat().st_size % 16 == 0 == path.stat().st_size % 20
    with told("rows of 5 float32"):
        cloud = read(path)
    assert len(cloud) == 34_688 and np.unique(cloud.attributes["ring"]).tolist() == list(range(32))


def test_modelnet40_text():
    for path in files("modelnet40_normal_resampled/*/*_*.txt", 4):
        cloud = read(path)
        assert len(cloud) == 10_000 and set(cloud.attributes) == {"normal"}


def test_modelnet40_off():
    for path in files("ModelNet40-off/**/*.off", 10):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mesh = read(path)
        assert isinstance(mesh, Mesh)
    with told("sampled at 256 points"):
        read_cloud(files("ModelNet40-off/bathtub/train/bathtub_0001.off")[0], points=256)
    assert (
        files("ModelNet40-off/bathtub/train/bathtub_0001.off")[0]
        .read_bytes()
        .startswith(b"OFF3514")
    )


def test_pcd_files():
    for path in files("ModelNet10-pcd/*/test/*.pcd", 5):
        assert len(read(path)) == 1024
    for path in files("ShapeNet-PCN-demo/*.pcd", 4):
        assert len(read(path)) > 100
    assert set(read(files("ShapeNetCore/pcds/**/*.pcd")[0]).attributes) == {"color"}


def test_shapenet_part():
    for path in files("shapenetcore_partanno*/0*/*.txt", 20):
        cloud = read(path)
        assert set(cloud.attributes) == {"normal", "label"}
        assert cloud.attributes["label"].max() < 50


def test_textured_mesh_in_two_formats():
    obj = read(files("ShapeNetCore/*/*/models/*.obj")[0])
    ply = read(files("ShapeNetCore/*/*/models/*.ply")[0])
    assert obj.vertices.shape == ply.vertices.shape == (814, 3) and len(obj.faces) == len(ply.faces)
    np.testing.assert_allclose(obj.vertices, ply.vertices, atol=1e-5)
    assert set(ply.attributes) == {"normal", "color"}


def test_data_sets_and_pickles_are_refused():
    with pytest.raises(FileFormatError, match="clouds"):
        read(files("modelnet10_hdf5_1024/*.h5")[0])
    with pytest.raises(FileFormatError, match="pickle"):
        read(files("3DMatch/indoor/**/*.pth")[0])
