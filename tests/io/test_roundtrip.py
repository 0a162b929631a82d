"""What is written comes back: every format, hostile clouds, attributes, far origins."""

import warnings

import numpy as np
import pytest
from builders import cube, full_cloud, told
from helpers.clouds import KINDS, make_cloud
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.io import FORMATS, FormatWarning, read, write
from pcinv.io.assemble import split_origin
from pcinv.types import Mesh, PointCloud

KEPT = {  # what each format keeps of full_cloud()
    "ply": {"normal", "color", "intensity", "label", "time"},
    "pcd": {"normal", "color", "intensity", "label", "time"},
    "npz": {"normal", "color", "intensity", "label", "time"},
    "xyz": {"normal", "color", "intensity", "label", "time"},
    "csv": {"normal", "color", "intensity", "label", "time"},
    "las": {"normal", "color", "label", "time"},  # its own intensity is a 16-bit integer
    "laz": {"normal", "color", "label", "time"},
    "off": {"normal", "color"},
    "npy": {"normal"},
    "bin": {"intensity"},
}
MESHES = ("ply", "off", "obj", "stl")


def test_every_writer_has_a_round_trip():
    assert {f.name for f in FORMATS.values() if f.write} == set(KEPT) | set(MESHES)


@pytest.mark.parametrize("name", KEPT)
def test_attributes_come_back_or_are_named(name, tmp_path):
    cloud = full_cloud()
    path = tmp_path / f"cloud.{name}"
    lost = set(cloud.attributes) - KEPT[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write(path, cloud)
    message = " ".join(str(w.message) for w in caught)
    assert all(word in message for word in lost)
    assert bool(caught) == bool(lost)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if name != "bin" else "ignore")
        back = read(path)
    assert isinstance(back, PointCloud)
    assert set(back.attributes) == KEPT[name]
    for key in KEPT[name]:
        assert back.attributes[key].shape == cloud.attributes[key].shape
        values = back.attributes[key]
        if name in ("xyz", "csv"):  # text has no types, but all the digits
            values = values.astype(cloud.attributes[key].dtype)
        assert values.dtype == cloud.attributes[key].dtype or name == "ply"
        np.testing.assert_array_equal(values, cloud.attributes[key], err_msg=key)
    assert back.xyz.dtype == np.float32
    atol = 1e-8 if name in ("las", "laz") else 0
    np.testing.assert_allclose(back.absolute(), cloud.absolute(), rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["ply", "pcd", "npz", "npy", "las", "xyz", "csv", "off"])
def test_far_origin_keeps_millimetres(name, tmp_path):
    cloud = full_cloud(origin=(691_000.0, 5_335_000.0, 520.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FormatWarning)
        write(tmp_path / f"far.{name}", cloud)
        back = read(tmp_path / f"far.{name}")
    assert back.origin.any()
    np.testing.assert_allclose(back.absolute(), cloud.absolute(), rtol=0, atol=2e-6)
    # the control: float32 alone merges points that are 1 cm apart
    assert np.abs(cloud.absolute().astype(np.float32) - cloud.absolute()).max() > 1e-2


def test_bin_says_that_far_digits_are_lost(tmp_path):
    with told("digits beyond float32"):
        write(
            tmp_path / "far.bin", PointCloud(np.ones((4, 3), np.float32), np.array([5e6, 0.1, 0]))
        )


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(KEPT)),
    st.sampled_from(KINDS),
    st.integers(1, 40),
    st.integers(0, 99),
    st.booleans(),
)
def test_hostile_clouds_round_trip(tmp_path_factory, name, kind, size, seed, single):
    points = make_cloud(kind, size, seed)
    xyz, origin = split_origin(points.astype(np.float32) if single else points)
    path = tmp_path_factory.mktemp("trip") / f"cloud.{name}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FormatWarning)
        write(path, PointCloud(xyz, origin))
        back = read(path, format="bin4" if name == "bin" else None)
    far = np.abs(xyz + origin).max()
    # float32 keeps 2^-24 of the largest offset, las 2^-30 of the extent, bin 2^-24 of everything
    atol = (np.ptp(points, axis=0).max() + np.abs(xyz).max()) * 2.0**-22 + far * 2.0**-50
    atol += far * 2.0**-23 if name == "bin" else 0
    np.testing.assert_allclose(back.absolute(), xyz + origin, rtol=0, atol=atol)
    if not origin.any() and name in ("ply", "pcd", "npz", "npy", "bin"):
        np.testing.assert_array_equal(back.xyz, xyz)


