"""Sequences of LiDAR scans, read lazily in each data set's own layout; see `open_sequence`."""

from pcinv_data.lidar.layouts import LAYOUTS, is_sequence, list_sequences, open_sequence
from pcinv_data.lidar.sequence import ScanSequence, SequenceWarning

__all__ = ["LAYOUTS", "ScanSequence", "SequenceWarning", "is_sequence", "list_sequences",
           "open_sequence"]
