"""LZF decompression with bounds, as PCD's binary_compressed needs it (Lehmann, liblzf)."""

from __future__ import annotations


def decompress_lzf(data: bytes, size: int) -> bytes:
    """Return the `size` bytes that `data` stands for.

    Raises
    ------
    ValueError : the data ends early, points before its start, or gives more or less than `size`.
    """
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        control = data[at]
        at += 1
        if control < 32:  # the next control + 1 bytes as they are
            stop = at + control + 1
            if stop > end:
                raise ValueError(f"literal run cut off at byte {at}")
            out += data[at:stop]
            at = stop
        else:  # a copy of what lies `back` bytes behind
            length = control >> 5
            if length == 7 and at < end:
                length += data[at]
                at += 1
            if at >= end:
                raise ValueError(f"reference cut off at byte {at}")
            back = ((control & 31) << 8 | data[at]) + 1
            at += 1
            length += 2
            start = len(out) - back
            if start < 0:
                raise ValueError(f"reference before the start at byte {at}")
            if back >= length:
                out += out[start : start + length]
            else:  # the copy overlaps what it writes
                piece = bytes(out[start:])
                out += (piece * (length // back + 1))[:length]
        if len(out) > size:
            raise ValueError(f"more than the promised {size} bytes")
    if len(out) != size:
        raise ValueError(f"{len(out)} of the promised {size} bytes")
    return bytes(out)
