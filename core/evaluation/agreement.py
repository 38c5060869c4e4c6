"""How far two analysts' reviews agree beyond chance, and where they do not. Reads; judges nobody."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from core.errors import CoreError
from core.evaluation.resampling import Interval
from core.records import Verdict
from core.store.schema import entries, reviews
from core.store.store import Store

CHOICES = tuple(str(verdict) for verdict in Verdict if verdict is not Verdict.REFUSED)
_NUM_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two analysts on the recordings that both reviewed, each by their newest review."""

    first: str
    second: str
    num_both: int
    num_same: int
    kappa: Interval | None
    """Cohen's; None where both say one and the same of all, so that chance alone would agree as much."""
    table: tuple[tuple[int, ...], ...]
    """Counts `[first][second]` in the order of `CHOICES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A file on which the newest reviews of two or more analysts differ."""

    entry_id: int
    path: str
    spoof_score: float | None
    said: tuple[tuple[str, str], ...]
    """Analyst and verdict, by name."""


def cohen_kappa(table: np.ndarray) -> float:
    """Agreement beyond chance of a square table of counts: (p_o - p_e) / (1 - p_e); NaN where chance agrees always.

    Source: Cohen (1960), "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20.

    Raises:
        CoreError: an empty table.
    """
    total = table.sum()
    if not total:
        raise CoreError("Agreement needs at least one recording that both reviewed.")
    observed = np.trace(table) / total
    by_chance = float(table.sum(axis=1) @ table.sum(axis=0)) / total**2
    return float((observed - by_chance) / (1 - by_chance)) if by_chance < 1 else float("nan")


def agreements(store: Store, audit_id: int) -> tuple[Agreement, ...]:
    """Every pair of analysts with a recording of the audit in common, most recordings first."""
    said = _said(store, audit_id)
    by_reviewer: dict[str, dict[int, str]] = {}
    for recording_id, verdicts in said.items():
        for reviewer, verdict in verdicts.items():
            by_reviewer.setdefault(reviewer, {})[recording_id] = verdict
    found = []
    for first, second in itertools.combinations(sorted(by_reviewer), 2):
        both = sorted(by_reviewer[first].keys() & by_reviewer[second].keys())
        if both:
            pairs = [(by_reviewer[first][recording], by_reviewer[second][recording]) for recording in both]
            found.append(_agreement(first, second, pairs))
    return tuple(sorted(found, key=lambda agreement: -agreement.num_both))


def disagreements(store: Store, audit_id: int, *, limit: int = 200) -> tuple[Disagreement, ...]:
    """Files whose analysts differ, highest scores first; one file per content."""
    differing = {recording: verdicts for recording, verdicts in _said(store, audit_id).items() if len(set(verdicts.values())) > 1}
    columns = (entries.c.recording_id, sa.func.min(entries.c.id).label("entry_id"), sa.func.min(entries.c.path).label("path"))
    columns += (sa.func.max(entries.c.spoof_score).label("spoof_score"),)
    query = sa.select(*columns).where(entries.c.audit_id == audit_id, entries.c.recording_id.is_not(None))
    with store.reading() as connection:
        rows = [row for row in connection.execute(query.group_by(entries.c.recording_id)) if row.recording_id in differing]
    rows.sort(key=lambda row: (row.spoof_score is None, -(row.spoof_score or 0.0)))
    return tuple(
        Disagreement(
            entry_id=row.entry_id,
            path=row.path,
            spoof_score=row.spoof_score,
            said=tuple(sorted(differing[row.recording_id].items())),
        )
        for row in rows[:limit]
    )


def _said(store: Store, audit_id: int) -> dict[int, dict[str, str]]:
    """Recording of the audit -> reviewer -> newest verdict."""
    of_audit = sa.select(entries.c.recording_id).where(entries.c.audit_id == audit_id)
    columns = reviews.c.recording_id, reviews.c.reviewer, reviews.c.verdict
    query = sa.select(*columns).where(reviews.c.recording_id.in_(of_audit)).order_by(reviews.c.id)
    said: dict[int, dict[str, str]] = {}
    with store.reading() as connection:
        for row in connection.execute(query):
            said.setdefault(row.recording_id, {})[row.reviewer] = row.verdict
    return said


def _agreement(first: str, second: str, pairs: list[tuple[str, str]]) -> Agreement:
    counts = Counter(pairs)
    table = np.array([[counts[a, b] for b in CHOICES] for a in CHOICES])
    return Agreement(
        first=first,
        second=second,
        num_both=len(pairs),
        num_same=int(np.trace(table)),
        kappa=_kappa_interval(table),
        table=tuple(tuple(int(n) for n in row) for row in table),
    )


def _kappa_interval(table: np.ndarray) -> Interval | None:
    """Kappa with its 95 % interval over recordings; resamples in which it is not defined are left out."""
    value = cohen_kappa(table)
    if np.isnan(value):
        return None
    drawn = np.random.default_rng(0).multinomial(table.sum(), table.ravel() / table.sum(), size=_NUM_RESAMPLES)
    values = np.array([cohen_kappa(one.reshape(table.shape)) for one in drawn])
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))
