"""From how common spoofs are and what errors cost to a threshold, and what verdicts are worth in a folder. Stores nothing.

Error rates are those that were measured on the detector's shipped test scores, with intervals over speakers. They hold for
recordings like those; a folder of telephone calls has others (see the page Stress test).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from core.calibration import Thresholds
from core.errors import CoreError
from core.evaluation.resampling import Interval, bootstrap_intervals, most_unseen
from core.evaluation.shipped_results import shipped_results
from core.evaluation.weighted_figures import FigureOfWeights, WeightedFigure
from core.reports import percent

PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of spoofs that the page offers."""
COST_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""How many missed spoofs a false accusation is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an analyst knows or decides before looking."""

    prevalence: float
    """Share of spoofs among the recordings, 0 to 1."""
    cost_ratio: float
    """Cost of calling a bona fide recording spoof over that of missing a spoof."""

    def __post_init__(self) -> None:
        if not 0 < self.prevalence < 1 or not 0 < self.cost_ratio < math.inf:
            raise CoreError(
                "The share of spoofs lies between 0 and 1 and the ratio of costs is above 0, "
                f"not {self.prevalence} and {self.cost_ratio}."
            )

    @property
    def threshold(self) -> float:
        """The spoof score from which calling a recording spoof costs least, in nats.

        Source: the Bayes decision for log-likelihood ratios, e.g. Brummer and du Preez (2006), "Application-independent
        evaluation of speaker detection", section 2: ln(C_fa (1 - p) / (C_miss p)).
        """
        return math.log(self.cost_ratio * (1 - self.prevalence) / self.prevalence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What verdicts at some thresholds are worth in a folder, each with its 95 % interval."""

    title: str
    thresholds: Thresholds
    false_accusations: Interval
    """Expected number of bona fide recordings that are called spoof."""
    missed: Interval
    """Expected number of spoofs that are called bona fide."""
    undecided: Interval
    """Expected number of inconclusive ones."""
    innocent_share: Interval
    """Share of bona fide recordings among those called spoof."""
    beyond: str = ""
    """Why its figures are extrapolated, in a sentence: a threshold beyond all measured scores. Empty where none lies there."""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row of a table."""
        counts = (_counted(interval) for interval in (self.false_accusations, self.missed, self.undecided))
        share = self.innocent_share
        return (self.title, *counts, f"{percent(share.value, 0)} ({percent(share.low, 0)} to {percent(share.high, 0)})")


def measured_scores(detector_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Shipped test scores of a detector, which are spoofs, and their speakers; None where none are shipped."""
    results = shipped_results()
    if results is None or detector_name not in results.scores:
        return None
    scores, trials = results.scores[detector_name], results.trial_set
    there = np.isfinite(scores)
    return scores[there], trials.is_spoof[there], trials.table["speaker"].to_numpy()[there]


def outlook(
    measured: tuple[np.ndarray, np.ndarray, np.ndarray], thresholds: Thresholds, policy: Policy, num_files: int, *, title: str
) -> Outlook:
    """What to expect of verdicts in a folder.

    Args:
        measured: as `measured_scores`.
        thresholds: below `lower` is bona fide, from `upper` on spoof.
        policy: says how many of the folder are spoofs.
        num_files: recordings that were judged.
        title: what the row is called.
    """
    scores, is_spoof, speakers = measured
    upper, lower = thresholds.upper, thresholds.lower
    num_spoof, num_bona_fide = num_files * policy.prevalence, num_files * (1 - policy.prevalence)

    def expected(of_bona_fide: np.ndarray, of_spoof: np.ndarray) -> WeightedFigure:
        """Sum over both classes of how many there are times the share for which that holds."""
        return lambda _, truth: (
            lambda weights: num_bona_fide * _share(weights, of_bona_fide, ~truth) + num_spoof * _share(weights, of_spoof, truth)
        )

    none = np.zeros(len(scores), dtype=bool)
    accused, cleared = scores >= upper, scores < lower

    def innocent(scores: np.ndarray, truth: np.ndarray) -> FigureOfWeights:
        wrongly, in_all = (expected(accused, of_spoof)(scores, truth) for of_spoof in (none, accused))
        return lambda weights: wrongly(weights) / np.maximum(in_all(weights), 1e-300)  # nobody accused: 0

    figures = {
        "false_accusations": expected(accused, none),
        "missed": expected(none, cleared),
        "undecided": expected(~accused & ~cleared, ~accused & ~cleared),
        "innocent_share": innocent,
    }
    found = bootstrap_intervals(figures, scores, is_spoof, groups=speakers)
    if not (accused & ~is_spoof).any():
        most = num_bona_fide * most_unseen(len(np.unique(speakers[~is_spoof])))
        right = num_spoof * accused[is_spoof].mean()
        found["false_accusations"] = replace(found["false_accusations"], high=most)
        found["innocent_share"] = replace(found["innocent_share"], high=most / (most + right))
    if not (cleared & is_spoof).any():
        found["missed"] = replace(found["missed"], high=num_spoof * most_unseen(len(np.unique(speakers[is_spoof]))))
    return Outlook(title=title, thresholds=thresholds, beyond=_beyond(scores, thresholds), **found)


def outlooks(detector_name: str, stored: Thresholds, policy: Policy, num_files: int) -> tuple[Outlook, ...]:
    """The stored verdicts, and those at the policy's own threshold; empty where nothing was measured."""
    measured = measured_scores(detector_name)
    if measured is None or not num_files:
        return ()
    best = Thresholds(lower=policy.threshold, upper=policy.threshold)
    return (
        outlook(measured, stored, policy, num_files, title=f"As stored: spoof from {stored.upper:+.2f}"),
        outlook(measured, best, policy, num_files, title=f"Cheapest: spoof from {policy.threshold:+.2f}"),
    )


def _beyond(scores: np.ndarray, thresholds: Thresholds) -> str:
    low, high = scores.min(), scores.max()
    sides = [(thresholds.upper, "above the highest")] if thresholds.upper > high else []
    sides += [(thresholds.lower, "below the lowest")] if thresholds.lower < low else []
    if not sides:
        return ""
    where = " and ".join(f"{threshold:+.2f} lies {side}" for threshold, side in sides)
    return (
        f"The threshold {where} of the {len(scores):,} measured scores ({low:+.2f} to {high:+.2f}): how many recordings score "
        "beyond it was not seen, and the figures are extrapolated."
    )


def _share(weights: np.ndarray, holds: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """Share of one class's weight for which something holds, `[resample]`."""
    return weights @ (holds & of_class) / (weights @ of_class)


def _counted(interval: Interval) -> str:
    return f"{interval.value:,.0f} ({interval.low:,.0f} to {interval.high:,.0f})"
