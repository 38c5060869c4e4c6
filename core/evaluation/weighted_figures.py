"""Figures of merit of resamples: functions of a weight per trial, `metrics` of trials repeated so often. Draws nothing.

Scores are sorted once, and a figure of many resamples is sums over their weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from core.evaluation.tandem import ASVSPOOF_2019, AsvErrorRates, TandemCosts, tandem_cost
from core.metrics import DetectionCosts, crossing_of, detection_cost, rates_from_counts

FigureOfWeights = Callable[[np.ndarray], np.ndarray]
"""Weights `[resample, trial]` (counts) -> values `[resample]`, or `[resample, figure]` of several at once."""

WeightedFigure = Callable[[np.ndarray, np.ndarray], FigureOfWeights]
"""Scores and is_spoof `[trial]` -> function of weights."""

RateName = Literal["miss", "false_alarm", "accuracy", "balanced_accuracy", "precision", "recall", "f1"]


def weighted_eer(scores: np.ndarray, is_spoof: np.ndarray) -> FigureOfWeights:
    """`core.metrics.equal_error_rate` of resamples."""
    rates = _weighted_rates(scores, is_spoof)
    return lambda weights: crossing_of(*rates(weights))[0]


def weighted_area_under_curve(scores: np.ndarray, is_spoof: np.ndarray) -> FigureOfWeights:
    """`core.metrics.area_under_curve` of resamples."""
    rates = _weighted_rates(scores, is_spoof)

    def values(weights: np.ndarray) -> np.ndarray:
        miss, false_alarm = rates(weights)
        return -np.trapezoid(1.0 - miss, false_alarm, axis=-1)

    return values


def weighted_min_tandem_cost(asv: AsvErrorRates, *, costs: TandemCosts = ASVSPOOF_2019) -> WeightedFigure:
    """`core.evaluation.tandem.min_tandem_cost` of resamples, the speaker verifier as it is."""
    return _weighted_minimum(lambda miss, false_alarm: tandem_cost(miss, false_alarm, asv, costs=costs))


def weighted_min_detection_cost(costs: DetectionCosts) -> WeightedFigure:
    """`core.metrics.min_detection_cost` of resamples."""
    return _weighted_minimum(lambda miss, false_alarm: detection_cost(miss, false_alarm, costs))


def weighted_actual_detection_cost(costs: DetectionCosts) -> WeightedFigure:
    """`core.metrics.actual_detection_cost` of resamples."""

    def figure(scores: np.ndarray, is_spoof: np.ndarray) -> FigureOfWeights:
        miss, false_alarm = (weighted_rate(name, threshold=costs.threshold)(scores, is_spoof) for name in ("miss", "false_alarm"))
        return lambda weights: detection_cost(miss(weights), false_alarm(weights), costs)

    return figure


def weighted_rate(name: RateName, *, threshold: float = 0.0) -> WeightedFigure:
    """One of `core.metrics.detection_rates` of resamples."""

    def figure(scores: np.ndarray, is_spoof: np.ndarray) -> FigureOfWeights:
        said_spoof = scores >= threshold
        # Columns: hits, alarms, spoofs, bona fide; counts are exact in float64.
        columns = np.stack([said_spoof & is_spoof, said_spoof & ~is_spoof, is_spoof, ~is_spoof], axis=1).astype(np.float64)

        def values(weights: np.ndarray) -> np.ndarray:
            hits, alarms, num_spoof, num_bona_fide = (weights @ columns).T
            return getattr(rates_from_counts(hits=hits, alarms=alarms, num_spoof=num_spoof, num_bona_fide=num_bona_fide), name)

        return values

    return figure


weighted_accuracy = weighted_rate("accuracy")
weighted_balanced_accuracy = weighted_rate("balanced_accuracy")


def weighted_cllr(scores: np.ndarray, is_spoof: np.ndarray) -> FigureOfWeights:
    """`core.metrics.log_likelihood_ratio_cost` of resamples."""
    costs = np.logaddexp(0.0, np.where(is_spoof, -scores, scores)) / np.log(2)
    columns = np.stack([costs * is_spoof, is_spoof, costs * ~is_spoof, ~is_spoof], axis=1).astype(np.float64)

    def values(weights: np.ndarray) -> np.ndarray:
        of_spoof, num_spoof, of_bona_fide, num_bona_fide = (weights @ columns).T
        return (of_spoof / num_spoof + of_bona_fide / num_bona_fide) / 2

    return values


def _weighted_minimum(cost: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> WeightedFigure:
    """The least of a cost that rises with both error rates.

    A threshold between two bona fide trials misses fewest just above the lower one, so that no other point can be best.
    """

    def figure(scores: np.ndarray, is_spoof: np.ndarray) -> FigureOfWeights:
        rates = _weighted_rates(scores, is_spoof, only_above_bona_fide=True)
        return lambda weights: cost(*rates(weights)).min(axis=-1)

    return figure


def _weighted_rates(
    scores: np.ndarray, is_spoof: np.ndarray, *, only_above_bona_fide: bool = False
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Function of weights `[resample, trial]`: miss and false alarm `[resample, point]` as `core.metrics.error_rates`.

    A score that a resample lacks repeats a point, which moves no figure.
    """
    order = np.argsort(scores, kind="stable")
    spoof, bona_fide = order[is_spoof[order]], order[~is_spoof[order]]
    points = np.unique(scores)
    if only_above_bona_fide:
        points = np.unique(np.append(np.nextafter(scores[bona_fide], np.inf), points[0]))
    columns, first_bona_fide = np.concatenate([spoof, bona_fide]), len(spoof)
    spoof_at = np.append(np.searchsorted(scores[spoof], points), len(spoof))
    bona_fide_at = first_bona_fide + np.append(np.searchsorted(scores[bona_fide], points), len(bona_fide))

    def rates(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below = running_sums(weights, columns)
        spoof_below, bona_fide_below = below[:, spoof_at], below[:, bona_fide_at] - below[:, [first_bona_fide]]
        return spoof_below / spoof_below[:, -1:], 1.0 - bona_fide_below / bona_fide_below[:, -1:]

    return rates


def running_sums(weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sum of the weights of `columns` before each of them and after the last, `[resample, column + 1]`."""
    sums = np.zeros((len(weights), len(columns) + 1), dtype=np.int32)
    ordered = np.empty(len(columns), dtype=weights.dtype)
    # Row by row, so that what is summed is still in cache: several times as fast as `weights[:, columns]`.
    for row, out in zip(weights, sums):
        np.take(row, columns, out=ordered, mode="clip")
        np.cumsum(ordered, out=out[1:])
    return sums
