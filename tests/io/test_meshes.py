"""OFF, OBJ, STL and GLB."""

import io
import json
import struct

import numpy as np
import pytest
from builders import cube, told

from pcinv.errors import FileFormatError, LimitError
from pcinv.io import read, write
from pcinv.types import Mesh, PointCloud

TRIANGLE = b"0 0 0\n1 0 0\n0 1 0\n"


def save(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize(
    "head",
    [
        b"OFF\n3 1 0\n",
        b"OFF3 1 0\n",
        b"OFF 3 1 0\n",
        b"OFF\r\n# counts\n\n3 1\n",
        b"3 1 0\n",
        b"# made by hand\nOFF\n3 1 0\n",
    ],
)
def test_off_headers(tmp_path, head):
    mesh = read(save(tmp_path, "a.off", head + TRIANGLE + b"3 0 1 2\n"))
    assert isinstance(mesh, Mesh)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_off_polygons_colours_and_normals(tmp_path):
    vertices = b"".join(b"%d %d 0 0 0 1 255 0 9 255\n" % (k % 2, k // 2) for k in range(4))
    mesh = read(
        save(tmp_path, "a.off", b"CNOFF\n4 2 0\n" + vertices + b"4 0 1 3 2 0.5 0.5 0.5\n3 0 1 2\n")
    )
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [0, 3, 2], [0, 1, 2]])
    np.testing.assert_array_equal(mesh.attributes["color"], [[255, 0, 9]] * 4)
    np.testing.assert_array_equal(mesh.attributes["normal"], [[0, 0, 1]] * 4)


def test_off_float_colours(tmp_path):
    cloud = read(save(tmp_path, "a.off", b"COFF\n1 0 0\n1 2 3 1.0 0.5 0 1\n"))
    np.testing.assert_array_equal(cloud.attributes["color"], [[255, 128, 0]])


@pytest.mark.parametrize(
    "content,line",
    [
        (b"OFF\n3 1 0\n" + TRIANGLE + b"3 0 1 9\n", 6),
        (b"OFF\n3 1 0\n" + TRIANGLE + b"3 0 1 -1\n", 6),
        (b"OFF\n3 1 0\n" + TRIANGLE + b"3 0 1\n", 6),
        (b"OFF\n3 1 0\n" + TRIANGLE + b"-3 0 1 2\n", 6),
        (b"OFF\n3 1 0\n0 0 0\n1 0\n0 1 0\n3 0 1 2\n", 4),
        (b"OFF\n3 1 0\n0 0 0\n1 0 a\n0 1 0\n3 0 1 2\n", 4),
        (b"OFF\n-3 1 0\n" + TRIANGLE, 2),
        (b"OFF\n0 0 0\n", 2),
        (b"OFF\n3.5 1 0\n" + TRIANGLE, 2),
        (b"OFF\n", 1),
        (b"OFF\nnan 1 0\n" + TRIANGLE, 2),
        (b"STOFF\n3 1 0\n" + TRIANGLE, 1),
        (b"4OFF\n3 1 0\n" + TRIANGLE, None),
        (b"OFF BINARY\n3 1 0\n" + TRIANGLE, 1),
        (b"OFF\n3 1 0\n" + TRIANGLE, None),
        (b"OFF\n30 1 0\n" + TRIANGLE, None),
    ],
)
def test_off_faults(tmp_path, content, line):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, "a.off", content))
    assert "a.off" in caught.value.where
    if line:
        assert caught.value.where.endswith(f"a.off:{line}")


def test_obj_forms_of_faces(tmp_path):
    text = (
        b"# cube corner\nmtllib a.mtl\no thing\n"
        + b"".join(b"v " + r + b"\n" for r in TRIANGLE.split(b"\n")[:3])
        + b"vt 0 0\nvn 0 0 1\nusemtl m\ns off\nf 1 2 3\nf 1/1 2/1 3/1\nf 1/1/1 2/1/1 3/1/1\n"
        b"f 1//1 2//1 3//1\nf -3 -2 -1\n" + b"v 1 1 0\nf 1 2 4 \\\n 3\nf -1 -2 -3\nl 1 2\n"
    )
    mesh = read(save(tmp_path, "a.obj", text))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]] * 5 + [[0, 1, 3], [0, 3, 2], [3, 2, 1]])
    assert not mesh.attributes  # one normal for three vertices belongs to corners


def test_obj_vertex_colours_and_points_only(tmp_path):
    cloud = read(save(tmp_path, "a.obj", b"v 0 0 0 1 0 0\nv 1 1 1 0 0.5 1\n"))
    assert isinstance(cloud, PointCloud)
    np.testing.assert_array_equal(cloud.attributes["color"], [[255, 0, 0], [0, 128, 255]])


def test_obj_normals_of_vertices_are_kept_and_of_corners_not(tmp_path):
    vertices = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nvn 0 1 0\nvn 1 0 0\n"
    kept = read(save(tmp_path, "a.obj", vertices + b"f 1//1 2//2 3//3\n"))
    np.testing.assert_array_equal(kept.attributes["normal"], [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert not read(save(tmp_path, "b.obj", vertices + b"f 1//1 2//3 3//2\n")).attributes


@pytest.mark.parametrize(
    "content,line",
    [
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", 4),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 0\n", 4),
        (b"v 0 0 0\nv 1 0 0\nf 1 2 -3\n", 3),
        (b"v 0 0 0\nv 1 0\n", 2),
        (b"v 0 0 0\nv 1 0 zero\n", 2),
        (b"v 0 0 0\nwhat is this\n", 2),
        (b"v 0 0\n", 1),
        (b"f 1 2 3\n", None),
        (b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2.5 3\n", 4),
        (b"v\n", None),
    ],
)
def test_obj_faults(tmp_path, content, line):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, "a.obj", content))
    assert "a.obj" in caught.value.where
    if line:
        assert caught.value.where.endswith(f"a.obj:{line}")


