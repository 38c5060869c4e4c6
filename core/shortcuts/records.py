"""Records of the shortcut audit: what each trivial feature gives away, and how a detector moves with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One trivial feature alone as a detector, cross-validated."""

    name: str
    """Key of `core.shortcuts.features.FEATURES`."""
    title: str
    eer: float
    """Out of fold, 0 to 1; 0.5 is chance."""
    low: float
    """Ends of the 95 % bootstrap interval."""
    high: float
    p_value: float
    """Of being no better than chance, two-sided, from resampled groups; corrected for the number of probes (Holm)."""
    is_leak: bool
    """Whether it beats chance for certain (`MAX_P`) and by enough to matter (`MIN_LEAK`)."""
    finding: str
    """One plain sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutReport:
    """A labelled set, probed."""

    set_name: str
    probes: tuple[Probe, ...]
    """The strongest leak first."""
    is_clean: bool
    words: str
    num_bona_fide: int
    num_spoof: int
    num_groups: int
    """Speakers, who stand in one fold each; the recordings where too few are known."""
    grouped_by: str
    """`speaker` or `recording`."""
    seed: int
    skipped: tuple[str, ...] = ()
    """One sentence per recording that could not be read."""

    def to_frame(self) -> pd.DataFrame:
        """A line per probe."""
        names = ("name", "title", "eer", "low", "high", "p_value", "is_leak", "finding")
        return pd.DataFrame([{name: getattr(probe, name) for name in names} for probe in self.probes], columns=list(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class InterventionEffect:
    """A detector before and after one trivial feature was changed and nothing else."""

    name: str
    """Key of `core.shortcuts.interventions.INTERVENTIONS`."""
    title: str
    feature: str
    """Key of `core.shortcuts.features.FEATURES`: what is changed."""
    label: str
    """`bona fide`, `spoof`, or `all` where labels are not known."""
    shift: float
    """Mean change of the score, in the detector's units."""
    low: float
    high: float
    spread: float
    """Standard deviation of the clean scores: what the shift is to be compared with."""
    share_flipped: float | None
    """Of the verdicts; None for a detector without thresholds."""
    num: int
    num_refused: int
    is_sensitive: bool
    """The interval leaves 0 out and the shift is at least a tenth of the spread."""
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutAudit:
    """A set probed, and where a detector was watched too, how it moves."""

    report: ShortcutReport
    detector_name: str | None
    detector_hash: str | None
    effects: tuple[InterventionEffect, ...]
    created: str
    """ISO 8601, UTC."""


def effects_frame(effects: Sequence[InterventionEffect]) -> pd.DataFrame:
    """A line per intervention and class."""
    names = "name title feature label shift low high spread share_flipped num num_refused is_sensitive finding".split()
    return pd.DataFrame([{name: getattr(effect, name) for name in names} for effect in effects], columns=names)
