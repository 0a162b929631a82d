"""LAS and LAZ."""

import builtins
import struct

import numpy as np
import pytest
from builders import full_cloud

from pcinv.errors import DependencyError, FileFormatError
from pcinv.io import read, write
from pcinv.types import PointCloud


@pytest.fixture
def laspy():
    pytest.importorskip("lazrs", reason="lazrs is not installed")
    return pytest.importorskip("laspy", reason="laspy is not installed")


@pytest.mark.parametrize("version,kind", [("1.2", 3), ("1.4", 7)])
@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_all_dimensions_are_kept(tmp_path, laspy, version, kind, suffix):
    header = laspy.LasHeader(version=version, point_format=kind)
    header.offsets, header.scales = [691_000, 5_335_000, 0], [0.001] * 3
    header.add_extra_dim(laspy.ExtraBytesParams(name="height", type=np.float32))
    las = laspy.LasData(header)
    far = np.array([691_000, 5_335_000, 500])
    xyz = np.random.default_rng(0).uniform(0, 100, (40, 3)).round(3) + far
    las.x, las.y, las.z = xyz.T
    las.intensity, las.classification = np.arange(40) * 1000, np.arange(40) % 7
    las.red, las.green, las.blue = np.full(40, 65535), np.full(40, 256), np.zeros(40)
    las.gps_time, las["height"] = np.arange(40) / 7, np.arange(40) / 3
    las.write(str(tmp_path / f"a.{suffix}"))
    cloud = read(tmp_path / f"a.{suffix}")
    assert cloud.origin.any()
    np.testing.assert_allclose(cloud.absolute(), xyz, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(cloud.attributes["intensity"], np.arange(40) * 1000)
    np.testing.assert_array_equal(cloud.attributes["classification"], np.arange(40) % 7)
    np.testing.assert_array_equal(cloud.attributes["color"], [[255, 1, 0]] * 40)
    np.testing.assert_array_equal(cloud.attributes["gps_time"], np.arange(40) / 7)
    np.testing.assert_array_equal(
        cloud.attributes["height"], (np.arange(40) / 3).astype(np.float32)
    )


def change(content, at, form, value):
    return content[:at] + struct.pack(form, value) + content[at + struct.calcsize(form) :]


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_faults(tmp_path, laspy, suffix):
    cloud = full_cloud(30)
    write(tmp_path / f"good.{suffix}", PointCloud(cloud.xyz))
    good = (tmp_path / f"good.{suffix}").read_bytes()
    bad = [
        good[:100],
        good[:300],
        good[:-40],
        good[:4] + b"\0" * 400,
        change(good, 247, "<Q", 2_000_000_000),
        change(good, 247, "<Q", 0)[:107] + b"\0" * 8 + change(good, 247, "<Q", 0)[115:],
        change(good, 96, "<I", 10**9),
        change(good, 94, "<H", 3),
        change(good, 105, "<H", 0),
        change(good, 100, "<I", 2**31),
        change(good, 24, "<H", 0x0909),
        change(good, 243, "<I", 10**9),
    ]
    for content in bad:
        (tmp_path / f"bad.{suffix}").write_bytes(content)
        with pytest.raises(FileFormatError) as caught:
            read(tmp_path / f"bad.{suffix}")
        assert f"bad.{suffix}" in caught.value.where


def test_laz_that_asks_for_all_memory_ends_its_child_only(tmp_path, laspy):
    """lazrs takes sizes of layers from the file and aborts when it cannot allocate them."""
    cloud = full_cloud(30)
    write(tmp_path / "a.laz", PointCloud(cloud.xyz))
    content = bytearray((tmp_path / "a.laz").read_bytes())
    offset, length = (
        struct.unpack_from("<I", content, 96)[0],
        struct.unpack_from("<H", content, 105)[0],
    )
    first = offset + 8 + length + 4  # place of the chunk table, first point, number of points
    content[first : first + 36] = struct.pack("<9I", *[0xF0000000] * 9)
    (tmp_path / "bad.laz").write_bytes(content)
    with pytest.raises(FileFormatError, match="cannot unpack") as caught:
        read(tmp_path / "bad.laz")
    assert "bad.laz" in caught.value.where


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.las").write_bytes(b"LASF" + b"\0" * 20 + b"\x01\x02" + b"\0" * 400)
    real = builtins.__import__

    def without_laspy(name, *args, **kwargs):
        if name == "laspy":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_laspy)
    with pytest.raises(DependencyError) as caught:
        write(tmp_path / "b.las", full_cloud(3))
    assert "pcinv[las]" in caught.value.hint and caught.value.exit_code == 4
    assert not (tmp_path / "b.las").exists() and len(list(tmp_path.iterdir())) == 1
