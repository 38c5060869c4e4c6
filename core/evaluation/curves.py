"""DET, ROC and reliability curves of spoof scores, as few points as a picture needs. Draws no pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from core.errors import CoreError
from core.metrics import area_under_curve, checked_trials, crossing_of, error_rates, hull_points

MAX_POINTS = 2_000
"""More points than a screen is wide show nothing more."""
_LEAST_RATE = 1e-5
"""Normal deviates of rates nearer to 0 or 1 are not told apart: axes of DET plots end before."""
NORMAL_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetCurve:
    """Both error rates at thresholds, `[point]` each, as `core.metrics.error_rates`."""

    false_alarm: np.ndarray
    miss: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class RocCurve:
    """Spoofs found against false alarms at thresholds, `[point]` each."""

    false_alarm: np.ndarray
    hit: np.ndarray
    """Share of the spoofs that are found: 1 - miss."""
    thresholds: np.ndarray
    area: float
    """Under the whole curve, before any point was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Trials whose predicted probability of spoof lies in one stretch."""

    lower: float
    upper: float
    predicted: float
    """Mean predicted probability."""
    observed: float
    """Share of spoofs, at the prior for which probabilities were predicted."""
    low: float
    """Lower end of the share's 95 % interval (Wilson)."""
    high: float
    """Upper end."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityCurve:
    """Predicted probabilities against what came, in the bins that hold trials, by rising probability."""

    bins: tuple[ReliabilityBin, ...]
    prior_spoof: float
    calibration_error: float
    """Mean distance of predicted and observed, every trial weighted as the prior asks (ECE)."""


def det_curve(scores: np.ndarray, is_spoof: np.ndarray, *, max_points: int = MAX_POINTS) -> DetCurve:
    """Detection error trade-off.

    At most about `max_points` points are kept. Among them are both ends, the two around the EER and every corner of the
    convex hull, where the cost is least for any costs and prior, so that the EER and every min DCF are those of all points.

    Source: Martin et al. (1997), "The DET curve in assessment of detection task performance".
    """
    thresholds, miss, false_alarm = error_rates(scores, is_spoof)
    kept = _kept_points(miss, false_alarm, max_points)
    return DetCurve(false_alarm=false_alarm[kept], miss=miss[kept], thresholds=thresholds[kept])


def roc_curve(scores: np.ndarray, is_spoof: np.ndarray, *, max_points: int = MAX_POINTS) -> RocCurve:
    """Receiver operating characteristic, its points chosen as in `det_curve`."""
    curve = det_curve(scores, is_spoof, max_points=max_points)
    return RocCurve(
        false_alarm=curve.false_alarm,
        hit=1.0 - curve.miss,
        thresholds=curve.thresholds,
        area=area_under_curve(scores, is_spoof),
    )


def reliability(scores: np.ndarray, is_spoof: np.ndarray, *, prior_spoof: float = 0.5, num_bins: int = 15) -> ReliabilityCurve:
    """Whether scores that claim to be log-likelihood ratios (nats) are right about how likely a spoof is.

    The trials hold the classes in some other proportion than `prior_spoof` says. So each class is weighted to it: a spoof
    counts prior / number of spoofs, a bona fide trial (1 - prior) / number of bona fide. The interval is Wilson's for the
    plain share of spoofs in the bin, brought to the same prior.

    Args:
        prior_spoof: for the predicted probabilities; `core.calibration.Calibration` has it.
        num_bins: of equal width between 0 and 1.

    Raises:
        CoreError: one class only, a score that is not finite, or a prior or number of bins that cannot be.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
    if not 0 < prior_spoof < 1 or num_bins < 1:
        raise CoreError(f"expected a prior between 0 and 1 and at least one bin, got {prior_spoof} and {num_bins}")
    log_odds = scores + np.log(prior_spoof / (1 - prior_spoof))
    predicted = np.exp(-np.logaddexp(0.0, -log_odds))
    spoof_weight, bona_fide_weight = prior_spoof / is_spoof.sum(), (1 - prior_spoof) / (~is_spoof).sum()
    weights = np.where(is_spoof, spoof_weight, bona_fide_weight)
    places = np.minimum((predicted * num_bins).astype(np.int64), num_bins - 1)
    totals, sums, counts, spoofs = (
        np.bincount(places, weights=of_trial, minlength=num_bins) for of_trial in (weights, weights * predicted, None, is_spoof)
    )
    bins, error = [], 0.0
    for place in np.nonzero(counts)[0]:
        share, ends = spoofs[place] / counts[place], wilson_interval(int(spoofs[place]), int(counts[place]))
        observed, low, high = (s * spoof_weight / (s * spoof_weight + (1 - s) * bona_fide_weight) for s in (share, *ends))
        mean = sums[place] / totals[place]
        error += totals[place] * abs(mean - observed)
        bins.append(
            ReliabilityBin(
                lower=float(place / num_bins),
                upper=float((place + 1) / num_bins),
                predicted=float(mean),
                observed=float(observed),
                low=float(low),
                high=float(high),
                count=int(counts[place]),
            )
        )
    return ReliabilityCurve(bins=tuple(bins), prior_spoof=prior_spoof, calibration_error=float(error))


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Ends of Wilson's 95 % interval of a share of independent trials, `right` of `total`."""
    share, z = right / total, NORMAL_95**2 / total
    middle, half = share + z / 2, float(np.sqrt(share * (1 - share) * z + z * z / 4))
    # At 0 and 1 the interval ends there exactly, which rounding must not hide.
    return min(share, (middle - half) / (1 + z)), max(share, (middle + half) / (1 + z))


def _kept_points(miss: np.ndarray, false_alarm: np.ndarray, max_points: int) -> np.ndarray:
    """Indices of the points to keep, rising: the needed ones, then corners at even distances along the curve."""
    # A point in the middle of a straight stretch, where only one class comes, shows nothing.
    turns = np.nonzero((np.diff(miss[:-1]) > 0) != (np.diff(miss[1:]) > 0))[0] + 1
    both = np.nonzero((np.diff(miss) > 0) & (np.diff(false_alarm) < 0))[0]
    corners = np.unique(np.concatenate([[0], turns, both, both + 1, [len(miss) - 1]]))
    if len(corners) <= max_points:
        return corners
    crossing = int(crossing_of(miss, false_alarm)[1])
    needed = np.concatenate([[crossing - 1, crossing], hull_points(miss, 1.0 - false_alarm)])
    # Distance along the curve on both kinds of axes, normal deviates (DET) and plain shares (ROC).
    x, y = false_alarm[corners], miss[corners]
    deviates = (ndtri(np.clip(rate, _LEAST_RATE, 1 - _LEAST_RATE)) for rate in (x, y))
    steps = sum(np.abs(np.diff(axis)) / np.ptp(axis) for axis in (x, y, *deviates))
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    even = np.linspace(0.0, distance[-1], max(2, max_points - len(needed)))
    return np.unique(np.concatenate([needed, corners[np.searchsorted(distance, even).clip(max=len(corners) - 1)]]))
