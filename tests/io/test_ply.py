"""PLY in all its forms."""

import io
import struct

import numpy as np
import pytest
from builders import CUBE_CORNERS, CUBE_SQUARES, full_cloud, ply_bytes, told

from pcinv.errors import FileFormatError
from pcinv.io import read, write
from pcinv.types import Mesh, PointCloud

XYZ = "property float x\nproperty float y\nproperty float z\n"
FACE = "element face {}\nproperty list uchar int vertex_indices\n"


def save(tmp_path, content, name="a.ply"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_of_both_byte_orders(tmp_path, order):
    kinds = "bBhHiIfd"
    names = "char uchar short ushort int uint float double".split()
    header = (
        f"format binary_{'little' if order == '<' else 'big'}_endian 1.0\nelement vertex 2\n{XYZ}"
    )
    header += "".join(f"property {n} a_{n}\n" for n in names)
    row = struct.Struct(order + "fff" + kinds)
    body = row.pack(1, 2, 3, -4, 5, -6, 7, -8, 9, 1.5, 2.5) + row.pack(*[0] * 11)
    cloud = read(save(tmp_path, ply_bytes(header, body)))
    np.testing.assert_array_equal(cloud.xyz, [[1, 2, 3], [0, 0, 0]])
    want = [-4, 5, -6, 7, -8, 9, 1.5, 2.5]
    for name, kind, value in zip(
        names, ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"), want, strict=True
    ):
        assert cloud.attributes[f"a_{name}"].dtype == np.dtype(kind)
        assert cloud.attributes[f"a_{name}"][0] == value


def test_ascii_with_comments_crlf_and_new_type_names(tmp_path):
    text = ply_bytes(
        "format ascii 1.0\ncomment made by hand\nobj_info num_cols 2\nelement vertex 2\n"
        "property float32 x\n"
        "property float64 y\nproperty float z\nproperty uint8 red\nproperty uint8 green\n"
        "property uint8 blue\n"
        "property float scalar_Intensity",
        b"0.1 2 3 255 0 7 0.5\n\n4 5 6 1 2 3 0.25\n",
    ).replace(b"\n", b"\r\n")
    cloud = read(save(tmp_path, text))
    np.testing.assert_array_equal(cloud.attributes["color"], [[255, 0, 7], [1, 2, 3]])
    np.testing.assert_array_equal(cloud.attributes["scalar_Intensity"], [0.5, 0.25])
    np.testing.assert_array_equal(cloud.xyz, np.array([[0.1, 2, 3], [4, 5, 6]], np.float32))


def test_binary_behind_a_crlf_header(tmp_path):
    content = ply_bytes(f"format binary_little_endian 1.0\nelement vertex 1\n{XYZ}").replace(
        b"\n", b"\r\n"
    )
    cloud = read(
        save(tmp_path, content + struct.pack("<3f", 10, 13, 266))
    )  # 10 and 13: bytes of line ends
    np.testing.assert_array_equal(cloud.xyz, [[10, 13, 266]])


def polygons(order, squares):
    if order == "ascii":
        rows = [" ".join(map(str, c)) for c in CUBE_CORNERS] + [
            " ".join(map(str, [len(s), *s])) for s in squares
        ]
        return "\n".join(rows).encode() + b"\n"
    faces = b"".join(struct.pack(f"{order}B{len(s)}i", len(s), *s) for s in squares)
    return CUBE_CORNERS.astype(order + "f4").tobytes() + faces


@pytest.mark.parametrize(
    "order,form", [("<", "binary_little_endian"), (">", "binary_big_endian"), ("ascii", "ascii")]
)
@pytest.mark.parametrize("squares", [CUBE_SQUARES, [[0, 1, 3], *CUBE_SQUARES[1:], [0, 1, 5, 4, 2]]])
def test_polygons_become_fans(tmp_path, order, form, squares):
    header = f"format {form} 1.0\nelement vertex 8\n{XYZ}{FACE.format(len(squares))}"
    mesh = read(save(tmp_path, ply_bytes(header, polygons(order, squares))))
    want = [[s[0], s[k], s[k + 1]] for s in squares for k in range(1, len(s) - 1)]
    assert isinstance(mesh, Mesh)
    np.testing.assert_array_equal(mesh.faces, want)


def test_lines_in_the_face_element_are_left_out_and_told(tmp_path):
    header = f"format binary_little_endian 1.0\nelement vertex 8\n{XYZ}{FACE.format(3)}"
    with told("1 faces of fewer than 3"):
        mesh = read(
            save(tmp_path, ply_bytes(header, polygons("<", [[0, 1, 2], [3, 4], [5, 6, 7, 0]])))
        )
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [5, 6, 7], [5, 7, 0]])


@pytest.mark.parametrize("mixed", [False, True])
def test_other_elements_and_lists_are_stepped_over(tmp_path, mixed):
    header = (
        f"format binary_big_endian 1.0\nelement camera 1\nproperty float fov\n"
        f"property list ushort double poses\n"
        f"element vertex 8\n{XYZ}element face 2\nproperty uchar flag\n"
        f"property list uchar float texcoord\n"
        "property list int uint vertex_index\nproperty float quality\nelement edge 1\n"
        "property int a"
    )
    body = struct.pack(">fH2d", 1, 2, 0.5, 0.5) + CUBE_CORNERS.astype(">f4").tobytes()
    for face in ([0, 1, 2], [3, 4, 5, 6] if mixed else [3, 4, 5]):
        body += struct.pack(f">BB6fi{len(face)}If", 9, 6, *[0.5] * 6, len(face), *face, 1)
    mesh = read(save(tmp_path, ply_bytes(header, body + struct.pack(">i", 1))))
    np.testing.assert_array_equal(
        mesh.faces, [[0, 1, 2], [3, 4, 5], [3, 5, 6]][: 3 if mixed else 2]
    )


