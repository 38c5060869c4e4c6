"""Figures of merit from spoof scores (higher means spoof) and labels. Pure numpy, no files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.errors import CoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


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
    crossing = int(np.argmax(miss >= false_alarm))
    if crossing == 0 or miss[crossing] == false_alarm[crossing]:
        return float(miss[crossing]), float(thresholds[crossing])
    # Linear between the last point with miss < false alarm and the first with miss >= false alarm.
    before, after = false_alarm[crossing - 1] - miss[crossing - 1], miss[crossing] - false_alarm[crossing]
    share = before / (before + after)
    eer = miss[crossing - 1] + share * (miss[crossing] - miss[crossing - 1])
    threshold = thresholds[crossing - 1] + share * (thresholds[crossing] - thresholds[crossing - 1])
    return float(eer), float(threshold)


def error_rates(scores: np.ndarray, is_spoof: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Miss rate (spoof scored below) and false alarm rate (bona fide at or above) at every distinct threshold.

    Returns:
        thresholds `[n]` rising, miss `[n]` rising, false alarm `[n]` falling. The first point accepts all as spoof
        (miss 0, false alarm 1), the last lies just above the largest score (miss 1, false alarm 0).

    Raises:
        CoreError: as `equal_error_rate`.
    """
    scores, is_spoof = _checked(scores, is_spoof)
    order = np.argsort(scores, kind="stable")
    ordered, spoof = scores[order], is_spoof[order]
    # Position of the first trial of each distinct score: ties move together.
    starts = np.concatenate([[0], np.nonzero(np.diff(ordered))[0] + 1, [len(ordered)]])
    spoof_below = np.concatenate([[0], np.cumsum(spoof)])[starts]
    bona_fide_below = starts - spoof_below
    thresholds = np.concatenate([ordered[starts[:-1]], [np.nextafter(ordered[-1], np.inf)]])
    return thresholds, spoof_below / spoof.sum(), 1.0 - bona_fide_below / (~spoof).sum()


def log_likelihood_ratio_cost(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """Cllr in bits: 0 is perfect, 1 is what a detector that says nothing gets.

    Source: Brummer and du Preez (2006), "Application-independent evaluation of speaker detection", eq. 11.
    """
    scores, is_spoof = _checked(scores, is_spoof)
    spoof_cost = np.logaddexp(0.0, -scores[is_spoof]).mean()
    bona_fide_cost = np.logaddexp(0.0, scores[~is_spoof]).mean()
    return float((spoof_cost + bona_fide_cost) / (2 * np.log(2)))


def balanced_accuracy(scores: np.ndarray, is_spoof: np.ndarray, *, threshold: float = 0.0) -> float:
    """Mean of the two classes' accuracies when scores at or above the threshold are called spoof."""
    scores, is_spoof = _checked(scores, is_spoof)
    said_spoof = scores >= threshold
    return float((said_spoof[is_spoof].mean() + (~said_spoof[~is_spoof]).mean()) / 2)


def bootstrap_interval(
    figure: Callable[[np.ndarray, np.ndarray], float],
    scores: np.ndarray,
    is_spoof: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> Interval:
    """A figure's 95 % percentile interval, resampling whole groups (speakers, sources) where given.

    Args:
        figure: function of scores and is_spoof.
        groups: `[trial]` ids whose trials belong together; each trial alone when None.

    Returns:
        The figure on all trials with its interval. Resamples that lose a class are drawn again.
    """
    scores, is_spoof = _checked(scores, is_spoof)
    rng = np.random.default_rng(seed)
    ids = np.arange(len(scores)) if groups is None else np.unique(groups, return_inverse=True)[1]
    members = np.split(np.argsort(ids, kind="stable"), np.cumsum(np.bincount(ids))[:-1])
    values = []
    while len(values) < num_resamples:
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if 0 < is_spoof[drawn].sum() < len(drawn):
            values.append(figure(scores[drawn], is_spoof[drawn]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(value=figure(scores, is_spoof), low=float(low), high=float(high))


def _checked(scores: np.ndarray, is_spoof: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, is_spoof = np.asarray(scores, dtype=np.float64), np.asarray(is_spoof, dtype=bool)
    if scores.shape != is_spoof.shape or scores.ndim != 1:
        raise CoreError(f"expected scores and labels of one length, got {scores.shape} and {is_spoof.shape}")
    if not np.isfinite(scores).all():
        raise CoreError(f"{int((~np.isfinite(scores)).sum())} scores are not finite")
    if is_spoof.all() or not is_spoof.any():
        raise CoreError("both classes are needed, bona fide and spoof; only one is present")
    return scores, is_spoof
