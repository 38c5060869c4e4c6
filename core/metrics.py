"""Figures of merit from spoof scores (higher means spoof) and labels. No files; intervals are in `resampling`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.errors import CoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a detector does at one threshold, each in 0..1; spoof is the class to be found."""

    miss: float
    """Share of the spoofs that are called bona fide."""
    false_alarm: float
    """Share of the bona fide trials that are called spoof."""
    accuracy: float
    balanced_accuracy: float
    precision: float
    """Share of the trials called spoof that are spoof; NaN where none is called spoof."""
    recall: float
    """Share of the spoofs that are called spoof."""
    f1: float
    """Harmonic mean of precision and recall; 0 where no spoof is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionCosts:
    """How often spoofs come, and what the two errors cost."""

    prior_spoof: float
    cost_miss: float
    """Of a spoof called bona fide."""
    cost_false_alarm: float
    """Of bona fide speech called spoof."""

    def __post_init__(self) -> None:
        if not 0 < self.prior_spoof < 1:
            raise CoreError(f"prior_spoof is {self.prior_spoof}; expected a value between 0 and 1")
        if not (0 < self.cost_miss < math.inf and 0 < self.cost_false_alarm < math.inf):
            raise CoreError(f"costs must be positive and finite, got {self.cost_miss} and {self.cost_false_alarm}")

    @property
    def threshold(self) -> float:
        """The log-likelihood ratio from which on calling a trial spoof is the cheaper guess."""
        alarm, miss = self.cost_false_alarm * (1 - self.prior_spoof), self.cost_miss * self.prior_spoof
        return math.log(alarm / miss)


# Evaluation plan of ASVspoof 5 (2024), track 1: spoofs are 5 % of the trials, and to accept one costs ten times what it
# costs to reject bona fide speech. (The plan's "miss" is of bona fide speech; ours is of a spoof.)
ASVSPOOF_5 = DetectionCosts(prior_spoof=0.05, cost_miss=10.0, cost_false_alarm=1.0)


def equal_error_rate(scores: np.ndarray, is_spoof: np.ndarray) -> tuple[float, float]:
    """Equal error rate and its threshold, interpolated between the two operating points around the crossing.

    Args:
        scores: `[trial]`, higher means spoof.
        is_spoof: `[trial]` bool.

    Returns:
        EER in 0..1; the score at which misses and false alarms are equal.

    Raises:
        CoreError: one class only, or a score that is not finite.
    """
    thresholds, miss, false_alarm = error_rates(scores, is_spoof)
    eer, crossing, share = crossing_of(miss, false_alarm)
    if share == 1.0:  # exactly a trial's score, which rounding must not move
        return float(eer), float(thresholds[crossing])
    threshold = thresholds[crossing - 1] + share * (thresholds[crossing] - thresholds[crossing - 1])
    return float(eer), float(threshold)


def crossing_of(miss: np.ndarray, false_alarm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the error rates cross, for one curve or many: `[..., point]`, as `error_rates` gives them.

    Returns:
        The EER `[...]`, the first point at which miss >= false alarm, and how far the crossing lies on the way to it
        from the point before (1 when it is that point).
    """
    # The first point has miss 0 and false alarm 1, so that there is always one before the crossing.
    crossing = np.argmax(miss >= false_alarm, axis=-1)
    miss_at, alarm_at = (np.take_along_axis(rate, crossing[..., None], -1)[..., 0] for rate in (miss, false_alarm))
    miss_before, alarm_before = (np.take_along_axis(rate, crossing[..., None] - 1, -1)[..., 0] for rate in (miss, false_alarm))
    before, after = alarm_before - miss_before, miss_at - alarm_at
    share = before / (before + after)
    return np.where(after == 0, miss_at, miss_before + share * (miss_at - miss_before)), crossing, share


