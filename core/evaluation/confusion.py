"""Confusion: what systems call spoof and bona fide speech, by class and by attack, and how scores of the classes spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.calibration import Thresholds
from core.errors import CoreError
from core.evaluation.groupings import Group, groups_of
from core.evaluation.operating_points import scored_trials
from core.evaluation.system_records import System
from core.evaluation.trial_sets import TrialSet

_EXTREME_SHARE = 0.001
"""A histogram's end bins hold this share of each end's scores, however far out they lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMatrix:
    """Counts of a system at one threshold. Shares are None where the class has no scored trial."""

    system: str
    threshold: float | None
    """It says spoof from this score on; None for a baseline without scores."""
    true_spoof: int
    """Spoofs called spoof."""
    missed: int
    """Spoofs called bona fide."""
    false_alarm: int
    """Bona fide trials called spoof."""
    true_bona_fide: int
    """Bona fide trials called bona fide."""
    not_scored: int
    """Trials without a score: they are in no other count."""

    @property
    def num_spoof(self) -> int:
        """Spoofs with a score."""
        return self.true_spoof + self.missed

    @property
    def num_bona_fide(self) -> int:
        """Bona fide trials with a score."""
        return self.false_alarm + self.true_bona_fide

    @property
    def spoof_share_right(self) -> float | None:
        """Share of the spoofs called spoof."""
        return _share(self.true_spoof, self.num_spoof)

    @property
    def bona_fide_share_right(self) -> float | None:
        """Share of the bona fide trials called bona fide."""
        return _share(self.true_bona_fide, self.num_bona_fide)

    @property
    def accuracy(self) -> float | None:
        """Share of all trials called right."""
        return _share(self.true_spoof + self.true_bona_fide, self.num_spoof + self.num_bona_fide)

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of both classes' shares, as if there were as many of each."""
        if self.num_spoof == 0 or self.num_bona_fide == 0:
            return None
        return (self.spoof_share_right + self.bona_fide_share_right) / 2

    @property
    def sentence(self) -> str:
        """The figures in words, with what the balance of the classes does to the accuracy."""
        return (
            f"{self.system}: {_percent(self.bona_fide_share_right)} of bona fide speech and {_percent(self.spoof_share_right)} of"
            f" spoofs are called right. Accuracy is {_percent(self.accuracy)}, because {self.num_spoof:,} of"
            f" {self.num_spoof + self.num_bona_fide:,} trials are spoofs; with the classes weighted equally it is"
            f" {_percent(self.balanced_accuracy)}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """How many trials of a row got which verdict."""

    key: str
    """`human`, or the attack."""
    title: str
    description: str
    is_spoof: bool
    num_bona_fide: int
    num_inconclusive: int
    num_spoof: int
    num_refused: int
    """No score: refused or missing."""

    @property
    def num_trials(self) -> int:
        """All trials of the row."""
        return self.num_bona_fide + self.num_inconclusive + self.num_spoof + self.num_refused


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictTable:
    """Verdicts of a system, human first, then each attack."""

    system: str
    thresholds: Thresholds
    rows: tuple[VerdictRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreHistogram:
    """How the scores of each class spread; counts, and shares of the class so that the larger class doesn't hide the smaller."""

    system: str
    edges: np.ndarray
    """`[bin + 1]` rising. The end bins also hold what lies beyond."""
    num_bona_fide: np.ndarray
    """`[bin]`."""
    num_spoof: np.ndarray
    """`[bin]`."""

    @property
    def bona_fide_share(self) -> np.ndarray:
        """`[bin]` share of the bona fide trials; zeros where there are none."""
        return self.num_bona_fide / max(1, self.num_bona_fide.sum())

    @property
    def spoof_share(self) -> np.ndarray:
        """`[bin]` share of the spoofs; zeros where there are none."""
        return self.num_spoof / max(1, self.num_spoof.sum())


def confusion_matrix(system: System, threshold: float) -> ConfusionMatrix:
    """Counts of a system that says spoof from the threshold on."""
    scores, is_spoof = scored_trials(system)
    said_spoof = scores >= threshold
    return ConfusionMatrix(
        system=system.name,
        threshold=threshold,
        true_spoof=int(np.count_nonzero(said_spoof & is_spoof)),
        missed=int(np.count_nonzero(~said_spoof & is_spoof)),
        false_alarm=int(np.count_nonzero(said_spoof & ~is_spoof)),
        true_bona_fide=int(np.count_nonzero(~said_spoof & ~is_spoof)),
        not_scored=len(system.scores) - len(scores),
    )


def always_spoof(trial_set: TrialSet) -> ConfusionMatrix:
    """The baseline that calls every trial of a set spoof."""
    return ConfusionMatrix(
        system="Always spoof",
        threshold=None,
        true_spoof=trial_set.num_spoof,
        missed=0,
        false_alarm=trial_set.num_bona_fide,
        true_bona_fide=0,
        not_scored=0,
    )


def verdict_table(system: System, thresholds: Thresholds | None = None) -> VerdictTable:
    """Verdicts on bona fide speech and on each attack.

    Args:
        thresholds: the band of inconclusive scores; the system's own when None.

    Raises:
        CoreError: no thresholds given, and the system has none of its own.
    """
    thresholds = thresholds or system.thresholds
    if thresholds is None:
        raise CoreError(f"{system.name} was imported as scores and has no thresholds of its own; choose a lower and an upper one.")
    groups = [group for group in groups_of(system.trial_set, "attack") if group.kind != "total"]
    return VerdictTable(
        system=system.name, thresholds=thresholds, rows=tuple(_verdict_row(system.scores, group, thresholds) for group in groups)
    )


def score_histogram(system: System, num_bins: int = 60) -> ScoreHistogram:
    """How a system's scores spread in each class.

    Raises:
        CoreError: no score at all, or no bin.
    """
    scores, is_spoof = scored_trials(system)
    if len(scores) == 0 or num_bins < 1:
        raise CoreError(f"A histogram needs scores and at least one bin; {system.name} has {len(scores)} scores, bins: {num_bins}.")
    low, high = np.quantile(scores, [_EXTREME_SHARE, 1 - _EXTREME_SHARE])
    if low == high:  # all alike: a histogram of one bar needs a width
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, num_bins + 1)
    clipped = np.clip(scores, low, high)
    return ScoreHistogram(
        system=system.name,
        edges=edges,
        num_bona_fide=np.histogram(clipped[~is_spoof], edges)[0],
        num_spoof=np.histogram(clipped[is_spoof], edges)[0],
    )


def _verdict_row(all_scores: np.ndarray, group: Group, thresholds: Thresholds) -> VerdictRow:
    scores = all_scores[group.own]
    num_spoof = int(np.count_nonzero(scores >= thresholds.upper))
    num_bona_fide = int(np.count_nonzero(scores < thresholds.lower))
    num_refused = int(np.count_nonzero(~np.isfinite(scores)))
    return VerdictRow(
        key=group.key,
        title=group.title,
        description=group.description,
        is_spoof=group.kind == "group",
        num_bona_fide=num_bona_fide,
        num_inconclusive=len(scores) - num_spoof - num_bona_fide - num_refused,
        num_spoof=num_spoof,
        num_refused=num_refused,
    )


def _share(count: int, total: int) -> float | None:
    return count / total if total else None


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"
