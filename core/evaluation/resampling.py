"""Bootstrap of figures of merit: intervals, and differences between two systems on the same trials. What is drawn is in `draws`.

A resample is a weight per trial: how often its group (speaker, source) was drawn. What is made of the weights is in
`weighted_figures` and `attack_curves`; the result is that of repeating trials and measuring anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.evaluation.attack_curves import AttackCurves, attack_curves
from core.evaluation.draws import drawn_counts, group_ids, resampled_weights
from core.evaluation.grouped_curves import grouped_curves
from core.evaluation.weighted_figures import FigureOfWeights, WeightedFigure
from core.metrics import checked_trials

_BLOCK_SEARCHED = 2**20
"""Weights worked on at once where the work is bisection, whose steps cost as much for few resamples as for many."""


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
        figure: one of `core.evaluation.weighted_figures`, or one made like them.
        groups: `[trial]` ids whose trials belong together; each trial alone when None.

    Returns:
        The figure on all trials with its interval. Resamples that lose a class are drawn again.

    Raises:
        CoreError: one class only, or a score that is not finite.
    """
    figures = {"": figure}
    return bootstrap_intervals(figures, scores, is_spoof, groups=groups, num_resamples=num_resamples, seed=seed)[""]


def bootstrap_intervals(
    figures: Mapping[str, WeightedFigure],
    scores: np.ndarray,
    is_spoof: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Several figures with their intervals, each as `bootstrap_interval` gives it, on resamples drawn once."""
    scores, is_spoof = checked_trials(scores, is_spoof)
    of_weights = [figure(scores, is_spoof) for figure in figures.values()]

    def together(weights: np.ndarray) -> np.ndarray:
        return np.stack([values(weights) for values in of_weights], axis=1)

    resamples = resampled_weights(is_spoof, groups=groups, num_resamples=num_resamples, seed=seed)
    values = np.concatenate([together(weights) for weights in resamples])
    return _intervals(tuple(figures), _on_all(together, len(scores)), values)


def bootstrap_eers(
    scores: np.ndarray,
    is_spoof: np.ndarray,
    attacks: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """EER of every attack against all bona fide trials, and of all spoofs (key ""), on shared resamples.

    Args:
        attacks: `[trial]` names; bona fide trials' are ignored, spoofs without one (None) count under "" alone.
        groups: as `bootstrap_interval`.

    Returns:
        What `bootstrap_interval(weighted_eer, ...)` gives for the pooled EER. Resamples that lose all of an attack's
        spoofs are left out of that attack's interval.
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
    curves = attack_curves(scores, is_spoof, attacks)
    observed, values = _curve_values("eers", [curves], is_spoof, groups=groups, num_resamples=num_resamples, seed=seed)
    return _intervals(curves.keys, observed[0], values[0])


def bootstrap_areas(
    scores: np.ndarray,
    is_spoof: np.ndarray,
    attacks: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Area under the ROC curve of every attack and of all spoofs, otherwise as `bootstrap_eers`."""
    scores, is_spoof = checked_trials(scores, is_spoof)
    curves = attack_curves(scores, is_spoof, attacks)
    observed, values = _curve_values("areas", [curves], is_spoof, groups=groups, num_resamples=num_resamples, seed=seed)
    return _intervals(curves.keys, observed[0], values[0])


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
    return _difference(float(_on_all(of_first, len(first)) - _on_all(of_second, len(first))), values)


def paired_eers(
    first: np.ndarray,
    second: np.ndarray,
    is_spoof: np.ndarray,
    attacks: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, PairedDifference]:
    """EERs of the first system minus those of the second, per attack and pooled (""), on shared resamples.

    Args:
        first: `[trial]` scores of one system.
        second: `[trial]` scores of another on the same trials.
        attacks: as `bootstrap_eers`.
    """
    first, is_spoof = checked_trials(first, is_spoof)
    second, _ = checked_trials(second, is_spoof)
    curves = [attack_curves(scores, is_spoof, attacks) for scores in (first, second)]
    observed, values = _curve_values("eers", curves, is_spoof, groups=groups, num_resamples=num_resamples, seed=seed)
    differences = values[0] - values[1]
    return {
        key: _difference(float(observed[0, i] - observed[1, i]), differences[~np.isnan(differences[:, i]), i])
        for i, key in enumerate(curves[0].keys)
    }


def bootstrap_mean(values: np.ndarray, *, num_resamples: int = 1_000, seed: int = 0) -> Interval:
    """Mean of `[unit]` values with its 95 % interval over units."""
    low, high = np.percentile(_resampled_means(values, num_resamples, seed), [2.5, 97.5])
    return Interval(value=float(np.mean(values)), low=float(low), high=float(high))


def paired_mean_difference(first: np.ndarray, second: np.ndarray, *, num_resamples: int = 1_000, seed: int = 0) -> PairedDifference:
    """Mean of `first - second`, `[unit]` each, over the same units."""
    differences = np.asarray(first) - np.asarray(second)
    return _difference(float(differences.mean()), _resampled_means(differences, num_resamples, seed))


def most_unseen(num_units: int) -> float:
    """Upper end of the 95 % interval of a rate of which no case was seen: a bootstrap would call that certain.

    Args:
        num_units: independent ones, e.g. speakers.

    Source: Clopper and Pearson (1934), "The use of confidence or fiducial limits".
    """
    return 1 - 0.025 ** (1 / num_units)


def _curve_values(
    name: Literal["eers", "areas"],
    curves: Sequence[AttackCurves],
    is_spoof: np.ndarray,
    *,
    groups: np.ndarray | None,
    num_resamples: int,
    seed: int,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What all trials give, `[system, key]`, and what each system's resamples give, `[resample, key]` each."""
    observed = np.stack([_on_all(getattr(of_system, name), len(is_spoof)) for of_system in curves])
    if groups is not None:
        ids = group_ids(groups)
        grouped = [grouped_curves(of_system, ids) for of_system in curves]
        if None not in grouped:
            counts = np.stack(list(drawn_counts(is_spoof, ids, num_resamples=num_resamples, seed=seed)))
            return observed, [getattr(of_system, name)(counts) for of_system in grouped]
    resamples = resampled_weights(is_spoof, groups=groups, num_resamples=num_resamples, seed=seed, block_weights=_BLOCK_SEARCHED)
    blocks = [[getattr(of_system, name)(weights) for of_system in curves] for weights in resamples]
    return observed, [np.concatenate(of_system) for of_system in zip(*blocks, strict=True)]


def _intervals(names: tuple[str, ...], observed: np.ndarray, values: np.ndarray) -> dict[str, Interval]:
    """Percentiles of `[resample, figure]`, of those resamples in which a figure is there (not NaN)."""
    low, high = np.nanpercentile(values, [2.5, 97.5], axis=0)
    return {name: Interval(value=float(observed[i]), low=float(low[i]), high=float(high[i])) for i, name in enumerate(names)}


def _on_all(of_weights: FigureOfWeights, num_trials: int) -> np.ndarray:
    return of_weights(np.ones((1, num_trials), dtype=np.int32))[0]


def _resampled_means(values: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.asarray(values), size=(num_resamples, len(values))).mean(axis=1)


def _difference(value: float, resampled: np.ndarray) -> PairedDifference:
    low, high = np.percentile(resampled, [2.5, 97.5])
    # The observed difference counts as one resample, so that p is never 0 (Davison and Hinkley 1997, section 4.2).
    contradicting = 1 + min((resampled <= 0).sum(), (resampled >= 0).sum())
    return PairedDifference(
        value=value, low=float(low), high=float(high), p_value=float(min(1.0, 2 * contradicting / (len(resampled) + 1)))
    )
