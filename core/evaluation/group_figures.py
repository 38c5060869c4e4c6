"""Shares, equal error rates and areas of groups of trials, with 95 % intervals over speakers where they are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from core.evaluation.attack_curves import POOLED
from core.evaluation.curves import NORMAL_95, wilson_interval
from core.evaluation.drawn_eers import drawn_eers
from core.evaluation.groupings import Group
from core.evaluation.resampling import Interval, bootstrap_areas, bootstrap_eers
from core.metrics import asvspoof_equal_error_rate

_MIN_SPEAKERS = 2
"""Fewer do not vary: the interval is then of single trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTrials:
    """What the figures of one system need; trials without a score are left out of every figure."""

    scores: np.ndarray
    """`[trial]`, NaN where there is none."""
    is_spoof: np.ndarray
    speakers: np.ndarray | None
    """`[trial]` speaker numbers; None: trials are resampled one by one."""

    def scored(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows that have a score."""
        return rows[~np.isnan(self.scores[rows])]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparableGroups:
    """Trials of groups with common bona fide trials, as `core.evaluation.resampling` takes them."""

    rows: np.ndarray
    """Of the set's table: bona fide first."""
    labels: np.ndarray
    """Each row's group, as text; None for bona fide."""
    speakers: np.ndarray | None
    """Each row's speaker; None: resampled one by one."""
    keys: dict[int, str]
    """Number of a group -> its key in what `core.evaluation.resampling` gives."""


def share_intervals(
    trials: ScoredTrials, is_right: np.ndarray, rows: Sequence[np.ndarray], *, num_resamples: int
) -> list[Interval]:
    """Share of each group's trials that are right.

    The intervals resample whole speakers, or are Wilson's where speakers are not known or a group has one only.

    Args:
        is_right: `[trial]` bool.
        rows: of each group, none empty.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    counts = [(np.count_nonzero(is_right[of_group]), len(of_group)) for of_group in rows]
    intervals = [_share(right, total) for right, total in counts]
    if trials.speakers is None:
        return intervals
    num_speakers = int(trials.speakers.max()) + 1
    totals = np.stack([np.bincount(trials.speakers[of_group], minlength=num_speakers) for of_group in rows], axis=1)
    rights = np.stack(
        [np.bincount(trials.speakers[of_group[is_right[of_group]]], minlength=num_speakers) for of_group in rows], axis=1
    )
    drawn = speaker_draws(num_speakers, num_resamples)
    with np.errstate(invalid="ignore"):  # a resample may have none of a group's speakers
        shares = (drawn @ rights) / (drawn @ totals)
    lows, highs = np.nanpercentile(shares, [2.5, 97.5], axis=0)
    has_speakers = np.count_nonzero(totals, axis=0) >= _MIN_SPEAKERS
    return [
        Interval(value=interval.value, low=float(low), high=float(high)) if grouped else interval
        for interval, low, high, grouped in zip(intervals, lows, highs, has_speakers, strict=True)
    ]


def speaker_draws(num_speakers: int, num_resamples: int, *, seed: int = 0) -> np.ndarray:
    """How often each speaker is drawn in each resample, `[resample, speaker]` float64."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), size=num_resamples).astype(np.float64)


def eer_intervals(trials: ScoredTrials, groups: Sequence[Group], *, as_asvspoof: bool, num_resamples: int) -> list[Interval | None]:
    """EER of each group's spoofs against its bona fide trials; None where a class has no scored trial.

    Args:
        as_asvspoof: the figure as the organisers take it instead of the interpolated one; the interval is the same.
    """
    found: dict[int, Interval] = {}
    for together in comparable(trials, groups):
        of_rows = (trials.scores[together.rows], trials.is_spoof[together.rows], together.labels)
        if together.speakers is None:
            by_key = drawn_eers(*of_rows, num_resamples=num_resamples)
        else:
            by_key = bootstrap_eers(*of_rows, groups=together.speakers, num_resamples=num_resamples)
        found |= {number: by_key[key] for number, key in together.keys.items()}
    if as_asvspoof:
        found = {number: _as_asvspoof(trials, groups[number], interval) for number, interval in found.items()}
    return [found.get(number) for number in range(len(groups))]


def auc_intervals(trials: ScoredTrials, groups: Sequence[Group], *, num_resamples: int) -> list[Interval | None]:
    """Area under the ROC curve of each group's spoofs against its bona fide trials; None where a class has no scored trial.

    The intervals resample whole speakers, or are DeLong's where speakers are not known or a class has one only.
    """
    found: dict[int, Interval] = {}
    for together in comparable(trials, groups):
        if together.speakers is None:
            found |= {number: delong(*(trials.scores[rows] for rows in _both(trials, groups[number]))) for number in together.keys}
        else:
            rows = together.rows
            by_key = bootstrap_areas(
                trials.scores[rows],
                trials.is_spoof[rows],
                together.labels,
                groups=together.speakers,
                num_resamples=num_resamples,
            )
            found |= {number: by_key[key] for number, key in together.keys.items()}
    return [found.get(number) for number in range(len(groups))]


def comparable(trials: ScoredTrials, groups: Sequence[Group]) -> Iterator[ComparableGroups]:
    """Groups that share their bona fide trials, and so the resamples; those without a scored trial of a class are left out.

    A total shares them with the groups that it sums up.
    """
    pools: dict[int, list[int]] = {}
    for number, group in enumerate(groups):
        if group.kind != "human":
            pools.setdefault(id(group.bona_fide), []).append(number)
    for pool in pools.values():
        bona_fide = trials.scored(groups[pool[0]].bona_fide)
        spoofs = {number: trials.scored(groups[number].spoof) for number in pool}
        singles = [number for number in pool if groups[number].kind != "total" and len(spoofs[number])]
        totals = [number for number in pool if groups[number].kind == "total" and len(spoofs[number])]
        members = singles or totals
        if len(bona_fide) and members:
            rows = np.concatenate([bona_fide, *(spoofs[number] for number in members)])
            sizes = [len(bona_fide), *(len(spoofs[number]) for number in members)]
            yield ComparableGroups(
                rows=rows,
                labels=np.repeat(np.array([None, *(str(number) for number in members)], dtype=object), sizes),
                speakers=_speakers_of(trials, rows),
                keys={number: str(number) for number in members} | dict.fromkeys(totals, POOLED),
            )


def delong(spoof: np.ndarray, bona_fide: np.ndarray) -> Interval:
    """Area under the ROC curve of independent trials' scores, with DeLong's interval on the logit scale.

    Source: DeLong, DeLong and Clarke-Pearson (1988), "Comparing the areas under two or more correlated receiver operating
    characteristic curves"; logit: Pepe (2003), "The statistical evaluation of medical tests", section 5.2.
    """
    # Of each trial: how much of the other class is in the right order with it, ties counting half.
    of_spoof, of_bona_fide = _share_below(spoof, bona_fide), 1.0 - _share_below(bona_fide, spoof)
    area = float(of_spoof.mean())
    if area in (0.0, 1.0):
        return Interval(value=area, low=area, high=area)
    variance = sum(float(np.var(shares, ddof=1)) / len(shares) for shares in (of_spoof, of_bona_fide) if len(shares) > 1)
    half = NORMAL_95 * np.sqrt(variance) / (area * (1 - area))
    low, high = expit(logit(area) + np.array([-half, half]))
    return Interval(value=area, low=float(low), high=float(high))


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the others below each score, ties counting half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(others))


