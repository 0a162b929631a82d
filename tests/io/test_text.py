"""Points as text."""

import warnings

import numpy as np
import pytest
from builders import told
from helpers.clouds import make_cloud
from hypothesis import given, settings
from hypothesis import strategies as st

from pcinv import limits
from pcinv.errors import FileFormatError
from pcinv.io import read
from pcinv.io.rows import scan_rows
from pcinv.io.source import open_source


def save(tmp_path, content, name="a.xyz"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize(
    "content",
    [
        b"1 2 3\n4 5 6\n",
        b"1 2 3\n4 5 6",
        b"1,2,3\n4,5,6\n",
        b"1, 2, 3\r\n4, 5, 6\r\n",
        b"1;2;3\n4;5;6\n",
        b"1\t2\t3\n4\t5\t6\n",
        b"# comment\n1 2 3 # first\n\n// another\n4 5 6\n",
        b"x y z\n1 2 3\n4 5 6\n",
        b"\xef\xbb\xbfx,y,z\n1,2,3\n4,5,6\n",
        b"X;Y;Z\n1;2;3\n4;5;6\n",
        b"1 2 3\r4 5 6\r",
        b"  1 2 3  \n   4 5 6\n\n\n",
        b"2\n1 2 3\n4 5 6\n",
        b"1,2,3,\n4,5,6,\n",
        b"+1 2.0 3e0\n.4e1 5. 600E-2\n",
        b'"x","y","z"\n1,2,3\n4,5,6\n',
        b"//X Y Z\n1 2 3\n4 5 6\n",
    ],
)
def test_dialects(tmp_path, content):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cloud = read(save(tmp_path, content))
    np.testing.assert_array_equal(cloud.xyz, [[1, 2, 3], [4, 5, 6]])
    assert not cloud.attributes


@pytest.mark.parametrize(
    "content,line,word",
    [
        (b"0 0 0\n1 1\n2 2 2 2\n", 2, "row of 2"),
        (b"0 0 0\none two three\n", 2, "'one'"),
        (b"0,0,0\n1,,1\n", 2, "separators"),
        (b"0,,0,0\n1,,1,1\n", 1, "separators"),
        (b",0,0,0\n,1,1,1\n", 1, "separators"),
        (b"0,0,0,,\n1,1,1,,\n", 1, "separators"),
        (b"0,0,0\n1,1\n", 2, "row of 2"),
        (b"# c\n\n0 0 0\n1 1 1x\n", 4, "'1x'"),
        (b"0 0 0\n1.5.5 1 1\n", 2, "'1.5.5'"),
        (b"0 0 0\n1_0 1 1\n", 2, "'1_0'"),
        (b"0 0 0\n0x10 1 1\n", 2, "'0x10'"),
        (b"0 0 0\n1-2 1 1\n", 2, "'1-2'"),
        (b"0;0;0\n1,5;1;1\n", 2, "'1,5'"),
        (b"x y z w\n0 0 0\n", 1, "4 column names"),
        (b"9\n0 0 0\n1 1 1\n", 1, "9 points promised"),
        (b"a b c\n0 0 0\n", None, "no columns x, y, z"),
        (b"1 2\n3 4\n", None, "at least x, y, z"),
        (b"# nothing\n", None, "no rows"),
        (b"hello\n", None, ""),
        (b"x x y z\n1 2 3 4\n", None, "same name"),
        (b"0 0 0\n1 1 1" + b" " * 70_000 + b"\n", 2, "MAX_LINE_BYTES"),
        (b"0 0 0\n\xff\xfe1 1 1\n", 2, "not a number"),
        (b"0 0 0\nnan(2) 1 1\n", 2, "'nan(2)'"),
    ],
)
def test_faults_are_named_by_line(tmp_path, content, line, word):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, content))
    assert word in caught.value.message
    assert caught.value.where.endswith(f"a.xyz:{line}" if line else "a.xyz")


