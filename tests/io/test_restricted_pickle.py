"""Pickles: plain data comes through unchanged, and nothing in a file is ever run."""

import functools
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcinv.errors import FileFormatError, LimitError, PcinvError
from pcinv.io import read, restricted_pickle
from pcinv.io.restricted_pickle import read_pickle, read_torch_array

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "3DMatch"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def stored(tmp_path):
    """Return a function that writes bytes to a file and gives its path."""
    def write(data: bytes) -> Path:
        file = tmp_path / "list.pkl"
        file.write_bytes(data)
        return file
    return write


def pair_list(count=5):
    rng = np.random.default_rng(0)
    return {
        "src": [f"test/kitchen/cloud_bin_{k}.pth" for k in range(count)],
        "tgt": [f"test/kitchen/cloud_bin_{k + 1}.pth" for k in range(count)],
        "rot": rng.random((count, 3, 3)), "trans": [rng.random((3, 1)) for _ in range(count)],
        "overlap": [np.float64(0.25 * k) for k in range(count)],
    }


def same(a, b):
    if isinstance(a, np.ndarray | np.generic):
        return (type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
                and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_comes_through_in_every_protocol(stored, protocol):
    shared = np.arange(6.0).reshape(2, 3)
    content = pair_list() | {
        "twice": [shared, shared], "fortran": np.asfortranarray(shared), "none": np.zeros((0, 3)),
        "scalar": np.array(3.0), "texts": np.array(["a", "öß"]), "raw": np.array([b"ab", b"c"]),
        "kinds": [np.ones(3, dtype=t) for t in ("u1", "i2", "i8", "f4", "f2", ">i4", "?")],
        "plain": (1, -(2**70), 1.5, True, None, "t", b"", b"\x00\xff", (), ("x",), [[]]),
        "sets": [{1, 2}, frozenset({"a"})], "order": OrderedDict(a=1),
    }
    found = read_pickle(stored(pickle.dumps(content, protocol)))
    content["kinds"][5] = content["kinds"][5].astype("i4")  # native order
    content["order"] = {"a": 1}
    assert same(found, content)
    found["rot"][0] = 0  # an array of one's own


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(), lambda inner: st.lists(inner) | st.tuples(inner, inner)
    | st.dictionaries(st.text(), inner), max_leaves=20), st.sampled_from(PROTOCOLS))
def test_any_plain_data_is_as_python_reads_it(tmp_path, content, protocol):
    file = tmp_path / "any.pkl"
    file.write_bytes(pickle.dumps(content, protocol))
    assert same(read_pickle(file), content)