def error_rates(scores: np.ndarray, is_spoof: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Miss rate (spoof scored below) and false alarm rate (bona fide at or above) at every distinct threshold.

    Returns:
        thresholds `[n]` rising, miss `[n]` rising, false alarm `[n]` falling. The first point accepts all as spoof
        (miss 0, false alarm 1), the last lies just above the largest score (miss 1, false alarm 0).

    Raises:
        CoreError: as `equal_error_rate`.
    """
    thresholds, spoof_below, bona_fide_below = _counts_below(scores, is_spoof)
    return thresholds, spoof_below / spoof_below[-1], 1.0 - bona_fide_below / bona_fide_below[-1]


def asvspoof_equal_error_rate(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """EER as the ASVspoof organisers take it, in 0..1: only to compare with published figures.

    The mean of both error rates at the operating point where they are nearest, not interpolated; every trial is a
    point of its own, bona fide before spoofs among equal scores. On few trials it is coarse. Where all scores are equal it is
    0.5: the organisers' order of equals would make 1 of a detector that says nothing.

    Source: ASVspoof consortium (2019), "ASVspoof 2019 evaluation plan", evaluation measures.
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
    if scores.min() == scores.max():
        return 0.5
    # Rising bona fide score: the bona fide come first among equals.
    spoof = is_spoof[np.lexsort((is_spoof, -scores))]
    rejected_bona_fide = np.concatenate([[0.0], np.cumsum(~spoof) / (~spoof).sum()])
    accepted_spoof = np.concatenate([[1.0], 1.0 - np.cumsum(spoof) / spoof.sum()])
    nearest = np.argmin(np.abs(rejected_bona_fide - accepted_spoof))
    return float((rejected_bona_fide[nearest] + accepted_spoof[nearest]) / 2)


def area_under_curve(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a spoof scores above a bona fide trial, ties counting half."""
    _, miss, false_alarm = error_rates(scores, is_spoof)
    return float(-np.trapezoid(1.0 - miss, false_alarm))


def log_likelihood_ratio_cost(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """Cllr in bits: 0 is perfect, 1 is what a detector that says nothing gets.

    Source: Brummer and du Preez (2006), "Application-independent evaluation of speaker detection", eq. 11.
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
    spoof_cost = np.logaddexp(0.0, -scores[is_spoof]).mean()
    bona_fide_cost = np.logaddexp(0.0, scores[~is_spoof]).mean()
    return float((spoof_cost + bona_fide_cost) / (2 * np.log(2)))


def min_log_likelihood_ratio_cost(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """Cllr in bits after the best rising map of the scores: what is lost by their order alone, whatever their scale.

    The map is isotonic regression (pool adjacent violators): within each pooled block the likelihood ratio is that of
    the block's trials. A block of one class costs nothing.

    Source: Brummer and du Preez (2006), "Application-independent evaluation of speaker detection".
    """
    _, spoof_below, bona_fide_below = _counts_below(scores, is_spoof)
    hull = hull_points(spoof_below, bona_fide_below)
    spoof, bona_fide = np.diff(spoof_below[hull]), np.diff(bona_fide_below[hull])
    num_spoof, num_bona_fide = spoof_below[-1], bona_fide_below[-1]
    mixed = (spoof > 0) & (bona_fide > 0)
    ratio = spoof[mixed] * num_bona_fide / (bona_fide[mixed] * num_spoof)
    spoof_cost = (spoof[mixed] * np.log2(1 + 1 / ratio)).sum() / num_spoof
    bona_fide_cost = (bona_fide[mixed] * np.log2(1 + ratio)).sum() / num_bona_fide
    return float((spoof_cost + bona_fide_cost) / 2)


def hull_points(spoof_below: np.ndarray, bona_fide_below: np.ndarray) -> np.ndarray:
    """Which operating points are corners of the convex hull below the DET curve, rising; both ends are among them.

    At one of them the cost is least whatever errors cost, and they bound the blocks that pool-adjacent-violators makes.

    Args:
        spoof_below: `[point]`, spoofs below each threshold (a count, or a share as miss is).
        bona_fide_below: the same of bona fide trials (1 - false alarm).
    """
    from scipy.optimize import isotonic_regression

    spoof, bona_fide = np.diff(spoof_below), np.diff(bona_fide_below)
    return isotonic_regression(spoof / (spoof + bona_fide), weights=spoof + bona_fide).blocks


def detection_rates(scores: np.ndarray, is_spoof: np.ndarray, threshold: float) -> Rates:
    """Error rates, accuracies, precision, recall and F1 when scores at or above the threshold are called spoof."""
    scores, is_spoof = checked_trials(scores, is_spoof)
    said_spoof = scores >= threshold
    return rates_from_counts(
        hits=np.count_nonzero(said_spoof & is_spoof),
        alarms=np.count_nonzero(said_spoof & ~is_spoof),
        num_spoof=np.count_nonzero(is_spoof),
        num_bona_fide=np.count_nonzero(~is_spoof),
    )


def rates_from_counts(*, hits: int, alarms: int, num_spoof: int, num_bona_fide: int) -> Rates:
    """Rates from how many of each class are called spoof: `hits` spoofs, `alarms` bona fide. Arrays give arrays."""
    passed = num_bona_fide - alarms
    said_spoof = np.maximum(hits + alarms, 1)
    precision = np.where(hits + alarms > 0, hits / said_spoof, np.nan)
    return Rates(
        miss=(num_spoof - hits) / num_spoof,
        false_alarm=alarms / num_bona_fide,
        accuracy=(hits + passed) / (num_spoof + num_bona_fide),
        balanced_accuracy=(hits / num_spoof + passed / num_bona_fide) / 2,
        precision=precision if precision.ndim else float(precision),
        recall=hits / num_spoof,
        f1=2 * hits / (num_spoof + hits + alarms),
    )


def accuracy(scores: np.ndarray, is_spoof: np.ndarray, *, threshold: float = 0.0) -> float:
    """Share of all trials called right when scores at or above the threshold are called spoof."""
    return detection_rates(scores, is_spoof, threshold).accuracy


def balanced_accuracy(scores: np.ndarray, is_spoof: np.ndarray, *, threshold: float = 0.0) -> float:
    """Mean of the two classes' accuracies when scores at or above the threshold are called spoof."""
    return detection_rates(scores, is_spoof, threshold).balanced_accuracy


def detection_cost(miss: np.ndarray, false_alarm: np.ndarray, costs: DetectionCosts) -> np.ndarray:
    """DCF of error rates: the expected cost of a trial, over that of the better of the two answers that never change.

    1 is what a detector gets that says nothing; at thresholds far off it is more.
    """
    of_misses, of_alarms = costs.cost_miss * costs.prior_spoof, costs.cost_false_alarm * (1 - costs.prior_spoof)
    return (of_misses * miss + of_alarms * false_alarm) / min(of_misses, of_alarms)


def min_detection_cost(scores: np.ndarray, is_spoof: np.ndarray, costs: DetectionCosts) -> float:
    """min DCF: the cost at the best threshold for these trials, at most 1."""
    _, miss, false_alarm = error_rates(scores, is_spoof)
    return float(detection_cost(miss, false_alarm, costs).min())


def actual_detection_cost(scores: np.ndarray, is_spoof: np.ndarray, costs: DetectionCosts) -> float:
    """Actual DCF: the cost at `costs.threshold`, of scores that claim to be log-likelihood ratios (nats)."""
    rates = detection_rates(scores, is_spoof, costs.threshold)
    return float(detection_cost(rates.miss, rates.false_alarm, costs))


def _counts_below(scores: np.ndarray, is_spoof: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds as `error_rates` has them, and the spoofs and bona fide trials below each, `[point]`."""
    scores, is_spoof = checked_trials(scores, is_spoof)
    order = np.argsort(scores, kind="stable")
    ordered, spoof = scores[order], is_spoof[order]
    # Position of the first trial of each distinct score: ties move together.
    starts = np.concatenate([[0], np.nonzero(np.diff(ordered))[0] + 1, [len(ordered)]])
    spoof_below = np.concatenate([[0], np.cumsum(spoof)])[starts]
    thresholds = np.concatenate([ordered[starts[:-1]], [np.nextafter(ordered[-1], np.inf)]])
    return thresholds, spoof_below, starts - spoof_below


def checked_trials(scores: np.ndarray, is_spoof: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 and labels as bool, `[trial]` each.

    Raises:
        CoreError: lengths that differ, one class only, or a score that is not finite.
    """
    scores, is_spoof = np.asarray(scores, dtype=np.float64), np.asarray(is_spoof, dtype=bool)
    if scores.shape != is_spoof.shape or scores.ndim != 1:
        raise CoreError(f"expected scores and labels of one length, got {scores.shape} and {is_spoof.shape}")
    if not np.isfinite(scores).all():
        raise CoreError(f"{int((~np.isfinite(scores)).sum())} scores are not finite")
    if is_spoof.all() or not is_spoof.any():
        raise CoreError("both classes are needed, bona fide and spoof; only one is present")
    return scores, is_spoof
