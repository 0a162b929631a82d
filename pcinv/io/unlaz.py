"""Unpack a LAZ file to LAS on standard output; run as a program of its own, within a memory limit.

    python unlaz.py FILE BYTES

lazrs believes the sizes in a LAZ file and ends the process when it cannot allocate them, so a
damaged file must not be unpacked in the process of the user.
"""

from __future__ import annotations

import io
import sys


def main(path: str, ceiling: int) -> None:
    """Write the file at `path` uncompressed, using at most `ceiling` bytes of address space."""
    try:
        import resource
    except ImportError:  # not on Windows
        pass
    else:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or hard > ceiling:
            resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    import laspy

    content = io.BytesIO()
    with laspy.open(path, laz_backend=laspy.LazBackend.Lazrs) as reader:
        reader.read().write(content, do_compress=False)
    sys.stdout.buffer.write(content.getvalue())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
