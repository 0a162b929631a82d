"""GLB, the binary form of glTF 2.0, through trimesh once its sizes are known to be true."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np

from pcinv import limits
from pcinv.io.format import Format, Raw
from pcinv.io.source import Source

_COMPONENT = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MAX_NODES = 100_000


def read_glb(source: Source) -> Raw:
    """Read all meshes of the scene as one, in its frame; nothing outside the file is opened."""
    content = _check(source)
    import trimesh

    try:
        scene = trimesh.load_scene(io.BytesIO(content), file_type="glb", skip_materials=True)
        mesh = scene.to_mesh() if scene.geometry else None
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file raises inside trimesh is the file's fault
        raise source.error(f"the scene cannot be read: {type(error).__name__}: {error}") from error
    if mesh is None or not len(mesh.faces):
        raise source.error("the scene holds no triangles")
    faces = np.asarray(mesh.faces, dtype=np.int64)
    if faces.min() < 0 or faces.max() >= len(mesh.vertices):
        raise source.error(
            f"a face uses vertex {faces.max()}, there are {len(mesh.vertices)} vertices"
        )
    return Raw(np.array(mesh.vertices, dtype=np.float64), faces=faces)


def _check(source: Source) -> bytes:
    """Check chunks, buffer views and accessors against the file's size; return the content."""
    data = source.data
    if len(data) < 20 or data[:4] != b"glTF":
        raise source.error("no 'glTF' at the start: this is not a GLB file", byte=0)
    version, total, length, kind = struct.unpack_from("<IIII", data, 4)
    if version != 2:
        raise source.error(f"GLB version {version}, only 2 is supported")
    source.check_room(total, source.size, "a file")
    source.check_room(20 + length, total, "a JSON chunk")
    if kind != 0x4E4F534A:
        raise source.error("the first chunk is not JSON", byte=16)
    try:
        tree: Any = json.loads(data[20 : 20 + length])
        buffers = [int(b["byteLength"]) for b in tree.get("buffers", [])]
        views = [
            (int(v["buffer"]), int(v.get("byteOffset", 0)), int(v["byteLength"]))
            for v in tree.get("bufferViews", [])
        ]
        accessors = tree.get("accessors", [])
        if any("uri" in b for b in tree.get("buffers", [])) or any(
            "uri" in i for i in tree.get("images", [])
        ):
            raise source.error(
                "the scene refers to other files",
                hint="export it as one GLB file with everything inside",
            )
        if len(tree.get("nodes", [])) > _MAX_NODES:
            raise source.error(f"{len(tree['nodes'])} nodes, more than {_MAX_NODES}")
        for buffer, offset, size in views:
            if (
                min(offset, size) < 0
                or not 0 <= buffer < len(buffers)
                or offset + size > min(buffers[buffer], source.size)
            ):
                raise source.error("a buffer view reaches beyond its buffer")
        needed = 0
        for accessor in accessors:
            count, item = (
                int(accessor["count"]),
                _COMPONENT[accessor["componentType"]] * _WIDTH[accessor["type"]],
            )
            if "bufferView" not in accessor or "sparse" in accessor:
                raise source.error("an accessor without stored values")
            if count < 0 or count * item > views[int(accessor["bufferView"])][2]:
                raise source.error(
                    f"an accessor promises {count} items of {item} bytes, its view holds fewer"
                )
            needed += count * item
        children = [
            int(child) for node in tree.get("nodes", []) for child in node.get("children", [])
        ]
        if len(set(children)) != len(children):
            raise source.error("a node has two parents")
        used = sum("mesh" in node for node in tree.get("nodes", []))
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise source.error(
            f"the JSON chunk cannot be understood: {type(error).__name__}"
        ) from error
    if needed * max(1, used) > limits.MAX_EXPANSION_RATIO * source.size:
        raise source.error(
            f"the scene repeats its content {used} times", hint="export it as one plain mesh"
        )
    return data


FORMATS = [
    Format(
        "glb", (".glb",), read_glb, lambda s: s.head.startswith(b"glTF"), magic=True, about="meshes"
    ),
]
