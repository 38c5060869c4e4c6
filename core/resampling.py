"""Bootstrap of figures of merit: intervals, and differences between two systems on the same trials. Pure numpy.

A resample is a weight per trial: how often its group (speaker, source) was drawn. Scores are sorted once, and a figure of
many resamples is sums over those weights; the result is that of repeating trials and measuring anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from core.errors import CoreError
from core.metrics import checked_trials, crossing_of
from core.tandem import AsvErrorRates, tandem_cost

_BLOCK_WEIGHTS = 2**18
"""Weights of resamples that are worked on at once: they stay in cache."""

WeightedFigure = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""Scores and is_spoof `[trial]` -> function of weights `[resample, trial]` (counts) -> values `[resample]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """A figure of a first system minus that of a second one on the same trials."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    p_value: float
    """Two-sided: how often resamples contradict the sign, doubled; at least 2 / (resamples + 1)."""


def bootstrap_interval(
    figure: WeightedFigure,
    scores: np.ndarray,
    is_spoof: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> Interval:
    """A figure's 95 % percentile interval, resampling whole groups (speakers, sources) where given.

    Args:
        figure: one of `weighted_...` below, or one made like them.
        groups: `[trial]` ids whose trials belong together; each trial alone when None.

    Returns:
        The figure on all trials with its interval. Resamples that lose a class are drawn again.

    Raises:
        CoreError: one class only, or a score that is not finite.
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
    of_weights = figure(scores, is_spoof)
    resamples = resampled_weights(is_spoof, groups=groups, num_resamples=num_resamples, seed=seed)
    values = np.concatenate([of_weights(weights) for weights in resamples])
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(value=_on_all(of_weights, len(scores)), low=float(low), high=float(high))


def paired_difference(
    figure: WeightedFigure,
    first: np.ndarray,
    second: np.ndarray,
    is_spoof: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> PairedDifference:
    """The first system's figure minus the second's, both measured on the same resamples.

    Args:
        first: `[trial]` scores of one system.
        second: `[trial]` scores of another on the same trials.
    """
    first, is_spoof = checked_trials(first, is_spoof)
    second, _ = checked_trials(second, is_spoof)
    of_first, of_second = figure(first, is_spoof), figure(second, is_spoof)
    resamples = resampled_weights(is_spoof, groups=groups, num_resamples=num_resamples, seed=seed)
    values = np.concatenate([of_first(weights) - of_second(weights) for weights in resamples])
    return _difference(_on_all(of_first, len(first)) - _on_all(of_second, len(first)), values)


def bootstrap_mean(values: np.ndarray, *, num_resamples: int = 1_000, seed: int = 0) -> Interval:
    """Mean of `[unit]` values with its 95 % interval over units."""
    low, high = np.percentile(_resampled_means(values, num_resamples, seed), [2.5, 97.5])
    return Interval(value=float(np.mean(values)), low=float(low), high=float(high))


def paired_mean_difference(first: np.ndarray, second: np.ndarray, *, num_resamples: int = 1_000, seed: int = 0) -> PairedDifference:
    """Mean of `first - second`, `[unit]` each, over the same units."""
    differences = np.asarray(first) - np.asarray(second)
    return _difference(float(differences.mean()), _resampled_means(differences, num_resamples, seed))


def resampled_weights(is_spoof: np.ndarray, *, groups: np.ndarray | None, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each trial occurs in each resample, in blocks `[resample, trial]` int32; every resample has both classes."""
    rng = np.random.default_rng(seed)
    ids = np.arange(len(is_spoof)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if len(ids) != len(is_spoof):
        raise CoreError(f"expected a group for each of {len(is_spoof)} trials, got {len(ids)}")
    num_groups = int(ids.max()) + 1
    num_spoof, num_trials = np.bincount(ids, weights=is_spoof, minlength=num_groups), np.bincount(ids, minlength=num_groups)
    block: list[np.ndarray] = []
    for left in range(num_resamples, 0, -1):
        while True:
            counts = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)
            if 0 < counts @ num_spoof < counts @ num_trials:
                break
        block.append(counts.astype(np.int32))
        if left == 1 or (len(block) + 1) * len(ids) > _BLOCK_WEIGHTS:
            yield np.stack(block)[:, ids]
            block = []


def weighted_eer(scores: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`core.metrics.equal_error_rate` of resamples."""
    rates = _weighted_rates(scores, is_spoof)
    return lambda weights: crossing_of(*rates(weights))[0]


def weighted_area_under_curve(scores: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`core.metrics.area_under_curve` of resamples."""
    rates = _weighted_rates(scores, is_spoof)

    def values(weights: np.ndarray) -> np.ndarray:
        miss, false_alarm = rates(weights)
        return -np.trapezoid(1.0 - miss, false_alarm, axis=-1)

    return values


def weighted_min_tandem_cost(asv: AsvErrorRates) -> WeightedFigure:
    """`core.tandem.min_tandem_cost` of resamples, the speaker verifier as it is."""

    def figure(scores: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        rates = _weighted_rates(scores, is_spoof)
        return lambda weights: tandem_cost(*rates(weights), asv).min(axis=-1)

    return figure


def weighted_accuracy(scores: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`core.metrics.accuracy` at threshold 0 of resamples."""
    is_right = ((scores >= 0) == is_spoof).astype(np.float64)
    return lambda weights: (weights @ is_right) / weights.sum(axis=1)


def weighted_balanced_accuracy(scores: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`core.metrics.balanced_accuracy` at threshold 0 of resamples."""
    is_right = ((scores >= 0) == is_spoof).astype(np.float64)
    return _mean_over_classes(is_right, is_spoof)


def weighted_cllr(scores: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`core.metrics.log_likelihood_ratio_cost` of resamples."""
    return _mean_over_classes(np.logaddexp(0.0, np.where(is_spoof, -scores, scores)) / np.log(2), is_spoof)


def _mean_over_classes(costs: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Mean of the two classes' mean costs, `[trial]` to a function of weights."""
    spoof, bona_fide = is_spoof.astype(np.float64), (~is_spoof).astype(np.float64)
    return lambda weights: (
        (weights @ (costs * spoof) / (weights @ spoof) + weights @ (costs * bona_fide) / (weights @ bona_fide)) / 2
    )


def _weighted_rates(scores: np.ndarray, is_spoof: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Function of weights `[resample, trial]`: miss and false alarm `[resample, point]` as `core.metrics.error_rates`.

    A score that a resample lacks repeats a point, which moves no figure.
    """
    order = np.argsort(scores, kind="stable")
    spoof = is_spoof[order].astype(np.int32)
    starts = np.concatenate([[0], np.nonzero(np.diff(scores[order]))[0] + 1, [len(order)]])

    def rates(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ordered = weights[:, order]
        below, spoof_below = _running_sums(ordered)[:, starts], _running_sums(ordered * spoof)[:, starts]
        num_spoof = spoof_below[:, -1:]
        return spoof_below / num_spoof, 1.0 - (below - spoof_below) / (below[:, -1:] - num_spoof)

    return rates


def _running_sums(weights: np.ndarray) -> np.ndarray:
    """Sum of all weights before each trial and after the last, `[resample, trial + 1]`."""
    sums = np.zeros((len(weights), weights.shape[1] + 1), dtype=np.int32)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _on_all(of_weights: Callable[[np.ndarray], np.ndarray], num_trials: int) -> float:
    return float(of_weights(np.ones((1, num_trials), dtype=np.int32))[0])


def _resampled_means(values: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.asarray(values), size=(num_resamples, len(values))).mean(axis=1)


def _difference(value: float, resampled: np.ndarray) -> PairedDifference:
    low, high = np.percentile(resampled, [2.5, 97.5])
    # The observed difference counts as one resample, so that p is never 0 (Davison and Hinkley 1997, section 4.2).
    contradicting = 1 + min((resampled <= 0).sum(), (resampled >= 0).sum())
    return PairedDifference(
        value=value, low=float(low), high=float(high), p_value=float(min(1.0, 2 * contradicting / (len(resampled) + 1)))
    )