def test_ascii_lists_before_the_corners(tmp_path):
    header = (
        f"format ascii 1.0\nelement vertex 3\n{XYZ}element face 1\n"
        f"property list uchar float texcoord\n" + FACE.split("\n", 1)[1]
    )
    mesh = read(save(tmp_path, ply_bytes(header, b"0 0 0\n1 0 0\n0 1 0\n2 0.5 0.5 3 0 2 1\n")))
    np.testing.assert_array_equal(mesh.faces, [[0, 2, 1]])


def test_no_faces_means_a_cloud(tmp_path):
    header = f"format ascii 1.0\nelement vertex 1\n{XYZ}{FACE.format(0)}"
    assert isinstance(read(save(tmp_path, ply_bytes(header, b"1 2 3\n"))), PointCloud)


def test_trailing_bytes_are_told(tmp_path):
    header = f"format binary_little_endian 1.0\nelement vertex 1\n{XYZ}"
    with told("5 bytes behind the last element"):
        read(save(tmp_path, ply_bytes(header, b"\0" * 17)))
    with told("1 rows behind the last element"):
        read(
            save(
                tmp_path, ply_bytes(f"format ascii 1.0\nelement vertex 1\n{XYZ}", b"1 2 3\n4 5 6\n")
            )
        )


@pytest.mark.parametrize(
    "header,body,word",
    [
        (f"format ascii 1.0\nelement vertex 2\n{XYZ}", b"0 0 0\n1 one 1\n", "'one'"),
        (f"format ascii 1.0\nelement vertex 2\n{XYZ}", b"0 0 0\n1 1 1 1\n", "row of 4"),
        (
            f"format ascii 1.0\nelement vertex 2\n{XYZ}property uchar a",
            b"0 0 0 1\n1 1 1 300\n",
            "300",
        ),
        (
            f"format ascii 1.0\nelement vertex 2\n{XYZ}property int a",
            b"0 0 0 1\n1 1 1 1.5\n",
            "1.5",
        ),
    ],
)
def test_faults_are_named_by_line(tmp_path, header, body, word):
    content = ply_bytes(header, body)
    with pytest.raises(FileFormatError, match=word) as caught:
        read(save(tmp_path, content))
    assert caught.value.where.endswith(f":{content.count(bytes([10]))}")


@pytest.mark.parametrize(
    "header",
    [
        "element vertex 1\n" + XYZ,
        "format ascii 1.0\n" + XYZ,
        f"format cuneiform 1.0\nelement vertex 1\n{XYZ}",
        f"format ascii 1.0\nelement vertex many\n{XYZ}",
        "format ascii 1.0\nelement vertex 1\nproperty float",
        "format ascii 1.0\nelement vertex 1\nproperty quad x",
        f"format ascii 1.0\nelement vertex 1\n{XYZ}property float x",
        f"format ascii 1.0\nelement vertex 1\n{XYZ}property list float int a",
        "format ascii 1.0\nelement vertex 1",
        "format ascii 1.0\nelement face 1\nproperty float x",
        f"format ascii 1.0\nelement vertex 1\n{XYZ}what is this",
        f"format ascii 1.0\nelement vertex 1\n{XYZ}element vertex 1\n{XYZ}",
        f"format ascii 1.0\nelement vertex 0\n{XYZ}",
        f"format ascii 1.0\nelement vertex 1\n{XYZ}property list uchar int a",
    ],
)
def test_headers_that_make_no_sense(tmp_path, header):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, ply_bytes(header, b"1 2 3\n" * 2)))
    assert "a.ply" in caught.value.where and caught.value.hint


def test_header_without_end(tmp_path):
    with pytest.raises(FileFormatError, match="end_header"):
        read(save(tmp_path, b"ply\nformat ascii 1.0\n" + b"comment " + b"x" * 2_000_000))


def test_negative_and_huge_lists(tmp_path):
    header = f"format binary_little_endian 1.0\nelement vertex 3\n{XYZ}{FACE.format(1)}"
    header = header.replace("list uchar", "list int")
    for count in (-1, 2**31 - 1):
        with pytest.raises(FileFormatError, match="face 0 of 1"):
            read(
                save(tmp_path, ply_bytes(header, b"\0" * 36 + struct.pack("<i3i", count, 0, 1, 2)))
            )


def test_plyfile_reads_what_is_written_and_the_reverse(tmp_path):
    plyfile = pytest.importorskip("plyfile", reason="plyfile is not installed")
    cloud = full_cloud()
    write(tmp_path / "a.ply", cloud)
    vertex = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    np.testing.assert_array_equal(np.stack([vertex[a] for a in "xyz"], 1), cloud.xyz)
    np.testing.assert_array_equal(vertex["red"], cloud.attributes["color"][:, 0])
    for text in (True, False):
        element = plyfile.PlyElement.describe(np.array(vertex.data), "vertex")
        plyfile.PlyData([element], text=text, byte_order=">").write(str(tmp_path / "b.ply"))
        back = read(tmp_path / "b.ply")
        np.testing.assert_array_equal(back.xyz, cloud.xyz)
        for name, values in cloud.attributes.items():
            np.testing.assert_allclose(back.attributes[name], values, rtol=1e-6, err_msg=name)


def test_trimesh_reads_the_mesh(tmp_path):
    import trimesh
    from builders import cube

    write(tmp_path / "a.ply", cube())
    mesh = trimesh.load_mesh(io.BytesIO((tmp_path / "a.ply").read_bytes()), file_type="ply")
    assert mesh.is_watertight and mesh.volume == pytest.approx(1)
