"""Records of an evaluation: table of groups by systems, reference columns, errors, summary of one system. No arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import pandas as pd

from core.errors import CoreError

Grouping = Literal[
    "attack",
    "family",
    "generator",
    "known",
    "speaker",
    "codec",
    "duration",
    "environment",
    "room_size",
    "t60",
    "talker_distance",
    "attacker_distance",
    "device_quality",
]
Metric = Literal["accuracy", "eer", "miss_rate", "auc"]
METRIC_TITLES: dict[Metric, str] = {
    "accuracy": "Accuracy at the threshold",
    "eer": "Equal error rate",
    "miss_rate": "Miss rate at the threshold",
    "auc": "Area under the ROC curve",
}
"""In the order in which they are offered."""
HIGHER_IS_BETTER: dict[Metric, bool] = {"accuracy": True, "eer": False, "miss_rate": False, "auc": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure of one system on one group, 0..1, with its 95 % interval."""

    value: float | None
    """None where there is none; `note` says why."""
    low: float | None
    """None where there is no interval (published figures, no value)."""
    high: float | None
    num_trials: int
    """The row's own trials that entered the figure; 0 for published figures, which do not say."""
    note: str
    """Why there is no value, or what was left out; may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A row of the table."""

    key: str
    """`human`, a group's key, or a total's: `total`, or `total: A01-A06` and `total: A07-A19` where both are present."""
    title: str
    description: str
    """What the group is, for hovering; may be empty."""
    kind: Literal["human", "group", "total"]
    num_trials: int
    """Trials of the row in the set, scored or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """One metric of several systems on the groups of one trial set."""

    metric: Metric
    grouping: Grouping
    rows: tuple[GroupRow, ...]
    """Human first (where the grouping has it), then the groups, then the totals."""
    systems: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    """`[row][system]`."""
    thresholds: dict[str, float]
    """System -> the threshold from which on it is taken to say spoof."""
    interval_method: str
    """How the intervals were made, one sentence."""
    warnings: tuple[str, ...]

    def sorted_by(self, system: str | None, *, descending: bool = False) -> GroupTable:
        """The table with its groups in the order of a system's figures (None: of their titles); missing ones come last.

        Raises:
            CoreError: a system that is not in the table.
        """
        if system is not None and system not in self.systems:
            raise CoreError(f"The table has no system {system!r}; it has {', '.join(self.systems)}.")
        pairs = list(zip(self.rows, self.cells, strict=True))
        groups = [pair for pair in pairs if pair[0].kind == "group"]
        if system is None:
            groups.sort(key=lambda pair: pair[0].title, reverse=descending)
        else:
            column = self.systems.index(system)
            known = [pair for pair in groups if pair[1][column].value is not None]
            known.sort(key=lambda pair: pair[1][column].value, reverse=descending)
            groups = known + [pair for pair in groups if pair[1][column].value is None]
        ordered = [pair for pair in pairs if pair[0].kind == "human"] + groups + [pair for pair in pairs if pair[0].kind == "total"]
        return replace(self, rows=tuple(row for row, _ in ordered), cells=tuple(cells for _, cells in ordered))

    def to_frame(self) -> pd.DataFrame:
        """One row per group for CSV: key, group, description, kind, trials, then value, low, high, trials, note of each system."""
        records = []
        for row, cells in zip(self.rows, self.cells, strict=True):
            record = {
                "key": row.key,
                "group": row.title,
                "description": row.description,
                "kind": row.kind,
                "trials": row.num_trials,
            }
            for system, cell in zip(self.systems, cells, strict=True):
                record[system] = cell.value
                record |= {f"{system} {name}": getattr(cell, name) for name in ("low", "high", "num_trials", "note")}
            records.append(record)
        return pd.DataFrame.from_records(records)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceColumn:
    """Published figures of a system whose scores are not at hand, shown beside measured ones."""

    name: str
    metric: Metric
    values: Mapping[str, float | None]
    """Row key -> figure, 0..1; None where it was not reported."""
    source: str

    def cell(self, row_key: str) -> Cell:
        """The figure for a row; missing with a note where it was not reported."""
        value = self.values.get(row_key)
        note = f"Published: {self.source}" if value is not None else "Not reported."
        return Cell(value=value, low=None, high=None, num_trials=0, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTrial:
    """A trial that a system got wrong at a threshold."""

    utterance: str
    label: str
    """What it is: `bona fide` or `spoof`."""
    attack: str | None
    speaker: str | None
    score: float
    path: str | None
    """The recording, where the set knows it."""
    audit_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a system with its 95 % interval."""

    key: str
    title: str
    value: float
    low: float | None
    high: float | None
    """None where no interval is taken (a threshold)."""
    description: str
    """What it is, one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSummary:
    """All figures of one system on one trial set."""

    system: str
    trial_set: str
    num_bona_fide: int
    num_spoof: int
    num_not_scored: int
    threshold: float
    is_own_threshold: bool
    """Whether it was given; if not, it is where this system's miss and false alarm rates are equal on this set."""
    figures: tuple[Figure, ...]
    eer_by_attack: tuple[Figure, ...]
    """One for each attack, key = attack, against all bona fide speech."""
    interval_method: str
    warnings: tuple[str, ...]

    def to_dict(self) -> dict:
        """Plain types only, for JSON."""
        return asdict(self) | {
            "figures": [asdict(figure) for figure in self.figures],
            "eer_by_attack": [asdict(figure) for figure in self.eer_by_attack],
            "warnings": list(self.warnings),
        }
