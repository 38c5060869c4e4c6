"""Records of systems to compare: scores for a set's trials, and what lists show of them. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.calibration import Thresholds
from core.evaluation.trial_sets import TrialSet

Origin = Literal["imported", "shipped", "audit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What one system says of the trials of a set."""

    name: str
    trial_set: TrialSet
    scores: np.ndarray
    """`[trial]` float64, higher means spoof; NaN where the system gave none (refused, missing)."""
    thresholds: Thresholds | None
    """The system's own limits of bona fide, inconclusive and spoof; None for score files."""
    origin: Origin
    audit_id: int | None = None
    is_flipped: bool = False
    """Whether the user turned the sign of an inverted file."""
    note: str = ""
    """What to know of it, e.g. "12 trials have no score"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSummary:
    """A system without its scores."""

    name: str
    origin: Origin
    num_scored: int
    """Trials with a score."""
    imported_at: float | None
    """Seconds since 1970, UTC; when an audit was made; None for shipped results."""
    audit_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSetSummary:
    """A trial set without its trials, and the systems that scored it."""

    key: str
    name: str
    num_bona_fide: int
    num_spoof: int
    systems: tuple[SystemSummary, ...]