ASCII_STL = (
    b"solid thing\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\n"
    b"endloop\nendfacet\nendsolid thing\n"
)


def test_stl_ascii(tmp_path):
    mesh = read(
        save(tmp_path, "a.stl", ASCII_STL.replace(b"\nfacet", b"\n  FACET").replace(b"\n", b"\r\n"))
    )
    np.testing.assert_array_equal(mesh.vertices[mesh.faces[0]], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_stl_binary_that_begins_with_solid(tmp_path):
    write(tmp_path / "a.stl", cube())
    content = (tmp_path / "a.stl").read_bytes()
    mesh = read(save(tmp_path, "b.stl", b"solid\nfacet" + content[11:]))
    assert len(mesh.vertices) == 8 and len(mesh.faces) == 12


def test_stl_trailing_bytes_are_told(tmp_path):
    write(tmp_path / "a.stl", cube())
    with told("7 bytes behind the last triangle"):
        read(save(tmp_path, "b.stl", (tmp_path / "a.stl").read_bytes() + b"\0" * 7))


@pytest.mark.parametrize(
    "content",
    [
        ASCII_STL[:60],
        ASCII_STL.replace(b"endsolid thing\n", b""),
        ASCII_STL.replace(b"vertex 0 1 0\n", b""),
        ASCII_STL.replace(b"vertex 1 0 0", b"vertex 1 0 zero"),
        ASCII_STL.replace(b"vertex 1 0 0", b"vertex 1 0"),
        b"solid empty\nendsolid empty\n",
        b"\0" * 84,
        b"\0" * 50,
        b"\0" * 80 + struct.pack("<I", 2**32 - 1) + b"\0" * 50,
    ],
)
def test_stl_faults(tmp_path, content):
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, "a.stl", content))
    assert "a.stl" in caught.value.where


def glb_of(mesh):
    import trimesh

    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type="glb")


def glb_from(tree, binary):
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = (
        struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(binary), 0x004E4942)
        + binary
    )
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def split_glb(content):
    length = struct.unpack_from("<I", content, 12)[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def test_glb_comes_back(tmp_path):
    mesh = read(save(tmp_path, "a.glb", glb_of(cube())))
    np.testing.assert_allclose(
        np.sort(mesh.vertices[mesh.faces].reshape(-1, 9), 0),
        np.sort(cube().vertices[cube().faces].reshape(-1, 9), 0),
    )


def test_glb_scene_transforms_are_applied(tmp_path):
    import trimesh

    scene = trimesh.Scene()
    for shift in (0, 10):
        box = trimesh.Trimesh(cube().vertices, cube().faces, process=False)
        scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([shift, 0, 0]))
    mesh = read(save(tmp_path, "a.glb", scene.export(file_type="glb")))
    assert len(mesh.faces) == 24
    np.testing.assert_allclose(
        [mesh.vertices.min(0), mesh.vertices.max(0)], [[0, 0, 0], [11, 1, 1]]
    )


def break_count(tree):
    tree["accessors"][0]["count"] = 10**9


def break_view(tree):
    tree["bufferViews"][0]["byteLength"] = 10**9


def break_no_view(tree):
    tree["accessors"][0].pop("bufferView")
    tree["accessors"][0]["count"] = 10**9


def break_outside(tree):
    tree["buffers"].append({"uri": "/etc/passwd", "byteLength": 10})


def break_parents(tree):
    tree["nodes"] = [{"children": [1, 1]}, {"mesh": 0}]


def break_types(tree):
    tree["accessors"] = "many"


@pytest.mark.parametrize(
    "change", [break_count, break_view, break_no_view, break_outside, break_parents, break_types]
)
def test_glb_faults(tmp_path, change):
    tree, binary = split_glb(glb_of(cube()))
    change(tree)
    with pytest.raises(FileFormatError) as caught:
        read(save(tmp_path, "a.glb", glb_from(tree, binary)))
    assert "a.glb" in caught.value.where


def test_glb_control_and_cut_off(tmp_path):
    tree, binary = split_glb(glb_of(cube()))
    assert len(read(save(tmp_path, "a.glb", glb_from(tree, binary))).faces) == 12
    for content in (
        glb_of(cube())[:-40],
        b"glTF",
        b"glTF" + struct.pack("<II", 1, 12) + b"\0" * 20,
    ):
        with pytest.raises(FileFormatError):
            read(save(tmp_path, "b.glb", content))


def test_mesh_with_bad_vertices_loses_their_faces(tmp_path):
    with told("1 of 4 points are not finite (the first is row 1)"):
        mesh = read(
            save(tmp_path, "a.off", b"OFF\n4 2 0\n0 0 0\nnan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n3 0 2 3\n")
        )
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])
    np.testing.assert_array_equal(mesh.vertices[mesh.faces[0]], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_trimesh_reads_what_is_written(tmp_path):
    import trimesh

    for name in ("off", "obj", "stl"):
        write(tmp_path / f"a.{name}", cube())
        mesh = trimesh.load_mesh(io.BytesIO((tmp_path / f"a.{name}").read_bytes()), file_type=name)
        assert mesh.is_watertight and mesh.volume == pytest.approx(1)


def test_limit_on_points_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pcinv.limits.MAX_POINTS", 2)
    with pytest.raises(LimitError, match="MAX_POINTS = 2") as caught:
        read(save(tmp_path, "a.off", b"OFF\n3 1 0\n" + TRIANGLE + b"3 0 1 2\n"))
    assert caught.value.exit_code == 7
