"""Rooms to train on: whole files or none, made once, damage named, apart from the test set."""

import numpy as np
import pytest

from pcinv.errors import DatasetError, UnknownNameError
from pcinv_data import room_store
from pcinv_data.room_pairs import ROOMS
from pcinv_data.room_store import FIRST_SEED, load_rooms, read_room, room_files, write_room
from pcinv_data.rooms import Fragment


@pytest.fixture
def quick(monkeypatch):
    """Rooms of noise: what is stored is of no matter here."""
    made = []

    def scan(room, seed, count):
        made.append(seed)
        rng = np.random.default_rng(seed)
        return [Fragment(rng.normal(size=(50 + k, 3)), np.zeros((1, 3)), np.eye(4) * (k + 1),
                         np.zeros((1, 4, 4))) for k in range(seed % 3)]

    monkeypatch.setattr(room_store, "make_room", lambda seed: seed)
    monkeypatch.setattr(room_store, "scan_room", scan)
    return made


def test_rooms_are_made_once_and_read_as_they_were(quick, tmp_path):
    rooms = load_rooms("rooms", tmp_path, 4)
    assert quick == [FIRST_SEED + k for k in range(4)]
    again = load_rooms("rooms", tmp_path, 5)
    assert quick == [FIRST_SEED + k for k in range(5)]
    full = [seed for seed in quick[:4] if seed % 3]  # a room too narrow has no fragments
    assert len(rooms) == len(full)
    for room, same, seed in zip(rooms, again, full, strict=False):
        assert len(room.fragments) == seed % 3
        expected = np.random.default_rng(seed).normal(size=(50, 3)).astype(np.float32)
        assert np.array_equal(room.fragments[0], expected)
        assert np.array_equal(room.fragments[0], same.fragments[0])
        assert np.array_equal(room.T_room_fragment[0], np.eye(4))


def test_the_same_seed_gives_the_same_bytes(quick, tmp_path):
    one, other = (write_room(7, tmp_path / name).read_bytes() for name in ("a.npz", "b.npz"))
    assert one == other


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"x" * 1000])
def test_a_damaged_file_is_named(quick, tmp_path, data):
    (file,) = room_files(tmp_path, 1)
    file.parent.mkdir()
    file.write_bytes(data)
    with pytest.raises(DatasetError, match=r"room-00000|cannot be read"):
        read_room(file)
    with pytest.raises(DatasetError):
        load_rooms("rooms", tmp_path, 1)


def test_no_room_is_one_of_the_test_set():
    assert FIRST_SEED >= ROOMS


def test_other_sets_are_unknown(tmp_path):
    with pytest.raises(UnknownNameError, match="room"):
        load_rooms("room", tmp_path)
