"""EER and AUC of every attack against all bona fide trials, and of all spoofs, under resample weights. Draws nothing.

Trials are sorted once within bona fide, each attack and all spoofs. Of a resample only the running sums of its weights are
made; the point where an attack's error rates cross is then found by bisection, so that no curve is ever written out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.errors import CoreError
from core.evaluation.weighted_figures import running_sums
from core.metrics import crossing_of

POOLED = ""
"""Key of all spoofs together, whatever their attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackCurves:
    """Trials laid out for figures of many resamples; made by `attack_curves`."""

    keys: tuple[str, ...]
    """`POOLED`, then the attacks by name: the second axis of what the figures return."""
    columns: np.ndarray
    """Trials by rising score: bona fide, then each key's spoofs."""
    starts: np.ndarray
    """Where each key's spoofs begin in `columns`, and the end `[key + 1]`; bona fide fill what lies before the first."""
    points: np.ndarray
    """Where each key's operating points begin in the two below `[key + 1]`."""
    spoof_at: np.ndarray
    """`[point]`: column of the first spoof at or above each threshold."""
    bona_fide_at: np.ndarray
    """`[point]`: column of the first bona fide trial at or above it."""
    bona_fide_around: tuple[np.ndarray, np.ndarray]
    """`[spoof column]`: how many bona fide trials score below it, and how many below or the same."""

    def eers(self, weights: np.ndarray) -> np.ndarray:
        """`core.metrics.equal_error_rate` of resamples, `[resample, key]`; NaN where one lost all of a key's spoofs."""
        below = running_sums(weights, self.columns)
        row = np.arange(len(weights))[:, None]
        return self.eers_of(lambda columns: below[row, columns], len(weights))

    def eers_of(self, below: Callable[[np.ndarray], np.ndarray], num_resamples: int) -> np.ndarray:
        """`eers` of resamples given as a function: columns `[resample, key]` -> the weight before each of them."""
        shape = (num_resamples, len(self.keys))
        num_bona_fide = below(np.broadcast_to(self.starts[0], shape))
        before = below(np.broadcast_to(self.starts[:-1], shape))
        num_spoof = below(np.broadcast_to(self.starts[1:], shape)) - before

        def rates(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            miss = (below(self.spoof_at[point]) - before) / np.maximum(num_spoof, 1)
            return miss, 1.0 - below(self.bona_fide_at[point]) / num_bona_fide

        # Misses never fall from point to point and false alarms never rise: bisect for the first point where they cross.
        low = np.broadcast_to(self.points[:-1], num_spoof.shape)
        high = np.broadcast_to(self.points[1:] - 1, num_spoof.shape)
        for _ in range(int(np.diff(self.points).max()).bit_length()):
            middle = (low + high) // 2
            miss, false_alarm = rates(middle)
            has_crossed = miss >= false_alarm
            low, high = np.where(has_crossed, low, middle), np.where(has_crossed, middle, high)
        (miss_before, alarm_before), (miss, alarm) = rates(high - 1), rates(high)
        eers = crossing_of(np.stack([miss_before, miss], axis=-1), np.stack([alarm_before, alarm], axis=-1))[0]
        return np.where(num_spoof > 0, eers, np.nan)

    def areas(self, weights: np.ndarray) -> np.ndarray:
        """`core.metrics.area_under_curve` of resamples, `[resample, key]`; NaN where one lost all of a key's spoofs."""
        below = running_sums(weights, self.columns)
        first = self.starts[0]
        rank_sums = np.empty((len(weights), len(self.keys)))
        for row, out in zip(below, rank_sums):
            lower, upper = (row[ranks] for ranks in self.bona_fide_around)
            out[:] = np.add.reduceat(np.diff(row[first:]) * (lower + upper).astype(np.float64), self.starts[:-1] - first) / 2
        num_pairs = (below[:, self.starts[1:]] - below[:, self.starts[:-1]]) * below[:, [first]].astype(np.float64)
        return np.where(num_pairs > 0, rank_sums / np.maximum(num_pairs, 1), np.nan)


def attack_curves(scores: np.ndarray, is_spoof: np.ndarray, attacks: np.ndarray) -> AttackCurves:
    """Lays out checked trials.

    Args:
        attacks: `[trial]`, names of the spoofs' attacks; what a bona fide trial has is ignored, and a spoof without a
            name (None) counts among all spoofs alone.
    """
    if len(attacks) != len(scores):
        raise CoreError(f"expected an attack for each of {len(scores)} trials, got {len(attacks)}")
    order = np.argsort(scores, kind="stable")
    bona_fide, spoof = order[~is_spoof[order]], order[is_spoof[order]]
    names = np.array([name if isinstance(name, str) else POOLED for name in np.asarray(attacks, dtype=object)[spoof]])
    keys = (POOLED, *(str(name) for name in np.unique(names) if name != POOLED))
    members = [spoof if key == POOLED else spoof[names == key] for key in keys]
    starts = np.cumsum([len(bona_fide), *(len(trials) for trials in members)])
    thresholds = [np.unique(np.concatenate([scores[bona_fide], scores[trials]])) for trials in members]
    spoof_at = [
        np.append(start + np.searchsorted(scores[trials], at), start + len(trials))
        for start, trials, at in zip(starts, members, thresholds)
    ]
    bona_fide_at = [np.append(np.searchsorted(scores[bona_fide], at), len(bona_fide)) for at in thresholds]
    columns = np.concatenate([bona_fide, *members])
    spoof_scores = scores[columns[len(bona_fide) :]]
    return AttackCurves(
        keys=keys,
        columns=columns,
        starts=starts,
        points=np.cumsum([0, *(len(at) for at in spoof_at)]),
        spoof_at=np.concatenate(spoof_at),
        bona_fide_at=np.concatenate(bona_fide_at),
        bona_fide_around=tuple(np.searchsorted(scores[bona_fide], spoof_scores, side) for side in ("left", "right")),
    )
