"""JSON Lines: appended whole, cut back when a run is resumed."""

import pytest

from pcinv.engine.tracking import JsonLines, read_lines
from pcinv.errors import FileFormatError, LimitError


def test_lines_are_appended_and_cut_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    stream = JsonLines(path)
    stream.write({"epoch": 1})
    position = stream.position
    stream.write({"epoch": 2})
    stream.close()
    assert read_lines(path) == [{"epoch": 1}, {"epoch": 2}]
    stream = JsonLines(path, position)
    stream.write({"epoch": 2, "again": True})
    stream.close()
    assert read_lines(path) == [{"epoch": 1}, {"epoch": 2, "again": True}]


def test_a_position_beyond_the_file_adds_nothing(tmp_path):
    stream = JsonLines(tmp_path / "m", 1000)
    stream.write({"a": 1})
    stream.close()
    assert (tmp_path / "m").read_bytes() == b'{"a": 1}\n'


def test_a_line_without_its_end_is_left_out_and_a_bad_one_is_named(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b'{"a": 1}\n{"a": 2')
    assert read_lines(path) == [{"a": 1}]
    path.write_bytes(b'{"a": 1}\nrubbish\n')
    with pytest.raises(FileFormatError) as caught:
        read_lines(path)
    assert caught.value.where == f"{path}:2"


def test_a_full_disk_is_a_limit(tmp_path):
    with pytest.raises(LimitError):
        JsonLines(tmp_path / "absent/m")
    stream = JsonLines(tmp_path / "m")
    stream._stream.close()
    stream._stream = Full()
    with pytest.raises(LimitError, match="No space"):
        stream.write({"a": 1})


class Full:
    def write(self, data):
        return len(data) // 2
