"""Choice of the format, read_cloud and describe."""

import gzip
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from builders import cube, full_cloud, told

from pcinv.errors import FileFormatError, InputError, LimitError, UnknownNameError
from pcinv.io import FORMATS, describe, formats, read, read_cloud, write
from pcinv.types import Mesh, PointCloud

WRITERS = [name for name, f in FORMATS.items() if f.write]


@pytest.mark.parametrize("name", [n for n in WRITERS if n != "bin"])
def test_content_decides_without_a_suffix(name, tmp_path):
    data = full_cloud() if FORMATS[name].writes_clouds else cube()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(tmp_path / f"a.{name}", data)
        os.rename(tmp_path / f"a.{name}", tmp_path / "plain")
        back = read(tmp_path / "plain")
    found = describe(tmp_path / "plain")["format"]
    assert found == {"csv": "xyz", "laz": "las"}.get(name, name) or name == "csv"
    assert len(back) == len(data)


@pytest.mark.parametrize(
    "content_format,suffix",
    [
        ("ply", "pcd"),
        ("pcd", "bin"),
        ("off", "ply"),
        ("npy", "xyz"),
        ("las", "ply"),
        ("xyz", "ply"),
        ("ply", "txt"),
        ("npz", "h5"),
        ("xyz", "npy"),
    ],
)
def test_content_wins_over_the_suffix_and_says_so(content_format, suffix, tmp_path):
    write(tmp_path / f"a.{content_format}", PointCloud(np.eye(4, 3, dtype=np.float32)))
    os.rename(tmp_path / f"a.{content_format}", tmp_path / f"b.{suffix}")
    with told(f"the content is {content_format}; read as {content_format}"):
        assert len(read(tmp_path / f"b.{suffix}")) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(tmp_path / f"b.{suffix}", format=content_format)) == 4


def test_stl_under_another_name(tmp_path):
    write(tmp_path / "a.stl", cube())
    os.rename(tmp_path / "a.stl", tmp_path / "a.obj")
    with told("the content is stl"):
        assert isinstance(read(tmp_path / "a.obj"), Mesh)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_refuses_text_and_noise(name, tmp_path):
    rng = np.random.default_rng(0)
    for content in (b"hello, I am not a cloud\n", rng.bytes(3001), b"\n" * 50, b"\0"):
        (tmp_path / f"a.{name}").write_bytes(content)
        with pytest.raises(FileFormatError) as caught:
            read(tmp_path / f"a.{name}", format=name)
        assert f"a.{name}" in caught.value.where and caught.value.exit_code == 3


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "empty.ply").write_bytes(b"")
    (tmp_path / "packed.xyz").write_bytes(gzip.compress(b"0 0 0\n"))
    (tmp_path / "noise").write_bytes(b"\x01\x02\x03" * 50)
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02\x8a" * 50)
    os.mkfifo(tmp_path / "pipe.ply")
    cases = {
        "nothing.ply": "no such file",
        "": "folder",
        "empty.ply": "empty",
        "packed.xyz": "gzip",
        "noise": "known format",
        "weights.pth": "pickle",
        "pipe.ply": "pipe",
        "packed.xyz/a.ply": "cannot be read",
        "nul\0.ply": "cannot be read",
        "x" * 300: "cannot be read",
    }
    for name, word in cases.items():
        for action in (read, read_cloud, describe):
            with pytest.raises(FileFormatError, match=word) as caught:
                action(tmp_path / name if name else tmp_path)
            assert (
                caught.value.exit_code == 3
                and caught.value.hint
                and name[:20] in caught.value.where
            )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_closed_files(tmp_path):
    (tmp_path / "a.ply").write_bytes(b"ply\n")
    (tmp_path / "a.ply").chmod(0)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read(tmp_path / "a.ply")


def test_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    from pcinv.io.source import Source, open_source

    (tmp_path / "a.xyz").write_bytes(b"0 0 0\n")
    source = open_source(tmp_path / "a.xyz")
    with pytest.raises(FileFormatError, match="changed"):
        _ = Source(source.path, source.size + 1, source.head).data