class Runs:
    """What a pickle of this runs when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place", [
    lambda evil: evil, lambda evil: {"src": [evil]}, lambda evil: {**pair_list(), "rot": (evil,)},
    lambda evil: np.array([evil], dtype=object),
], ids=["alone", "in a list", "beside arrays", "in an array"])
def test_a_hostile_pickle_is_refused_and_not_run(stored, tmp_path, protocol, place):
    marker = tmp_path / "marker"
    file = stored(pickle.dumps(place(Runs(os.mkdir, str(marker))), protocol))
    with pytest.raises(FileFormatError) as caught:
        read_pickle(file)
    assert not marker.exists() and caught.value.exit_code == 3
    assert caught.value.where.startswith(str(file)) and "byte" in caught.value.where
    assert caught.value.hint
    pickle.loads(file.read_bytes())  # the negative control: it would have run
    assert marker.exists()


@pytest.mark.parametrize("function, arguments", [
    (os.system, ("true",)), (eval, ("1",)), (exec, ("pass",)), (getattr, ([], "append")),
    (subprocess.Popen, (["true"],)), (functools.partial, (print,)), (np.load, ("x.npy",)),
    (np.fromfile, ("/etc/passwd",)), (__import__, ("os",)), (open, ("/etc/passwd",)),
    (np.array, ([1],)), (type, ("a",)),
    (io.BytesIO, ()), (bytearray, (1 << 40,)), (Path, ("a",)),
])
def test_the_forbidden_name_is_told(stored, function, arguments):
    for protocol in (0, 2, 4):
        with pytest.raises(FileFormatError) as caught:
            read_pickle(stored(pickle.dumps(Runs(function, *arguments), protocol)))
        name = getattr(function, "__qualname__", type(function).__name__)
        assert f".{name}, which is not allowed" in caught.value.message
        assert "nothing was run" in caught.value.message


@pytest.mark.parametrize("data, says", [
    (b"(S'true'\nios\nsystem\n.", "os.system, which"),  # INST
    (b"cos\nsystem\n(S'true'\ntR.", "os.system, which"),
    (b"(cos\nsystem\nS'true'\no.", "os.system, which"),  # OBJ
    (b"\x80\x02cos\nsystem\n)\x81.", "os.system, which"),  # NEWOBJ
    (b"\x80\x02cnumpy\nndarray\n)\x81.", "NEWOBJ has no place"),
    (b"\x80\x02cnumpy\nndarray\n}b.", "damaged"),  # BUILD of a class
    (b"\x80\x02cnumpy\nndarray\n(K\xff\x85tR.", "damaged"),  # a call of a class
    (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00punyc\x86R.", "latin-1"),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system, which"),  # STACK_GLOBAL
    (b"\x80\x04\x8c\x02osK\x01\x93.", "damaged"),
    (b"\x80\x02U\x01aQ.", "torch tensor"),  # BINPERSID
    (b"\x82\x01.", "EXT1 has no place"),
    (b"cos\x1b[31m\nsystem\n.", r"os\x1b[31m.system"),  # no control characters on the screen
    (b"\x80\x05\x97.", "NEXT_BUFFER has no place"),
    (b"\x80\x02}\x85}K\x01s.", "damaged"),
    (b"\x80\x02}(K\x01u.", "damaged"),  # a key without a value
    (b"\x80\x02}))s.", "makes no sense"),  # a tuple as key
    (b"\x80\x02]", "damaged"), (b"R.", "damaged"), (b".", "damaged"), (b"h\x07.", "damaged"),
    (b"t.", "damaged"), (b"\xff\xfe\xfd", "damaged"), (b"no pickle at all", "damaged"),
], ids=range(24))
def test_hand_made_pickles_are_refused(stored, data, says):
    with pytest.raises(FileFormatError) as caught:
        read_pickle(stored(data))
    assert says in str(caught.value)


def array_pickle(shape, kind, raw, state=(3, "<", None, None, None, -1, -1, 0)):
    class Array:
        def __reduce__(self):
            return np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), (
                1, shape, Type(), False, raw)

    class Type:
        def __reduce__(self):
            return np.dtype, (kind, False, True), state
    return pickle.dumps(Array(), 2)


def test_the_maker_of_bad_arrays_can_make_good_ones(stored):
    assert read_pickle(stored(array_pickle((2,), "f8", bytes(16)))).tolist() == [0, 0]


@pytest.mark.parametrize("shape, kind, raw, more", [
    ((3,), "f8", bytes(16), {}), ((2**60,), "f8", bytes(16), {}), ((-1,), "f8", bytes(16), {}),
    ((2**62, 0), "f8", b"", {}), ((2.0,), "f8", bytes(16), {}), ([2], "f8", bytes(16), {}),
    ((2,), "O8", bytes(16), {}), ((2,), "V8", bytes(16), {}), ((2,), "f7", bytes(14), {}),
    ((10**12,), "U0", b"", {}), ((2,), "M8", bytes(16), {}), ((1,), "U1", b"\xff" * 4, {}),
    ((2,), "f8", [1.0, 2.0], {}), ((2,), "f8", None, {}), ((1,) * 100, "f8", bytes(8), {}),
    ((2,), "f8", bytes(16), {"state": (3, "<", ("f4", (2,)), None, None, -1, -1, 0)}),
    ((2,), "f8", bytes(16), {"state": (3, "<", None, ("a",), {"a": 1}, -1, -1, 0)}),
    ((2,), "f8", bytes(16), {"state": (3, "!", None, None, None, -1, -1, 0)}),
    ((2,), "f8", bytes(16), {"state": (3,)}),
], ids=range(19))
def test_arrays_that_cannot_be_are_refused(stored, shape, kind, raw, more):
    with pytest.raises(FileFormatError, match="damaged"):
        read_pickle(stored(array_pickle(shape, kind, raw, **more)))


def test_an_array_without_content_is_refused(stored):
    head = pickle.dumps(np.zeros(3), 2)
    cut = head[: head.index(b"(K\x01K\x03\x85")] + b"."
    with pytest.raises(FileFormatError, match="without content"):
        read_pickle(stored(cut))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_cut_is_noticed(stored, protocol):
    data = pickle.dumps(pair_list(2), protocol)
    for length in range(1, len(data)):
        with pytest.raises(FileFormatError, match="pickle is damaged"):
            read_pickle(stored(data[:length]))


def test_changed_bytes_give_data_or_a_typed_error(stored):
    rng = np.random.default_rng(0)
    refused = 0
    for protocol in PROTOCOLS:
        good = pickle.dumps(pair_list(2), protocol)
        for _ in range(300):
            data = bytearray(good)
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                data[place] = rng.integers(256)
            try:
                read_pickle(stored(bytes(data)))
            except PcinvError as error:
                refused += 1
                assert error.exit_code in (3, 7) and error.where
    assert refused > 300


@pytest.mark.parametrize("data", [
    b"\x80\x02Nr\xff\xff\xff\x7f.",  # a memo of 2^31 entries
    b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"a.",  # a text of 2^62 bytes
    b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"a.",
    b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    b"c_codecs\nencode\nV" + b"a" * 10_000 + b"\nVlatin1\n\x86p1\n0" + b"(" + b"g1\n" * 9 + b"l.",
], ids=["memo", "text", "bytearray", "integer", "pop"])
def test_sizes_in_the_file_are_not_believed(stored, data):
    file = stored(data)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError):
            if read_pickle(file) is None:  # the memo alone is harmless here
                raise FileFormatError("")
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("call", [
    b"c_codecs\nencode\n" + b"V" + b"a" * 500_000 + b"\nVlatin1\n\x86p1\n",
    b"c__builtin__\nset\n" + b"(" + b"".join(b"I%d\n" % k for k in range(50_000)) + b"l\x85p1\n",
], ids=["bytes", "set"])
def test_calls_cannot_multiply_the_content(stored, call):
    name = call[: call.index(b"\n", call.index(b"\n") + 1) + 1]
    many = b"(" + call + b"R" + (name + b"g1\nR") * 200 + b"l."
    with pytest.raises(FileFormatError, match="many times its size"):
        read_pickle(stored(many))


def test_deep_nesting_is_no_danger(stored):
    depth = 200_000
    found = read_pickle(stored(b"]" * depth + b"a" * (depth - 1) + b"."))
    for _ in range(depth - 1):
        (found,) = found
    assert found == []
    with pytest.raises(FileFormatError, match="makes no sense"):  # its hash would recurse
        read_pickle(stored(b"})" + b"\x85" * depth + b"Ns."))


def test_too_many_opcodes(stored, monkeypatch):
    monkeypatch.setattr(restricted_pickle, "MAX_OPERATIONS", 1000)
    with pytest.raises(LimitError, match="MAX_OPERATIONS = 1000"):
        read_pickle(stored(pickle.dumps(list(range(5000)))))


def torch_bytes(content, zipped=False):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_arrays_of_torch_save(stored, zipped, kind):
    array = np.random.default_rng(1).random((50, 3)).astype(kind)
    found = read_torch_array(stored(torch_bytes(array, zipped)))
    assert same(found, array)


@pytest.mark.parametrize("zipped", [False, True])
def test_torch_save_of_anything_else(stored, zipped, tmp_path):
    with pytest.raises(FileFormatError, match=r"torch\._utils\._rebuild_tensor_v2, which is not"):
        read_torch_array(stored(torch_bytes(torch.zeros(3), zipped)))
    with pytest.raises(FileFormatError, match=r"mkdir, which is not"):
        read_torch_array(stored(torch_bytes(Runs(os.mkdir, str(tmp_path / "marker")), zipped)))
    assert not (tmp_path / "marker").exists()
    with pytest.raises(FileFormatError, match="of a list, expected one numpy array"):
        read_torch_array(stored(torch_bytes([1], zipped)))


@pytest.mark.parametrize("data, says", [
    (pickle.dumps(np.zeros((2, 3))), "not one of torch.save"), (b"PK\x03\x04 rest", "archive"),
    (torch_bytes(np.zeros((2, 3)))[:100], "damaged"), (pickle.dumps(7), "not one of torch.save"),
    (torch_bytes(np.zeros((200, 3)), zipped=True)[:2000], "archive is damaged"),
    (torch_bytes(np.zeros((2, 3))).replace(b"M\xe9\x03.", b"M\xe8\x03.", 1), "version"),
], ids=range(6))
def test_files_that_torch_did_not_save(stored, data, says):
    with pytest.raises(FileFormatError, match=says):
        read_torch_array(stored(data))


def test_a_file_that_is_not_there_or_empty(tmp_path, stored):
    for reader in (read_pickle, read_torch_array):
        with pytest.raises(FileFormatError, match="no such file"):
            reader(tmp_path / "nope.pkl")
        with pytest.raises(FileFormatError, match="empty"):
            reader(stored(b""))


def test_torch_is_not_imported():
    code = "import sys, pcinv.io.restricted_pickle; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_real_fragments_are_those_of_the_ply_files():
    files = sorted(REAL.glob("indoor/test/*/cloud_bin_*.pth"))
    if not files:
        pytest.skip("no 3DMatch/indoor in ../shared/data")
    for file in files:
        points = read_torch_array(file)
        ply = read(REAL / "fragments" / file.parent.name / f"{file.stem}.ply")
        assert points.dtype == np.float64 and np.array_equal(points, ply.absolute())
