"""Figures of systems per group of trials, with intervals, and the trials that they get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.errors import CoreError
from core.evaluation.group_cells import cells_of
from core.evaluation.group_figures import ScoredTrials, eer_intervals
from core.evaluation.groupings import Group, groups_of
from core.evaluation.notes import interval_method, is_asvspoof, set_warnings, speaker_numbers, system_warnings
from core.evaluation.operating_points import OperatingPoint, scored_trials, thresholds_at
from core.evaluation.records import METRIC_TITLES, ErrorTrial, EvaluationSummary, Grouping, GroupRow, GroupTable, Metric
from core.evaluation.summary_figures import eer_figures, figure_of, set_figures, threshold_figure
from core.evaluation.system_records import System
from core.evaluation.tandem import AsvErrorRates
from core.evaluation.trial_sets import TrialSet

EQUAL_ERRORS = OperatingPoint(kind="eer")
_EXTREME_SHARE = 0.001
"""Scores beyond this share at each end are out of a slider's reach."""


def group_table(
    systems: Sequence[System],
    *,
    metric: Metric,
    grouping: Grouping = "attack",
    thresholds: Mapping[str, float] | None = None,
    num_resamples: int = 1_000,
) -> GroupTable:
    """One metric of each system on bona fide speech, on each group of trials, and on all.

    Args:
        systems: of one trial set.
        thresholds: system -> score from which on it says spoof; where a system has none, it is where its miss and false
            alarm rates on this set are equal.
        num_resamples: of the bootstrap.

    Raises:
        CoreError: no system, systems of different sets or of one name, an unknown metric or grouping, or one class only where
            a threshold must be found.
    """
    trial_set = checked_systems(systems)
    if metric not in METRIC_TITLES:
        raise CoreError(f"There is no metric {metric!r}; expected one of {', '.join(METRIC_TITLES)}.")
    groups = groups_of(trial_set, grouping)
    chosen = _thresholds(systems, thresholds, must_know=metric in ("accuracy", "miss_rate"))
    speakers = None if grouping == "speaker" else speaker_numbers(trial_set)
    as_asvspoof = metric == "eer" and is_asvspoof(trial_set)
    columns = [
        cells_of(
            ScoredTrials(scores=system.scores, is_spoof=trial_set.is_spoof, speakers=speakers),
            groups,
            metric=metric,
            threshold=chosen.get(system.name),
            as_asvspoof=as_asvspoof,
            num_resamples=num_resamples,
        )
        for system in systems
    ]
    return GroupTable(
        metric=metric,
        grouping=grouping,
        rows=tuple(_row(group) for group in groups),
        systems=tuple(system.name for system in systems),
        cells=tuple(zip(*columns, strict=True)),
        thresholds=chosen,
        interval_method=interval_method(metric, speakers, num_resamples=num_resamples),
        warnings=set_warnings(trial_set, speakers, as_asvspoof=as_asvspoof) + tuple(w for s in systems for w in system_warnings(s)),
    )


def threshold_range(systems: Sequence[System]) -> tuple[float, float]:
    """Ends of a slider over thresholds: all scores but the most extreme 0.1 % at each end.

    Raises:
        CoreError: no system, or no score at all.
    """
    checked_systems(systems)
    scores = np.concatenate([system.scores for system in systems])
    if np.isnan(scores).all():
        raise CoreError("None of the systems has a score, so there is no threshold to choose.")
    low, high = np.nanquantile(scores, [_EXTREME_SHARE, 1 - _EXTREME_SHARE])
    return float(low), float(high)


def errors_of(
    system: System,
    *,
    row_key: str,
    grouping: Grouping = "attack",
    threshold: float | None = None,
    limit: int | None = 200,
) -> tuple[ErrorTrial, ...]:
    """The trials of a row that a system gets wrong, those furthest on the wrong side of the threshold first.

    Args:
        row_key: a `GroupRow.key` of the grouping's table.
        threshold: where it says spoof from; its threshold of equal errors when None.
        limit: at most so many; all when None.

    Raises:
        CoreError: no such row, or scores of one class only where the threshold must be found.
    """
    group = next((group for group in groups_of(system.trial_set, grouping) if group.key == row_key), None)
    if group is None:
        raise CoreError(f"The set {system.trial_set.name} has no row {row_key!r} by {grouping}.")
    threshold = thresholds_at([system], EQUAL_ERRORS)[system.name] if threshold is None else threshold
    rows = group.own[~np.isnan(system.scores[group.own])]
    scores = system.scores[rows]
    rows = rows[(scores >= threshold) != system.trial_set.is_spoof[rows]]
    worst = rows[np.argsort(-np.abs(system.scores[rows] - threshold), kind="stable")][:limit]
    found = system.trial_set.table.iloc[worst]
    columns = [_plain(found[name]) for name in ("utterance", "label", "attack", "speaker", "path")]
    return tuple(
        ErrorTrial(
            utterance=utterance,
            label=label,
            attack=attack,
            speaker=speaker,
            score=float(score),
            path=path,
            audit_id=system.audit_id,
        )
        for utterance, label, attack, speaker, path, score in zip(*columns, system.scores[worst], strict=True)
    )


