"""A system's column of a table: one metric on each group, as cells that say why a figure is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.evaluation.group_figures import ScoredTrials, auc_intervals, eer_intervals, share_intervals
from core.evaluation.groupings import Group
from core.evaluation.records import METRIC_TITLES, Cell, Metric
from core.evaluation.resampling import Interval


def cells_of(
    trials: ScoredTrials,
    groups: Sequence[Group],
    *,
    metric: Metric,
    threshold: float | None,
    as_asvspoof: bool,
    num_resamples: int,
) -> list[Cell]:
    """One cell for each group.

    Args:
        threshold: from which score on the system says spoof; needed for accuracy and miss rate.
        as_asvspoof: EERs as the organisers take them.
    """
    if metric in ("accuracy", "miss_rate"):
        counted = [group.own if metric == "accuracy" else group.spoof for group in groups]
        intervals = _shares(trials, [trials.scored(rows) for rows in counted], metric, threshold, num_resamples)
    else:
        # The human row has no spoofs, so that it gets none of these.
        counted = [np.concatenate([group.spoof, group.bona_fide]) if group.owns_bona_fide else group.spoof for group in groups]
        if metric == "eer":
            intervals = eer_intervals(trials, groups, as_asvspoof=as_asvspoof, num_resamples=num_resamples)
        else:
            intervals = auc_intervals(trials, groups, num_resamples=num_resamples)
    return [_cell(trials, *pair, metric) for pair in zip(groups, counted, intervals, strict=True)]


def _shares(
    trials: ScoredTrials, rows: list[np.ndarray], metric: Metric, threshold: float, num_resamples: int
) -> list[Interval | None]:
    """Accuracy or miss rate of each group's rows; None where it has none."""
    said_spoof = trials.scores >= threshold
    counts = said_spoof == trials.is_spoof if metric == "accuracy" else ~said_spoof
    filled = [number for number, of_group in enumerate(rows) if len(of_group)]
    intervals = share_intervals(trials, counts, [rows[number] for number in filled], num_resamples=num_resamples)
    found = dict(zip(filled, intervals, strict=True))
    return [found.get(number) for number in range(len(rows))]


def _cell(trials: ScoredTrials, group: Group, counted: np.ndarray, interval: Interval | None, metric: Metric) -> Cell:
    num_trials = len(trials.scored(counted))
    num_missing = len(counted) - num_trials
    note = f"{num_missing:,} of {len(counted):,} trials have no score and are left out." if num_missing else ""
    if interval is None:
        return Cell(value=None, low=None, high=None, num_trials=num_trials, note=_why_missing(trials, group, metric))
    return Cell(value=interval.value, low=interval.low, high=interval.high, num_trials=num_trials, note=note)


def _why_missing(trials: ScoredTrials, group: Group, metric: Metric) -> str:
    if group.kind == "human" and metric != "accuracy":
        return f"The {METRIC_TITLES[metric].lower()} is of spoofs; bona fide speech alone has none."
    if len(trials.scored(group.own)) == 0:
        return "No trial of this row has a score."
    missing = "bona fide trial" if len(trials.scored(group.spoof)) else "spoof"
    return f"This row has no {missing} with a score."
