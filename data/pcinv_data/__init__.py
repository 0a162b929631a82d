"""Data sets for pcinv."""
