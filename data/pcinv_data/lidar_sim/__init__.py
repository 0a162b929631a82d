"""Generated streets that a spinning LiDAR drives through, with exact truth; see `lidar_sim`."""

from pcinv_data.lidar_sim.classes import CLASS_NAMES
from pcinv_data.lidar_sim.sequence import StreetSequence, lidar_sim, make_clip

__all__ = ["CLASS_NAMES", "StreetSequence", "lidar_sim", "make_clip"]
