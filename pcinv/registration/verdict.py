"""Whether a pose is to be trusted, and in words why not."""

from __future__ import annotations

from typing import NamedTuple

from pcinv.registration.result import Verdict

TRUSTED_SCORE = 7.0
"""From this score on 97 of 100 answers on real fragments of rooms are right (benchmarks)."""
FAILED_SCORE = 0.3
TRUSTED_INLIERS, LEAST_INLIERS = 13, 4
"""Matches of each kind of features that agree with a pose that is trusted, or not hopeless."""
LEAST_OVERLAP = 0.1
MOST_CONTRADICTION = 0.15
AMBIGUOUS = 0.6
"""Score of another pose, or its overlap, as a share of the best one's, from which there are two
answers."""
SAME_UNITS = 8.0
"""Clouds whose spacing and extent both differ more than this are not in the same units."""


_WEAK = "weak support"


class Evidence(NamedTuple):
    """What the verdict is made from; see `RegistrationResult` for the fields.

    kinds : of features, whose matches are counted together.
    """

    score: float
    inliers: int
    kinds: int
    correspondences: int
    overlap: float
    overlap_target: float
    contradiction: float
    runner_up: float
    runner_up_angle_deg: float
    open_motions: tuple[str, ...]
    shape: str


def judge_evidence(found: Evidence) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons; a trusted pose has none."""
    failures, doubts = [], []
    each = found.inliers / max(found.kinds, 1)
    if each < LEAST_INLIERS or found.score < FAILED_SCORE:
        failures.append(f"too little agrees: {found.inliers} of {found.correspondences} matches, "
                        f"score {found.score:.2g}")
    elif found.score < TRUSTED_SCORE or each < TRUSTED_INLIERS:
        doubts.append(f"{_WEAK}: {found.inliers} of {found.correspondences} matches agree, "
                      f"score {found.score:.2g}, trusted from {TRUSTED_INLIERS * found.kinds} and "
                      f"{TRUSTED_SCORE:g}")
    overlap = max(found.overlap, found.overlap_target)
    if overlap < LEAST_OVERLAP:
        failures.append(f"too little overlap: {overlap:.0%} of the points meet")
    if found.contradiction > MOST_CONTRADICTION:
        failures.append(f"free space violated: {found.contradiction:.0%} of the points would have "
                        "hidden what the other camera saw")
    if found.runner_up > AMBIGUOUS:
        doubts.append(f"ambiguous (symmetric or repeated): another pose, turned by "
                      f"{found.runner_up_angle_deg:.0f} degrees, fits "
                      f"{found.runner_up:.0%} as well")
    if found.open_motions:
        doubts.append(f"degenerate ({found.shape}): not determined: "
                      + "; ".join(found.open_motions))
    if failures:
        return "failed", tuple(failures + doubts)
    return ("suspect" if doubts else "trusted"), tuple(doubts)


def is_settled(verdict: Verdict, reasons: tuple[str, ...]) -> bool:
    """Return whether other guesses of the view points could not change a verdict.

    Another way to look at the clouds may find more support. It cannot make a symmetric shape any
    less so: that it does not notice is no reason to trust it.
    """
    return verdict == "trusted" or (
        verdict == "suspect" and not any(reason.startswith(_WEAK) for reason in reasons))