def test_line_numbers_hold_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("pcinv.io.rows._BLOCK_BYTES", 64)
    good = b"".join(b"%d %d %d\n" % (k, k, k) for k in range(200))
    np.testing.assert_array_equal(read(save(tmp_path, good)).xyz[:, 2], np.arange(200))
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, good + b"1 1 one\n" + good))
    assert caught.value.where.endswith(":201")
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, good + b"1 1\n" + good))
    assert caught.value.where.endswith(":201")
    with pytest.raises(FileFormatError, match="MAX_LINE_BYTES") as caught:
        read(save(tmp_path, good + b"1 " * 100))
    assert caught.value.where.endswith(":201")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=6),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([" ", "\t", "  "]),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
def test_rows_keep_their_lengths_and_values(tmp_path_factory, rows, separator, end):
    text = end.join(separator.join(repr(v) for v in row) for row in rows)
    path = save(tmp_path_factory.mktemp("rows"), text.encode())
    found = scan_rows(open_source(path), text.encode())
    assert found.counts.tolist() == [len(row) for row in rows]
    np.testing.assert_array_equal(found.values, [v for row in rows for v in row])
    assert found.lines.tolist() == [1 + k * (2 if end == "\n\n" else 1) for k in range(len(rows))]


def test_columns_are_known_by_their_values(tmp_path):
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(200, 3))
    normal = rng.normal(size=(200, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    normal[:5] = 0  # missing ones
    color = rng.integers(0, 256, (200, 3))
    label = rng.integers(0, 5, (200, 1))

    def names(*parts):
        np.savetxt(tmp_path / "t.txt", np.hstack([xyz, *parts]), fmt="%.6f")
        return set(read(tmp_path / "t.txt").attributes)

    assert names(normal) == {"normal"}
    assert names(normal, label) == {"normal", "label"}
    assert names(color) == {"color"}
    assert names(color, label) == {"color", "label"}
    assert names(rng.random((200, 1)), color) == {"intensity", "color"}
    assert names(normal * rng.uniform(0.5, 1.5, (200, 1))) == {"column_4", "column_5", "column_6"}
    assert names(rng.random((200, 1))) == {"column_4"}


def test_names_of_the_header_are_used(tmp_path):
    cloud = read(
        save(tmp_path, b"label,Y,X,Z,nx,ny,nz,R,G,B,my value\n1,2,3,4,0,0,2,255,0,1,0.5\n", "a.csv")
    )
    np.testing.assert_array_equal(cloud.xyz, [[3, 2, 4]])
    np.testing.assert_array_equal(cloud.attributes["normal"], [[0, 0, 2]])
    np.testing.assert_array_equal(cloud.attributes["color"], [[255, 0, 1]])
    assert cloud.attributes["my value"][0] == 0.5
    assert cloud.attributes["label"].dtype == np.int64


def test_rows_that_are_not_finite_are_dropped_and_told(tmp_path):
    with told("2 of 4 points are not finite (the first is row 1)"):
        cloud = read(save(tmp_path, b"0 0 0 1\nnan 0 0 2\n1 -inf 1 3\n5 5 5 4\n"))
    np.testing.assert_array_equal(cloud.xyz, [[0, 0, 0], [5, 5, 5]])
    np.testing.assert_array_equal(cloud.attributes["column_4"], [1, 4])


def test_numbers_beyond_float32_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="beyond float32"):
        read(save(tmp_path, b"0 0 0\n1e300 0 0\n-1e300 1 1\n"))


@pytest.mark.parametrize("kind", ["uniform", "far", "tiny", "huge"])
def test_origin_rule(tmp_path, kind):
    points = make_cloud(kind, 100, 0)
    np.savetxt(tmp_path / "a.txt", points, fmt="%.17g")
    cloud = read(tmp_path / "a.txt")
    assert bool(cloud.origin.any()) == (kind == "far")
    np.testing.assert_allclose(cloud.absolute(), points, rtol=0, atol=np.ptp(points) * 1e-7)


def test_exact_float32_far_away_keeps_its_bits(tmp_path):
    cloud = read(save(tmp_path, b"5000000.5 1 1\n5000001 2 2\n"))
    assert not cloud.origin.any()
    np.testing.assert_array_equal(cloud.xyz[:, 0], [5000000.5, 5000001])


def test_limits_are_the_ones_of_the_sheet():
    assert (limits.MAX_LINE_BYTES, limits.MAX_HEADER_BYTES) == (2**16, 2**20)
