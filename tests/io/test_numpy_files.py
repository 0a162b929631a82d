"""npy and npz."""

import io
import zipfile

import numpy as np
import pytest
from builders import full_cloud, told

from pcinv.errors import FileFormatError
from pcinv.io import read


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def save(tmp_path, content, name="a.npy"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8", "<f2", "<i4", ">i8", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_type_and_order(tmp_path, kind, order):
    array = np.asarray(np.arange(12).reshape(4, 3), dtype=kind, order=order)
    np.testing.assert_array_equal(read(save(tmp_path, npy(array))).xyz, np.arange(12).reshape(4, 3))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_the_header(tmp_path, version):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.eye(3), version=version)
    np.testing.assert_array_equal(read(save(tmp_path, buffer.getvalue())).xyz, np.eye(3))


def test_normals_beside_points(tmp_path):
    cloud = full_cloud()
    back = read(save(tmp_path, npy(np.hstack([cloud.xyz, cloud.normal]))))
    np.testing.assert_array_equal(back.normal, cloud.normal)


def test_structured_arrays_by_name(tmp_path):
    array = np.zeros(3, [("x", "<f4"), ("y", "<f4"), ("z", ">f4"), ("intensity", "<u2")])
    array["intensity"] = [1, 2, 3]
    array["z"] = [4, 5, 6]
    cloud = read(save(tmp_path, npy(array)))
    np.testing.assert_array_equal(cloud.xyz[:, 2], [4, 5, 6])
    np.testing.assert_array_equal(cloud.attributes["intensity"], [1, 2, 3])


def with_header(text):
    text = text.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 96


@pytest.mark.parametrize(
    "content",
    [
        npy(np.zeros(3)),
        npy(np.zeros((3, 2))),
        npy(np.zeros((2, 3, 3))),
        npy(np.zeros((0, 3))),
        npy(np.zeros((2, 3), complex)),
        npy(np.array([["a", "b", "c"]])),
        npy(np.zeros((2, 3), bool)),
        npy(np.array([{}], object), allow_pickle=True),
        npy(np.zeros((4, 3)))[:-1],
        npy(np.zeros((4, 3)))[:20],
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff{}",
        with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3)}"),
        with_header("{'descr': '<f8'}"),
        with_header("__import__('os').system('true')"),
        with_header("(" * 5000),
        with_header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}"),
        with_header("{'descr': '|V0', 'fortran_order': False, 'shape': (2, 3)}"),
        with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (2.0, 3)}"),
        with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 3)}"),
        with_header("[1]"),
        with_header("{'descr': [('x', 'O')], 'fortran_order': False, 'shape': (2,)}"),
        with_header("{'descr': 3j, 'fortran_order': 0, 'shape': ()}"),
    ],
)
def test_faults(tmp_path, content):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, content))
    assert "a.npy" in caught.value.where


def test_trailing_bytes_are_told(tmp_path):
    with told("2 bytes behind the array"):
        read(save(tmp_path, npy(np.eye(3)) + b"\0\0"))


def npz(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize("key", ["xyz", "points", "pos"])
def test_npz_keys_and_attributes(tmp_path, key):
    cloud = full_cloud(9)
    members = {
        key: npy(cloud.xyz),
        "normals": npy(cloud.normal),
        "labels": npy(np.arange(9)),
        "weight": npy(np.ones((9, 2))),
    }
    back = read(save(tmp_path, npz(members), "a.npz"))
    assert set(back.attributes) == {"normal", "label", "weight"}
    np.testing.assert_array_equal(back.xyz, cloud.xyz)


def test_npz_arrays_of_other_lengths_are_told(tmp_path):
    with told("array faces (2, 3)"):
        cloud = read(
            save(tmp_path, npz({"xyz": npy(np.eye(3)), "faces": npy(np.zeros((2, 3)))}), "a.npz")
        )
    assert not cloud.attributes


def test_npz_constant_labels_are_no_bomb(tmp_path):
    xyz = np.random.default_rng(0).random((400_000, 3)).astype(np.float32)
    content = npz({"xyz": npy(xyz), "label": npy(np.zeros(400_000, np.int64))})
    assert len(read(save(tmp_path, content, "a.npz"))) == 400_000


def test_npz_bomb_is_refused_before_it_unpacks(tmp_path):
    content = npz({"xyz": npy(np.zeros((4_000_000, 3)))})
    assert len(content) < 200_000
    with pytest.raises(FileFormatError, match="MAX_EXPANSION_RATIO = 200"):
        read(save(tmp_path, content, "a.npz"))


@pytest.mark.parametrize(
    "content",
    [
        npz({"a": npy(np.eye(3))}),
        npz({"xyz": npy(np.zeros(3))}),
        npz({"xyz": b"not npy"}),
        npz({}),
        npz({"xyz": npy(np.eye(3))})[:-30],
        npz({"xyz": npy(np.array([{}], object), allow_pickle=True)}),
        npz({"xyz": npy(np.eye(3)), "normal": npy(np.zeros((3, 2)))}),
        npz({f"a{k}": b"" for k in range(1001)}),
        b"PK\x03\x04" + b"\0" * 200,
        npz({"xyz": npy(np.eye(3))}, zipfile.ZIP_STORED).replace(b"\x00\xf0?", b"\x00\xf1?"),
    ],
)
def test_npz_faults(tmp_path, content):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, content, "a.npz"))
    assert "a.npz" in caught.value.where
