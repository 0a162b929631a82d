"""pcinv: 3D point clouds in arbitrary poses."""

__version__ = "0.1.0"
