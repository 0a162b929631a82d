"""Ceilings that every reader obeys; each error that hits one names it."""

from __future__ import annotations

MAX_FILE_BYTES = 8 * 2**30
MAX_POINTS = 200_000_000
MAX_HEADER_BYTES = 2**20
MAX_LINE_BYTES = 64 * 2**10
MAX_EXPANSION_RATIO = 200
"""Declared bytes of an array may be at most this many times the bytes that store it."""
MAX_H5_EXPANSION_RATIO = 1_000
