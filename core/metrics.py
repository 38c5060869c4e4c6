"""Figures of merit from spoof scores (higher means spoof) and labels. Pure numpy, no files; intervals are in `resampling`."""

from __future__ import annotations

import numpy as np

from core.errors import CoreError


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
    scores, is_spoof = checked_trials(scores, is_spoof)
    order = np.argsort(scores, kind="stable")
    ordered, spoof = scores[order], is_spoof[order]
    # Position of the first trial of each distinct score: ties move together.
    starts = np.concatenate([[0], np.nonzero(np.diff(ordered))[0] + 1, [len(ordered)]])
    spoof_below = np.concatenate([[0], np.cumsum(spoof)])[starts]
    bona_fide_below = starts - spoof_below
    thresholds = np.concatenate([ordered[starts[:-1]], [np.nextafter(ordered[-1], np.inf)]])
    return thresholds, spoof_below / spoof.sum(), 1.0 - bona_fide_below / (~spoof).sum()


def asvspoof_equal_error_rate(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """EER as the ASVspoof organisers take it, in 0..1: only to compare with published figures.

    The mean of both error rates at the operating point where they are nearest, not interpolated; every trial is a
    point of its own, bona fide before spoofs among equal scores. On few trials it is coarse.

    Source: ASVspoof consortium (2019), "ASVspoof 2019 evaluation plan", evaluation measures.
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
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


def accuracy(scores: np.ndarray, is_spoof: np.ndarray, *, threshold: float = 0.0) -> float:
    """Share of all trials called right when scores at or above the threshold are called spoof."""
    scores, is_spoof = checked_trials(scores, is_spoof)
    return float(((scores >= threshold) == is_spoof).mean())


def balanced_accuracy(scores: np.ndarray, is_spoof: np.ndarray, *, threshold: float = 0.0) -> float:
    """Mean of the two classes' accuracies when scores at or above the threshold are called spoof."""
    scores, is_spoof = checked_trials(scores, is_spoof)
    said_spoof = scores >= threshold
    return float((said_spoof[is_spoof].mean() + (~said_spoof[~is_spoof]).mean()) / 2)


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
