"""Losses: functions from logits and targets to one value a cloud."""

from pcinv.losses.classification import smoothed_cross_entropy

__all__ = ["smoothed_cross_entropy"]
