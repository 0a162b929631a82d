"""PCD: ascii, binary, compressed; packed colours, wide and padding fields."""

import struct

import numpy as np
import pytest
from builders import compressed_body, full_cloud, lzf_compress, pcd_bytes, told
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv.errors import FileFormatError
from pcinv.io import read, write
from pcinv.io.lzf import decompress_lzf

PLAIN = ("x y z", "4 4 4", "F F F", "1 1 1")


def save(tmp_path, content):
    (tmp_path / "a.pcd").write_bytes(content)
    return tmp_path / "a.pcd"


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=600),
        st.lists(st.sampled_from([b"abc", b"abcabcabc", b"\0" * 300, b"xyz"])).map(b"".join),
    )
)
def test_lzf_brings_back_what_was_packed(data):
    assert decompress_lzf(lzf_compress(data), len(data)) == data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_lzf_of_anything_is_bounded(data, size):
    try:
        assert len(decompress_lzf(data, size)) == size
    except ValueError:
        pass


@pytest.mark.parametrize(
    "data,size",
    [(b"\x05ab", 6), (b"\x20\x00", 3), (b"\x00a\xe0", 300), (b"\x00a", 2), (b"\x01ab", 1)],
)
def test_lzf_faults(data, size):
    with pytest.raises(ValueError):
        decompress_lzf(data, size)


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_fields_of_all_kinds(tmp_path, data):
    kind = np.dtype(
        [
            ("x", "<f8"),
            ("y", "<f8"),
            ("z", "<f8"),
            ("_", "u1", 4),
            ("rgb", "<u4"),
            ("label", "<u2"),
            ("fpfh", "<f4", 3),
            ("t", "<i8"),
        ]
    )
    rows = np.zeros(3, kind)
    rows["x"], rows["rgb"], rows["label"] = (
        [0.1, 0.2, 0.3],
        [0x010203, 0xFF0000, 0xFF],
        [1, 2, 65535],
    )
    rows["fpfh"], rows["t"] = np.arange(9).reshape(3, 3) / 4, [-1, 0, 2**40]
    if data == "ascii":
        body = "".join(
            " ".join(str(v) for part in row for v in np.atleast_1d(part)) + "\n"
            for row in rows.tolist()
        ).encode()
    elif data == "binary":
        body = rows.tobytes()
    else:
        body = compressed_body(
            b"".join(np.ascontiguousarray(rows[n]).tobytes() for n in kind.names)
        )
    content = pcd_bytes(
        "x y z _ rgb label fpfh t",
        "8 8 8 1 4 2 4 8",
        "F F F U U U F I",
        "1 1 1 4 1 1 3 1",
        3,
        data,
        body,
    )
    cloud = read(save(tmp_path, content))
    np.testing.assert_allclose(cloud.absolute()[:, 0], [0.1, 0.2, 0.3], rtol=0, atol=1e-8)
    np.testing.assert_array_equal(cloud.attributes["color"], [[1, 2, 3], [255, 0, 0], [0, 0, 255]])
    np.testing.assert_array_equal(cloud.attributes["label"], [1, 2, 65535])
    np.testing.assert_array_equal(cloud.attributes["fpfh"], rows["fpfh"])
    np.testing.assert_array_equal(cloud.attributes["t"], rows["t"])
    assert set(cloud.attributes) == {"color", "label", "fpfh", "t"}
    assert cloud.attributes["label"].dtype == np.uint16 and cloud.attributes["t"].dtype == np.int64


def test_rgb_packed_in_a_float(tmp_path):
    body = struct.pack("<3fI", 1, 2, 3, 0x0A0B0C)
    cloud = read(
        save(tmp_path, pcd_bytes("x y z rgb", "4 4 4 4", "F F F F", "1 1 1 1", 1, "binary", body))
    )
    np.testing.assert_array_equal(cloud.attributes["color"], [[10, 11, 12]])
    value = np.array([0x0A0B0C], "<u4").view("<f4")[0]
    for text in (f"1 2 3 {value!s}", f"1 2 3 {0x0A0B0C}"):
        content = pcd_bytes("x y z rgb", "4 4 4 4", "F F F F", "1 1 1 1", 1, "ascii", text.encode())
        np.testing.assert_array_equal(
            read(save(tmp_path, content)).attributes["color"], [[10, 11, 12]]
        )