def _both(trials: ScoredTrials, group: Group) -> tuple[np.ndarray, np.ndarray]:
    """Scored rows of the group's spoofs, and of the bona fide trials that they are measured against."""
    return trials.scored(group.spoof), trials.scored(group.bona_fide)


def _as_asvspoof(trials: ScoredTrials, group: Group, interval: Interval) -> Interval:
    rows = np.concatenate(_both(trials, group))
    value = asvspoof_equal_error_rate(trials.scores[rows], trials.is_spoof[rows])
    # The two definitions differ by less than a trial; the interval must still hold the figure that stands beside it.
    return Interval(value=value, low=min(interval.low, value), high=max(interval.high, value))


def _speakers_of(trials: ScoredTrials, rows: np.ndarray) -> np.ndarray | None:
    """Speakers of the rows; None where they are not known, or too few in a class to be resampled."""
    if trials.speakers is None:
        return None
    speakers, is_spoof = trials.speakers[rows], trials.is_spoof[rows]
    enough = all(len(np.unique(of_class)) >= _MIN_SPEAKERS for of_class in (speakers[is_spoof], speakers[~is_spoof]))
    return speakers if enough else None


def _share(right: int, total: int) -> Interval:
    """A share of independent trials with Wilson's interval."""
    low, high = wilson_interval(right, total)
    return Interval(value=right / total, low=low, high=high)
