"""Classes of the generated street: those of SemanticKITTI, in its order, and its numbers."""

from __future__ import annotations

CLASS_NAMES = (
    "car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist",
    "motorcyclist", "road", "parking", "sidewalk", "other-ground", "building", "fence",
    "vegetation", "trunk", "terrain", "pole", "traffic-sign",
)
(CAR, BICYCLE, MOTORCYCLE, TRUCK, OTHER_VEHICLE, PERSON, BICYCLIST, MOTORCYCLIST, ROAD, PARKING,
 SIDEWALK, OTHER_GROUND, BUILDING, FENCE, VEGETATION, TRUNK, TERRAIN, POLE, TRAFFIC_SIGN
 ) = range(len(CLASS_NAMES))
THINGS = range(MOTORCYCLIST + 1)
"""Classes whose objects are told apart."""
GROUND = (ROAD, PARKING, SIDEWALK, OTHER_GROUND, TERRAIN)
RAW = (10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81)
"""Number of each class in label files."""
RAW_MOVING = {CAR: 252, TRUCK: 258, OTHER_VEHICLE: 259, PERSON: 254, BICYCLIST: 253,
              MOTORCYCLIST: 255}
"""Numbers of things that move; a reader takes them for the same class."""
