"""Records of a comparison of two systems on the same trials. No arithmetic beyond reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from core.evaluation.records import Grouping
from core.evaluation.resampling import PairedDifference

SIGNIFICANCE = 0.05
"""Adjusted p-values below this are called significant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCounts:
    """Who is wrong on the row's trials, each system at its threshold."""

    only_first: int
    only_second: int
    both: int
    p_value: float
    """McNemar's exact test that both are wrong equally often; it takes trials for independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A group, or all trials."""

    key: str
    title: str
    description: str
    kind: Literal["human", "group", "total"]
    num_trials: int
    """Trials of the row that both systems scored."""
    first: float | None
    """EER of the first system, interpolated; None where the row lacks a class."""
    second: float | None
    difference: PairedDifference | None
    """EER of the first minus that of the second: negative where the first is better."""
    p_adjusted: float | None
    """`difference.p_value` after Holm's correction for the number of rows of this kind."""
    errors: ErrorCounts

    @property
    def is_significant(self) -> bool:
        """Whether the EERs differ by more than chance, many rows considered."""
        return self.p_adjusted is not None and self.p_adjusted < SIGNIFICANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A recording that one system gets right and the other wrong."""

    utterance: str
    label: str
    attack: str | None
    speaker: str | None
    first_score: float
    second_score: float
    right: Literal["first", "second"]
    margin: float
    """How far apart the two stand from their thresholds, each in standard deviations of its scores."""
    path: str | None
    audit_id: int | None
    """Of the system that has recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemComparison:
    """The first system against the second."""

    first: str
    second: str
    thresholds: dict[str, float]
    grouping: Grouping
    rows: tuple[ComparisonRow, ...]
    """Human, groups, totals."""
    disagreements: tuple[Disagreement, ...]
    """Widest margin first."""
    num_disagreements: int
    """All of them, shown or not."""
    num_common: int
    """Trials that both scored; only these are compared."""
    interval_method: str
    warnings: tuple[str, ...]

    @property
    def totals(self) -> tuple[ComparisonRow, ...]:
        """The rows over all trials (two where a set mixes ASVspoof's parts)."""
        return tuple(row for row in self.rows if row.kind == "total")

    def to_frame(self) -> pd.DataFrame:
        """One row per group for CSV."""
        return pd.DataFrame.from_records([_record(row, self.first, self.second) for row in self.rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreScatter:
    """Scores of two systems against each other."""

    first: str
    second: str
    utterances: tuple[str, ...]
    labels: tuple[str, ...]
    attacks: tuple[str | None, ...]
    first_scores: np.ndarray
    second_scores: np.ndarray
    correlation: float
    """Pearson's, of all common trials; NaN where one system says the same of all."""
    num_common: int
    """Trials behind the points, of which at most the wanted number is shown."""


def _record(row: ComparisonRow, first: str, second: str) -> dict:
    """A row as CSV has it."""
    names = ("value", "low", "high", "p_value")
    difference = {f"difference {name}": getattr(row.difference, name, None) for name in names}
    return {
        "key": row.key,
        "group": row.title,
        "description": row.description,
        "kind": row.kind,
        "trials": row.num_trials,
        f"EER {first}": row.first,
        f"EER {second}": row.second,
        **difference,
        "p_adjusted": row.p_adjusted,
        "significant": row.is_significant,
        f"only {first} wrong": row.errors.only_first,
        f"only {second} wrong": row.errors.only_second,
        "both wrong": row.errors.both,
        "McNemar p_value": row.errors.p_value,
    }
