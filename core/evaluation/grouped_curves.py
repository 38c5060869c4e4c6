"""EER and AUC of every attack when whole groups (speakers) are resampled: from counts per group, without a weight per trial.

All trials of a group weigh the same in a resample, so that what lies below a threshold is a product of two short vectors: how
often each group was drawn, and how many of its trials lie below. Draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.evaluation.attack_curves import AttackCurves

_MOST_COUNTS = 2**24
"""More counts (trials x groups) than this take more memory than they save time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedCurves:
    """Trials of groups laid out for figures of many resamples; made by `grouped_curves`."""

    curves: AttackCurves
    before: np.ndarray
    """`[column + 1, group]` float32, exact: trials of each group before a column of `curves.columns`."""
    groups: np.ndarray
    """`[column]` each column's group."""

    def eers(self, counts: np.ndarray) -> np.ndarray:
        """As `AttackCurves.eers`, of how often each group was drawn, `[resample, group]`."""
        drawn = counts.astype(np.float64)
        return self.curves.eers_of(lambda columns: np.einsum("rkg,rg->rk", self.before[columns], drawn), len(counts))

    def areas(self, counts: np.ndarray) -> np.ndarray:
        """As `AttackCurves.areas`, of how often each group was drawn, `[resample, group]`."""
        curves, drawn = self.curves, counts.astype(np.float64)
        first, num_groups = curves.starts[0], drawn.shape[1]
        areas = np.empty((len(drawn), len(curves.keys)))
        num_bona_fide = drawn @ self.before[first]
        for k, (start, end) in enumerate(zip(curves.starts[:-1], curves.starts[1:], strict=True)):
            won = np.zeros((num_groups, num_groups))
            # Pairs that each group's spoofs win over each group's bona fide trials, ties counting half.
            for ranks in curves.bona_fide_around:
                cells = self.groups[start:end] * (first + 1) + ranks[start - first : end - first]
                spoofs_at = np.bincount(cells, minlength=num_groups * (first + 1)).reshape(num_groups, first + 1)
                won += spoofs_at.astype(np.float32) @ self.before[: first + 1] / 2
            num_pairs = (drawn @ (self.before[end] - self.before[start])) * num_bona_fide
            in_order = np.einsum("rg,rg->r", drawn @ won, drawn)
            areas[:, k] = np.where(num_pairs > 0, in_order / np.maximum(num_pairs, 1), np.nan)
        return areas


def grouped_curves(curves: AttackCurves, groups: np.ndarray) -> GroupedCurves | None:
    """Lays out the trials of groups; None where groups and attacks are so many that weights per trial are the better way.

    Args:
        groups: `[trial]` numbers from 0.
    """
    num_groups, of_columns = int(groups.max()) + 1, groups[curves.columns]
    # Of a resample, bisection reads two counts of every group for each attack and step; weights are handled about four times.
    num_read = 2 * num_groups * len(curves.keys) * int(np.diff(curves.points).max()).bit_length()
    if num_read > 4 * len(of_columns) or (len(of_columns) + 1) * num_groups > _MOST_COUNTS:
        return None
    before = np.zeros((len(of_columns) + 1, num_groups), dtype=np.float32)
    before[np.arange(1, len(of_columns) + 1), of_columns] = 1
    return GroupedCurves(curves=curves, before=np.cumsum(before, axis=0, out=before), groups=of_columns)
