"""Losses: functions from logits and targets to one value a cloud."""

from pcinv.losses.classification import log_prior, smoothed_cross_entropy

__all__ = ["log_prior", "smoothed_cross_entropy"]