def test_rgba_keeps_alpha(tmp_path):
    body = struct.pack("<3fI", 1, 2, 3, 0x800A0B0C)
    cloud = read(
        save(tmp_path, pcd_bytes("x y z rgba", "4 4 4 4", "F F F U", "1 1 1 1", 1, "binary", body))
    )
    assert cloud.attributes["alpha"][0] == 0x80


def test_trailing_bytes_and_rows_are_told(tmp_path):
    with told("3 bytes behind the last point"):
        read(save(tmp_path, pcd_bytes(*PLAIN, 1, "binary", b"\0" * 15)))
    with told("1 rows behind the last point"):
        read(save(tmp_path, pcd_bytes(*PLAIN, 1, "ascii", b"0 0 0\n1 1 1\n")))


@pytest.mark.parametrize(
    "content",
    [
        pcd_bytes("x y", "4 4", "F F", "1 1", 1, "binary", b"\0" * 8),
        pcd_bytes("x y z", "4 4", "F F F", "1 1 1", 1, "binary", b"\0" * 12),
        pcd_bytes("x y z", "4 4 3", "F F F", "1 1 1", 1, "binary", b"\0" * 12),
        pcd_bytes("x y z", "4 4 4", "F F Q", "1 1 1", 1, "binary", b"\0" * 12),
        pcd_bytes("x y z", "4 4 4", "F F F", "1 1 0", 1, "binary", b"\0" * 12),
        pcd_bytes("x y z", "4 4 4", "F F F", "1 1 -1", 1, "binary", b"\0" * 12),
        pcd_bytes("x y z a", "4 4 4 4", "F F F F", "1 1 1 9999999999", 0, "binary", b"\0" * 12),
        pcd_bytes("x y z x", "4 4 4 4", "F F F F", "1 1 1 1", 1, "binary", b"\0" * 16),
        pcd_bytes(*PLAIN, -1, "binary", b"\0" * 12),
        pcd_bytes(*PLAIN, 0, "binary", b""),
        pcd_bytes(*PLAIN, 1, "morse", b"\0" * 12),
        pcd_bytes(*PLAIN, 1, "binary", b"\0" * 12).replace(b"HEIGHT 1", b"HEIGHT 2"),
        pcd_bytes(*PLAIN, 1, "ascii", b"0 0 zero\n"),
        pcd_bytes("x y z a", "4 4 4 1", "F F F U", "1 1 1 1", 1, "ascii", b"0 0 0 300\n"),
        pcd_bytes(*PLAIN, 2, "binary_compressed", struct.pack("<II", 9, 24) + b"\xff" * 9),
        pcd_bytes(*PLAIN, 2, "binary_compressed", struct.pack("<II", 900, 24) + b"\0" * 9),
        pcd_bytes(*PLAIN, 2, "binary_compressed", b"\0" * 4),
        pcd_bytes(
            *PLAIN,
            10_000_000,
            "binary_compressed",
            struct.pack("<II", 9, 120_000_000) + b"\xff" * 9,
        ),
        b"# .PCD v.7\n" + b"# comment\n" * 100,
        b"# .PCD v.7\nFIELDS x y z\n",
    ],
)
def test_faults(tmp_path, content):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, content))
    assert "a.pcd" in caught.value.where and caught.value.hint


def test_ascii_fault_names_the_line(tmp_path):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, pcd_bytes(*PLAIN, 3, "ascii", b"0 0 0\n0 0 0\n0 word 0\n")))
    assert caught.value.where.endswith("a.pcd:14")


def test_written_header_is_what_others_expect(tmp_path):
    write(tmp_path / "b.pcd", full_cloud(4))
    head = (tmp_path / "b.pcd").read_bytes().split(b"DATA")[0].decode()
    assert "FIELDS x y z intensity label time rgb normal_x normal_y normal_z" in head
    assert "POINTS 4" in head and "WIDTH 4" in head
