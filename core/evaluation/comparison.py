"""Two systems on the same trials: paired differences per group, with significance, and the recordings on which they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import CoreError
from core.evaluation.comparison_records import ComparisonRow, Disagreement, ErrorCounts, ScoreScatter, SystemComparison
from core.evaluation.evaluate import EQUAL_ERRORS, checked_systems
from core.evaluation.group_figures import ScoredTrials, comparable
from core.evaluation.groupings import Group, groups_of
from core.evaluation.notes import is_asvspoof, set_warnings, speaker_numbers, system_warnings
from core.evaluation.operating_points import thresholds_at
from core.evaluation.records import Grouping
from core.evaluation.resampling import PairedDifference, paired_eers
from core.evaluation.system_records import System
from core.metrics import equal_error_rate

_INTERPOLATED = " EERs are interpolated here; other pages show them as the ASVspoof organisers take them, a few hundredths apart."


def compare_systems(
    first: System,
    second: System,
    *,
    grouping: Grouping = "attack",
    thresholds: Mapping[str, float] | None = None,
    num_resamples: int = 1_000,
    limit: int = 200,
) -> SystemComparison:
    """Compares two systems on the trials that both scored.

    Args:
        thresholds: system -> score from which on it says spoof; its threshold of equal errors where there is none.
        limit: at most so many disagreements.

    Raises:
        CoreError: as `core.evaluation.evaluate.group_table`, or no common trial.
    """
    trial_set = checked_systems([first, second])
    common = np.isfinite(first.scores) & np.isfinite(second.scores)
    if not common.any():
        raise CoreError(f"{first.name} and {second.name} have no trial that both scored, so there is nothing to compare.")
    missing = [system for system in (first, second) if system.name not in (thresholds or {})]
    chosen = dict(thresholds or {}) | thresholds_at(missing, EQUAL_ERRORS)
    is_spoof, speakers = trial_set.is_spoof, None if grouping == "speaker" else speaker_numbers(trial_set)
    wrong = [(system.scores >= chosen[system.name]) != is_spoof for system in (first, second)]
    groups = groups_of(trial_set, grouping)
    differences = _differences(first, second, common, groups, speakers, num_resamples=num_resamples)
    adjusted = _adjusted(groups, differences)
    rows = tuple(
        _row(group, first, second, common, wrong, differences.get(number), adjusted.get(number))
        for number, group in enumerate(groups)
    )
    disagreements = np.flatnonzero(common & (wrong[0] != wrong[1]))
    resampled = "single trials" if speakers is None else f"{len(np.unique(speakers)):,} speakers"
    return SystemComparison(
        first=first.name,
        second=second.name,
        thresholds={system.name: chosen[system.name] for system in (first, second)},
        grouping=grouping,
        rows=rows,
        disagreements=_disagreements(first, second, disagreements, first_wrong=wrong[0], thresholds=chosen, limit=limit),
        num_disagreements=len(disagreements),
        num_common=int(common.sum()),
        interval_method=(
            f"95 % intervals and p-values of EER differences: paired bootstrap over {resampled}, {num_resamples:,} resamples;"
            " p-values after Holm's correction for the number of rows. Errors at the thresholds: McNemar's exact test."
            + (_INTERPOLATED if is_asvspoof(trial_set) else "")
        ),
        warnings=set_warnings(trial_set, speakers, as_asvspoof=False) + system_warnings(first) + system_warnings(second),
    )


def score_scatter(first: System, second: System, *, max_points: int = 5_000, seed: int = 0) -> ScoreScatter:
    """Scores of two systems on common trials; of more than `max_points`, a random choice that keeps the classes' shares.

    Raises:
        CoreError: systems of different sets, or no common trial.
    """
    trial_set = checked_systems([first, second])
    rows = np.flatnonzero(np.isfinite(first.scores) & np.isfinite(second.scores))
    if len(rows) == 0:
        raise CoreError(f"{first.name} and {second.name} have no trial that both scored, so there is nothing to compare.")
    of_first, of_second = first.scores[rows], second.scores[rows]
    varies = len(rows) > 1 and np.ptp(of_first) > 0 and np.ptp(of_second) > 0
    shown = rows
    if len(rows) > max_points:
        shown = np.sort(np.random.default_rng(seed).choice(rows, max_points, replace=False))
    table = trial_set.table.iloc[shown]
    return ScoreScatter(
        first=first.name,
        second=second.name,
        utterances=tuple(table["utterance"]),
        labels=tuple(table["label"]),
        attacks=tuple(table["attack"].astype(object).where(table["attack"].notna(), None)),
        first_scores=first.scores[shown],
        second_scores=second.scores[shown],
        correlation=float(np.corrcoef(of_first, of_second)[0, 1]) if varies else float("nan"),
        num_common=len(rows),
    )


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values that hold for all together, `[test]`.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that each of the trials with one error is as likely the first system's as the second's.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions".
    """
    from scipy.stats import binom  # a second to import, for this alone

    num_single = only_first + only_second
    return float(min(1.0, 2 * binom.cdf(min(only_first, only_second), num_single, 0.5)))


