"""Shapes made by the project itself: solids, the classes built of them, and their sampling."""
