"""The guard around HDF5."""

import warnings

import h5py
import numpy as np
import pytest

from pcinv.errors import FileFormatError, LimitError
from pcinv.io import open_h5, read, read_h5_array


@pytest.fixture
def sound(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.arange(24.0).reshape(2, 4, 3)
        file.create_dataset("label", data=np.arange(2, dtype=np.uint8)[:, None], compression="gzip")
        file["deep/er/xyz"] = np.eye(3)
    return tmp_path / "a.h5"


def test_whole_and_sliced(sound):
    with open_h5(sound) as file:
        assert sorted(file.names()) == ["data", "label"]
        assert file.shape("data") == (2, 4, 3)
        np.testing.assert_array_equal(
            file.read("data", slice(1, 2), ndim=3)[0], np.arange(12, 24).reshape(4, 3)
        )
        assert file.read("label", kinds="iu").dtype == np.uint8
    np.testing.assert_array_equal(read_h5_array(sound, "deep/er/xyz"), np.eye(3))
    np.testing.assert_array_equal(read_h5_array(sound, "/deep//er/xyz"), np.eye(3))


@pytest.mark.parametrize(
    "name,options",
    [
        ("data", {"ndim": 2}),
        ("data", {"kinds": "iu"}),
        ("nothing", {}),
        ("deep", {}),
        ("deep/nothing", {}),
        ("data/deeper", {}),
        ("", {}),
    ],
)
def test_wrong_names_ranks_and_types(sound, name, options):
    with pytest.raises(FileFormatError) as caught:
        read_h5_array(sound, name, **options)
    assert "a.h5" in caught.value.where


def test_one_cloud_is_read_and_a_data_set_is_not(tmp_path, sound):
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["points"], file["normal"], file["label"] = np.eye(3), np.eye(3), np.arange(3)
        file["other"] = np.arange(7)
    cloud = read(tmp_path / "b.h5")
    assert set(cloud.attributes) == {"normal", "label"}
    with pytest.raises(FileFormatError, match="2 clouds"):
        read(sound)


def never_written(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (10_000_000, 2048, 3), "f8", chunks=(1, 2048, 3))


def never_written_contiguous(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (1000, 3), "f4")


def partly_written(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (1000, 3), "f4", chunks=(100, 3))[:100] = 1


def external_storage(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (10, 3), "u1", external=[(str(other), 0, 30)])


def external_link(path, other):
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(other), "data")


def soft_link(path, other):
    with h5py.File(path, "w") as file:
        file["real"] = np.eye(3)
        file["data"] = h5py.SoftLink("/real")


def link_on_the_way(path, other):
    with h5py.File(path, "w") as file:
        file["hop"] = h5py.ExternalLink(str(other), "/")


def virtual(path, other):
    layout = h5py.VirtualLayout((3, 3), "f8")
    layout[:] = h5py.VirtualSource(str(other), "data", (3, 3))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)


def bomb(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "data",
            data=np.zeros((4000, 2048), np.float32),
            chunks=(4000, 2048),
            compression="gzip",
            compression_opts=9,
        )


def references(path, other):
    with h5py.File(path, "w") as file:
        file["real"] = np.eye(3)
        file.create_dataset("data", (1,), h5py.ref_dtype)[0] = file["real"].ref


def strings(path, other):
    with h5py.File(path, "w") as file:
        file["data"] = ["a", "b"]


def nothing_inside(path, other):
    with h5py.File(path, "w") as file:
        file["data"] = h5py.Empty("f4")


HOSTILE = [
    never_written,
    never_written_contiguous,
    partly_written,
    external_storage,
    external_link,
    soft_link,
    link_on_the_way,
    virtual,
    bomb,
    references,
    strings,
    nothing_inside,
]


@pytest.mark.parametrize("make", HOSTILE)
def test_hostile_files(tmp_path, make):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.eye(3)
    make(tmp_path / "bad.h5", tmp_path / "other.h5")
    for action in (
        lambda: read_h5_array(
            tmp_path / "bad.h5", "hop/data" if make is link_on_the_way else "data"
        ),
        lambda: read(tmp_path / "bad.h5"),
    ):
        with pytest.raises(FileFormatError) as caught:
            action()
        assert "bad.h5" in caught.value.where


def test_h5py_alone_does_follow(tmp_path):
    """The control: without the guard another file's values come back."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.eye(3)
    external_link(tmp_path / "bad.h5", tmp_path / "other.h5")
    with h5py.File(tmp_path / "bad.h5") as file:
        np.testing.assert_array_equal(file["data"][:], np.eye(3))


def test_constant_labels_are_no_bomb(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("label", data=np.zeros((100_000, 1), np.uint8), compression="gzip")
    assert not read_h5_array(tmp_path / "a.h5", "label").any()


def test_ceiling_is_named(sound, monkeypatch):
    monkeypatch.setattr("pcinv.limits.MAX_FILE_BYTES", 100)
    with pytest.raises(LimitError, match="MAX_FILE_BYTES = 100"):
        read_h5_array(sound, "data")


@pytest.mark.parametrize("cut", [0, 4, 100, 1500])
def test_cut_off_and_text(tmp_path, sound, cut):
    content = sound.read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[:cut])
    (tmp_path / "text.h5").write_bytes(b"I am not HDF5, whatever my name\n" * 10)
    for name in ("cut.h5", "text.h5"):
        for action in (read, lambda p: read_h5_array(p, "data")):
            with pytest.raises(FileFormatError) as caught, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                action(tmp_path / name)
            assert name in caught.value.where


def test_file_is_closed_after_a_fault(sound):
    with pytest.raises(FileFormatError):
        read_h5_array(sound, "nothing")
    with h5py.File(sound, "a") as file:
        assert file.mode == "r+"