@pytest.mark.parametrize("name", MESHES)
def test_faces_come_back(name, tmp_path):
    mesh = cube()
    write(tmp_path / f"cube.{name}", mesh)
    back = read(tmp_path / f"cube.{name}")
    assert isinstance(back, Mesh)
    assert back.vertices.dtype == np.float64 and back.faces.dtype == np.int64
    np.testing.assert_array_equal(back.vertices[back.faces], mesh.vertices[mesh.faces])


@pytest.mark.parametrize("name", ["ply", "off", "obj"])
def test_meshes_keep_normals_and_doubles(name, tmp_path):
    mesh = cube()
    normal = (mesh.vertices - 0.5).astype(np.float32)
    shifted = Mesh(mesh.vertices / 3 + 1e6, mesh.faces, {"normal": normal})
    write(tmp_path / f"cube.{name}", shifted)
    back = read(tmp_path / f"cube.{name}")
    np.testing.assert_array_equal(back.vertices, shifted.vertices)
    np.testing.assert_array_equal(back.attributes["normal"], normal)


@pytest.mark.parametrize("name", ["ply", "pcd", "npz"])
def test_wide_attributes_come_back(name, tmp_path):
    rng = np.random.default_rng(0)
    wide = {
        "fpfh": rng.random((9, 33)).astype(np.float32),
        "pair": rng.integers(-5, 5, (9, 2)).astype(np.int16),
        "one": rng.random((9, 1)),
    }
    write(
        tmp_path / f"a.{name}", PointCloud(rng.random((9, 3)).astype(np.float32), attributes=wide)
    )
    back = read(tmp_path / f"a.{name}").attributes
    for key in ("fpfh", "pair"):
        np.testing.assert_array_equal(back[key], wide[key])
        assert back[key].dtype == wide[key].dtype
    np.testing.assert_array_equal(back["one"].reshape(-1), wide["one"].reshape(-1))


@pytest.mark.parametrize("name", ["ply", "pcd", "csv", "xyz"])
def test_hostile_attribute_names_do_not_break_the_header(name, tmp_path):
    names = ["a b", "x", "RED", "new\nline", "end_header", "été", "", "element vertex 9"]
    attributes = {n: np.arange(4, dtype=np.int32) for n in names}
    path = tmp_path / f"a.{name}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write(path, PointCloud(np.eye(4, 3, dtype=np.float32), attributes=attributes))
    assert "does not keep" in str(caught[0].message)
    back = read(path)
    np.testing.assert_array_equal(back.xyz, np.eye(4, 3))
    assert "a_b" in back.attributes and len(back.attributes) >= 3


@pytest.mark.parametrize(
    "kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "?"]
)
@pytest.mark.parametrize("name", ["ply", "pcd", "npz", "las", "csv"])
def test_values_of_every_type_come_back(name, kind, tmp_path):
    values = np.array([0, 1, 1, 0, 100]).astype(kind)
    write(
        tmp_path / f"a.{name}",
        PointCloud(np.eye(5, 3, dtype=np.float32), attributes={"value": values}),
    )
    back = read(tmp_path / f"a.{name}").attributes["value"]
    np.testing.assert_array_equal(back.astype(np.float64), values.astype(np.float64))


def test_what_a_format_cannot_hold_is_named(tmp_path):
    cloud = PointCloud(
        np.eye(3, dtype=np.float32),
        attributes={"id": np.array([2**63 - 1, 1, 2]), "word": np.array(["a", "b", "c"])},
    )
    for name in ("ply", "csv"):  # numbers in text come back as float64
        with told("word, id"):
            write(tmp_path / f"a.{name}", cloud)
