"""Scene flow: how each point of a scan moves until the next one, without labels.

All estimators see clouds in one frame (the sensor's own motion is taken out first) and without the
ground, and return the residual flow: what a point moves by itself, in that frame.
"""
