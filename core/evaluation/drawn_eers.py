"""EERs of attacks with intervals when trials are resampled one by one, drawing only the counts that are looked at.

How many drawn trials lie between two thresholds is binomial, given how many lie in the range around them. Bisection for the
point where the error rates cross looks at about 2 log2(trials) such counts; drawing these alone gives each figure exactly the
distribution that it has over whole resamples. Figures of different attacks, or of two systems, are not of the same resamples:
their differences are `core.evaluation.resampling.paired_eers`'.
"""

from __future__ import annotations

import numpy as np

from core.evaluation.attack_curves import AttackCurves, attack_curves
from core.evaluation.resampling import Interval
from core.metrics import checked_trials, crossing_of


def drawn_eers(
    scores: np.ndarray, is_spoof: np.ndarray, attacks: np.ndarray, *, num_resamples: int = 1_000, seed: int = 0
) -> dict[str, Interval]:
    """EER of every attack against all bona fide trials, and of all spoofs (key ""), as `core.evaluation.resampling.bootstrap_eers`.

    Each interval has the distribution of `bootstrap_eers` without groups, from other random numbers.
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
    curves = attack_curves(scores, is_spoof, attacks)
    observed = curves.eers(np.ones((1, len(scores)), dtype=np.int32))[0]
    values = _eers(curves, len(scores), np.random.default_rng(seed), num_resamples)
    low, high = np.nanpercentile(values, [2.5, 97.5], axis=0)
    return {key: Interval(value=float(observed[i]), low=float(low[i]), high=float(high[i])) for i, key in enumerate(curves.keys)}


def _eers(curves: AttackCurves, num_trials: int, rng: np.random.Generator, num_resamples: int) -> np.ndarray:
    """`[resample, key]`; NaN where a resample lost a class."""
    shape = (num_resamples, len(curves.keys))
    num_bona_fide = np.broadcast_to(rng.binomial(num_trials, curves.starts[0] / num_trials, size=(num_resamples, 1)), shape)
    share = np.diff(curves.starts) / (num_trials - curves.starts[0])
    num_spoof = rng.binomial(num_trials - num_bona_fide, share)
    # The ends of the range in which the curves cross: point, drawn spoofs and drawn bona fide trials below it.
    zero = np.zeros(shape, dtype=np.int64)
    low = (np.broadcast_to(curves.points[:-1], shape), zero, zero)
    high = (np.broadcast_to(curves.points[1:] - 1, shape), num_spoof, num_bona_fide)
    for _ in range(int(np.diff(curves.points).max()).bit_length()):
        middle = (low[0] + high[0]) // 2
        spoof, bona_fide = (
            below + rng.binomial(above - below, _share(at, low[0], middle, high[0]))
            for at, below, above in ((curves.spoof_at, low[1], high[1]), (curves.bona_fide_at, low[2], high[2]))
        )
        has_crossed = spoof * num_bona_fide >= (num_bona_fide - bona_fide) * num_spoof
        at_middle = (middle, spoof, bona_fide)
        low = tuple(np.where(has_crossed, old, new) for old, new in zip(low, at_middle, strict=True))
        high = tuple(np.where(has_crossed, new, old) for old, new in zip(high, at_middle, strict=True))
    misses = [spoof / np.maximum(num_spoof, 1) for _, spoof, _ in (low, high)]
    false_alarms = [1.0 - bona_fide / np.maximum(num_bona_fide, 1) for _, _, bona_fide in (low, high)]
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample that lost a class has no crossing
        eers = crossing_of(np.stack(misses, axis=-1), np.stack(false_alarms, axis=-1))[0]
    return np.where((num_spoof > 0) & (num_bona_fide > 0), eers, np.nan)


def _share(at: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Of the trials between two points, the share below the middle one; 0 where there are none."""
    return (at[middle] - at[low]) / np.maximum(at[high] - at[low], 1)