def _differences(
    first: System, second: System, common: np.ndarray, groups: Sequence[Group], speakers: np.ndarray | None, *, num_resamples: int
) -> dict[int, PairedDifference]:
    """Number of a group -> difference of its EERs, where it has both classes."""
    is_spoof = first.trial_set.is_spoof
    both = ScoredTrials(scores=np.where(common, first.scores, np.nan), is_spoof=is_spoof, speakers=speakers)
    found = {}
    for together in comparable(both, groups):
        rows = together.rows
        by_key = paired_eers(
            first.scores[rows],
            second.scores[rows],
            is_spoof[rows],
            together.labels,
            groups=together.speakers,
            num_resamples=num_resamples,
        )
        found |= {number: by_key[key] for number, key in together.keys.items()}
    return found


def _adjusted(groups: Sequence[Group], differences: Mapping[int, PairedDifference]) -> dict[int, float]:
    """Number of a group -> its p-value after Holm's correction, groups and totals each for themselves."""
    found = {}
    for kind in ("group", "total"):
        numbers = [number for number in differences if groups[number].kind == kind]
        p_values = holm(np.array([differences[number].p_value for number in numbers]))
        found |= dict(zip(numbers, p_values.tolist(), strict=True))
    return found


def _row(
    group: Group,
    first: System,
    second: System,
    common: np.ndarray,
    wrong: Sequence[np.ndarray],
    difference: PairedDifference | None,
    p_adjusted: float | None,
) -> ComparisonRow:
    own = group.own[common[group.own]]
    eers = (None, None) if difference is None else (_eer(system, group, common) for system in (first, second))
    of_first, of_second = eers
    first_wrong, second_wrong = wrong[0][own], wrong[1][own]
    only_first, only_second = int((first_wrong & ~second_wrong).sum()), int((second_wrong & ~first_wrong).sum())
    return ComparisonRow(
        key=group.key,
        title=group.title,
        description=group.description,
        kind=group.kind,
        num_trials=len(own),
        first=of_first,
        second=of_second,
        difference=difference,
        p_adjusted=p_adjusted,
        errors=ErrorCounts(
            only_first=only_first,
            only_second=only_second,
            both=int((first_wrong & second_wrong).sum()),
            p_value=mcnemar(only_first, only_second),
        ),
    )


def _eer(system: System, group: Group, common: np.ndarray) -> float:
    rows = np.concatenate([group.bona_fide, group.spoof])
    rows = rows[common[rows]]
    return equal_error_rate(system.scores[rows], system.trial_set.is_spoof[rows])[0]


def _disagreements(
    first: System, second: System, rows: np.ndarray, *, first_wrong: np.ndarray, thresholds: Mapping[str, float], limit: int
) -> tuple[Disagreement, ...]:
    """The trials of the rows, widest margin first."""
    trial_set, systems = first.trial_set, (first, second)
    spreads = [float(np.nanstd(system.scores)) or 1.0 for system in systems]
    offsets = [(system.scores[rows] - thresholds[system.name]) / spread for system, spread in zip(systems, spreads, strict=True)]
    margins = np.abs(offsets[0] - offsets[1])
    order = np.argsort(-margins, kind="stable")[:limit]
    table = trial_set.table.iloc[rows[order]]
    table = table.astype(object).where(table.notna(), None)
    audit_id = first.audit_id if first.audit_id is not None else second.audit_id
    return tuple(
        Disagreement(
            utterance=trial.utterance,
            label=trial.label,
            attack=trial.attack,
            speaker=trial.speaker,
            first_score=float(first.scores[row]),
            second_score=float(second.scores[row]),
            right="second" if first_wrong[row] else "first",
            margin=float(margin),
            path=trial.path,
            audit_id=audit_id,
        )
        for trial, row, margin in zip(table.itertuples(), rows[order], margins[order], strict=True)
    )
