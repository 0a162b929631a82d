"""Point clouds and meshes from files and to files, one module a format."""

from pcinv.io.formats import FORMATS, formats
from pcinv.io.h5 import open_h5, read_h5_array
from pcinv.io.reading import describe, read, read_cloud
from pcinv.io.source import FormatWarning
from pcinv.io.surface import sample_surface
from pcinv.io.writing import write

__all__ = [
    "FORMATS",
    "FormatWarning",
    "describe",
    "formats",
    "open_h5",
    "read",
    "read_cloud",
    "read_h5_array",
    "sample_surface",
    "write",
]