def evaluation_summary(
    system: System, *, threshold: float | None = None, asv: AsvErrorRates | None = None, num_resamples: int = 1_000
) -> EvaluationSummary:
    """Every figure of a system on its set, with intervals, and its EER on each attack.

    Where a set mixes ASVspoof's training and evaluation attacks the figures are of all trials; a warning says so.

    Args:
        threshold: where it says spoof from; its threshold of equal errors when None.
        asv: error rates of a speaker verifier; adds the t-DCF.

    Raises:
        CoreError: it has scores of one class only.
    """
    scores, is_spoof = scored_trials(system)
    chosen = thresholds_at([system], EQUAL_ERRORS)[system.name] if threshold is None else threshold
    speakers = speaker_numbers(system.trial_set)
    as_asvspoof = is_asvspoof(system.trial_set)
    groups = groups_of(system.trial_set, "attack")
    trials = ScoredTrials(scores=system.scores, is_spoof=system.trial_set.is_spoof, speakers=speakers)
    eers = eer_intervals(trials, groups, as_asvspoof=as_asvspoof, num_resamples=num_resamples)
    by_row = [(group, interval) for group, interval in zip(groups, eers, strict=True) if interval is not None]
    totals = [
        figure
        for group, interval in by_row
        if group.kind == "total"
        for figure in eer_figures(trials, group, interval, as_asvspoof=as_asvspoof)
    ]
    of_all = set_figures(
        scores,
        is_spoof,
        threshold=chosen,
        asv=asv,
        groups=None if speakers is None else speakers[np.isfinite(system.scores)],
        num_resamples=num_resamples,
    )
    return EvaluationSummary(
        system=system.name,
        trial_set=system.trial_set.name,
        num_bona_fide=int(np.count_nonzero(~is_spoof)),
        num_spoof=int(np.count_nonzero(is_spoof)),
        num_not_scored=len(system.scores) - len(scores),
        threshold=chosen,
        is_own_threshold=threshold is not None,
        figures=(*totals, threshold_figure(chosen), *of_all),
        eer_by_attack=tuple(figure_of(g.key, g.title, interval, g.description) for g, interval in by_row if g.kind == "group"),
        interval_method=interval_method("eer", speakers, num_resamples=num_resamples),
        warnings=set_warnings(system.trial_set, speakers, as_asvspoof=as_asvspoof) + system_warnings(system),
    )


def checked_systems(systems: Sequence[System]) -> TrialSet:
    """The systems' one trial set.

    Raises:
        CoreError: no system, two of one name, or systems of different sets.
    """
    if not systems:
        raise CoreError("There is no system to evaluate; choose at least one.")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise CoreError(f"Two of the systems have one name: {', '.join(names)}.")
    if len({system.trial_set.key for system in systems}) > 1:
        sets = ", ".join(sorted({system.trial_set.name for system in systems}))
        raise CoreError(
            f"The systems were scored on different trials ({sets}); only systems of one trial set can be put side by side."
        )
    return systems[0].trial_set


def _thresholds(systems: Sequence[System], thresholds: Mapping[str, float] | None, *, must_know: bool) -> dict[str, float]:
    """The given threshold of each system, or its threshold of equal errors; left out if there is none and none is needed."""
    given = {system.name: thresholds[system.name] for system in systems if thresholds and system.name in thresholds}
    others = [system for system in systems if system.name not in given]
    if not must_know:
        others = [system for system in others if len(np.unique(scored_trials(system)[1])) == 2]
    return given | thresholds_at(others, EQUAL_ERRORS)


def _row(group: Group) -> GroupRow:
    return GroupRow(key=group.key, title=group.title, description=group.description, kind=group.kind, num_trials=len(group.own))


def _plain(column: pd.Series) -> list[str | None]:
    """Text of a column, None where there is none."""
    return [None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
