"""From a score file that fits its trials to a system: which sign it has. Flips an inverted one only when told."""

from __future__ import annotations

from typing import Literal

import numpy as np

from core.errors import InvertedScoresError, ScoreFileError
from core.evaluation.score_files import HigherMeans, ScoreTable
from core.evaluation.score_matching import MatchReport, match
from core.evaluation.system_records import System
from core.evaluation.trial_sets import TrialSet
from core.metrics import area_under_curve

Sign = Literal["check", "flip", "keep"]
"""What to do about the sign: refuse an inverted file; flip it; take it as declared, be it worse than chance."""


def is_inverted(scores: np.ndarray, is_spoof: np.ndarray) -> bool:
    """Whether spoof scores put bona fide speech above spoofs more often than below: an AUC below 0.5.

    Raises:
        CoreError: one class only among the trials with a score.
    """
    has_score = np.isfinite(scores)
    return area_under_curve(scores[has_score], is_spoof[has_score]) < 0.5


def system_of(
    table: ScoreTable,
    trial_set: TrialSet,
    *,
    name: str,
    higher_means: HigherMeans | None = None,
    sign: Sign = "check",
    allow_missing: bool = False,
) -> System:
    """The system whose score file this is, on these trials.

    Args:
        trial_set: from a protocol, the store, or the file's own labels (`ScoreTable.trial_set`).
        higher_means: what a high score means; by the file's form when None.
        sign: what to do about an inverted file.
        allow_missing: whether trials may be without a score.

    Raises:
        ScoreFileError: the file does not fit the trials, one class only has scores, or a flip is asked that would invert.
        InvertedScoresError: the file is inverted and `sign` is `check`.
    """
    report = match(table, trial_set)
    report.check(allow_missing=allow_missing)
    _check_classes(table, report, trial_set)
    declared = higher_means or table.higher_means
    scores = report.scores if declared == "spoof" else -report.scores
    inverted = is_inverted(scores, trial_set.is_spoof) if sign != "keep" else False
    other = "bona fide" if declared == "spoof" else "spoof"
    if inverted and sign == "check":
        raise InvertedScoresError(
            f"{table.name} looks inverted: with high scores meaning {declared}, it puts bona fide speech above spoofs more often"
            f" than below (AUC below 0.5). High scores seem to mean {other}. Nothing was flipped: say so, and the sign is turned."
        )
    if sign == "flip" and not inverted:
        raise ScoreFileError(
            f"{table.name} is not inverted: with high scores meaning {declared} its AUC is not below 0.5, so that a flip would"
            " invert it. Leave the flip out."
        )
    num_missing = len(scores) - report.num_scored
    return System(
        name=name,
        trial_set=trial_set,
        scores=-scores if sign == "flip" else scores,
        thresholds=None,
        origin="imported",
        is_flipped=sign == "flip",
        note=f"{num_missing} {'trial has' if num_missing == 1 else 'trials have'} no score" if num_missing else "",
    )


def _check_classes(table: ScoreTable, report: MatchReport, trial_set: TrialSet) -> None:
    has_score = np.isfinite(report.scores)
    if not has_score.any():
        raise ScoreFileError(f"{table.name} has no score for any trial of {trial_set.name}.")
    of_scored = trial_set.is_spoof[has_score]
    if of_scored.all() or not of_scored.any():
        only = "spoof" if of_scored.all() else "bona fide"
        raise ScoreFileError(
            f"{table.name}, lines {table.line_numbers[0]} to {table.line_numbers[-1]}: all {int(has_score.sum())} scored trials are"
            f" {only}; error rates need both bona fide speech and spoofs."
        )