def test_file_size_ceiling_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.xyz").write_bytes(b"0 0 0\n" * 100)
    monkeypatch.setattr("pcinv.limits.MAX_FILE_BYTES", 100)
    with pytest.raises(LimitError, match="MAX_FILE_BYTES = 100"):
        read(tmp_path / "a.xyz")


def test_want_of_memory_is_a_limit(tmp_path, monkeypatch):
    def greedy(source):
        raise MemoryError

    (tmp_path / "a.xyz").write_bytes(b"0 0 0\n")
    monkeypatch.setattr("pcinv.io.reading.assemble", lambda raw, source: greedy(source))
    with pytest.raises(LimitError, match="memory"):
        read(tmp_path / "a.xyz")


def test_unknown_format_suggests(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"0 0 0\n")
    with pytest.raises(UnknownNameError, match="ply"):
        read(tmp_path / "a.xyz", format="plyy")
    assert len(read(tmp_path / "a.xyz", format="TXT")) == 1


def test_read_cloud_samples_meshes_and_says_so(tmp_path):
    write(tmp_path / "a.ply", cube())
    with told("sampled at 100 points (seed 7)"):
        cloud = read_cloud(tmp_path / "a.ply", points=100, seed=7)
    assert len(cloud) == 100 and cloud.normal is not None
    with told("2048 points"):
        assert len(read_cloud(tmp_path / "a.ply")) == 2048
    write(tmp_path / "b.ply", full_cloud())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_cloud(tmp_path / "b.ply", points=10)) == 50


def test_read_cloud_of_a_flat_mesh_names_the_file(tmp_path):
    write(tmp_path / "a.ply", Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])))
    with pytest.raises(InputError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_cloud(tmp_path / "a.ply")
    assert "a.ply" in caught.value.where


def test_describe_a_cloud(tmp_path):
    grid = np.stack(np.meshgrid(*[np.arange(10.0)] * 3), -1).reshape(-1, 3) * 0.5
    xyz = np.concatenate([grid, grid[:10]]).astype(np.float32)
    write(
        tmp_path / "a.ply",
        PointCloud(xyz, attributes={"intensity": np.full(1010, np.nan, np.float32)}),
    )
    told_ = describe(tmp_path / "a.ply")
    assert told_["format"] == "ply" and told_["kind"] == "cloud" and told_["num_points"] == 1010
    assert told_["attributes"] == {"intensity": {"dtype": "float32", "shape": [1010]}}
    assert told_["bounds"] == [[0, 0, 0], [4.5, 4.5, 4.5]] and told_["extent"] == [4.5] * 3
    assert told_["spacing"] == 0.5 and told_["duplicates"] == 10
    assert told_["non_finite"] == {"xyz": 0, "intensity": 1010}
    json.dumps(told_, allow_nan=False)


def test_describe_bounds_of_far_clouds_in_doubles(tmp_path):
    write(tmp_path / "a.ply", full_cloud(origin=(5e6, 1e5, 0)))
    cloud = full_cloud(origin=(5e6, 1e5, 0))
    np.testing.assert_allclose(
        describe(tmp_path / "a.ply")["bounds"][0], cloud.absolute().min(0), rtol=0, atol=1e-5
    )


def test_describe_a_mesh_and_one_point(tmp_path):
    write(tmp_path / "a.off", cube())
    told_ = describe(tmp_path / "a.off")
    assert (told_["num_points"], told_["num_vertices"], told_["num_faces"], told_["kind"]) == (
        8,
        8,
        12,
        "mesh",
    )
    assert told_["spacing"] == 1
    (tmp_path / "one.xyz").write_bytes(b"1 2 3\n1 2 3\n")
    one = describe(tmp_path / "one.xyz")
    assert one["spacing"] is None and one["duplicates"] == 1
    (tmp_path / "wide.xyz").write_bytes(b"1e38 0 0\n-1e38 0 0\n")
    json.dumps(describe(tmp_path / "wide.xyz"), allow_nan=False)


def test_formats_lists_every_row():
    rows = formats()
    assert {r["name"] for r in rows} == set(FORMATS)
    suffixes = [s for f in FORMATS.values() for s in f.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(r["about"] for r in rows)


def test_import_is_light():
    heavy = {"torch", "h5py", "trimesh", "laspy", "scipy", "open3d"}
    code = f"import sys, pcinv.io; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
