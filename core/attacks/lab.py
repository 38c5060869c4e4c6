"""What the page Attack lab holds: what detectors say of made spoofs and their sources, and a made data set as one ZIP.

It makes nothing itself: `core.attacks` does.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.calibration import Thresholds, verdict_of
from core.checkpoints import Detector
from core.errors import AudioRefusal, CoreError
from core.explanation.explain import score_samples
from core.quality import MIN_ACTIVE_S
from core.records import Verdict
from core.scanning.browse import check_folder

SOURCE = "source"
"""The key of the recordings as they came, beside the attacks'."""
ROOM = "source in the room"
"""The key of real speech heard in the room of a replay, which a replay has to be compared with."""
_BONA_FIDE = {SOURCE: "The recordings as they are", ROOM: "The recordings in the replay's room"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabVerdict:
    """What one detector says of one source or one spoof made of it."""

    detector: str
    source: str
    """Name of the recording."""
    attack: str
    """`SOURCE`, or the attack's name."""
    score: float | None
    """None where it was refused."""
    verdict: Verdict
    reason: str = ""
    """Why it was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabScale:
    """A detector as a column: how its scores are read."""

    detector: str
    score_words: str
    thresholds: Thresholds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabCell:
    """One detector on all recordings of one attack."""

    counts: tuple[tuple[Verdict, int], ...]
    """Of every verdict, in the order of `Verdict`."""
    median: float | None
    """Of the scores; None where all were refused."""
    share_right: float | None
    """Called spoof (bona fide, of the sources) among those that were not refused."""

    def num(self, verdict: Verdict) -> int:
        """How often it was given."""
        return dict(self.counts)[verdict]

    @property
    def words(self) -> str:
        """E.g. `3 spoof, 1 bona fide; median +2.10`; the most frequent verdict stands first."""
        found = sorted(((num, verdict) for verdict, num in self.counts if num), key=lambda pair: -pair[0])
        counts = ", ".join(f"{num} {verdict}" for num, verdict in found)
        return counts if self.median is None else f"{counts}; median {self.median:+.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRow:
    """One attack, or the sources."""

    attack: str
    title: str
    cells: tuple[LabCell, ...]
    """One per detector."""

    @property
    def is_spoof(self) -> bool:
        """Whether it should be called spoof."""
        return self.attack not in _BONA_FIDE


def judge(detector: Detector, samples: np.ndarray, *, source: str, attack: str) -> LabVerdict:
    """What a detector says of samples `[time]` at 16 kHz; a refusal where there is too little sound."""
    reason = f"No window of {detector.manifest.window_s:g} s holds {MIN_ACTIVE_S} s of sound."
    try:
        score = score_samples(detector, samples)
    except AudioRefusal as refusal:
        score, reason = None, str(refusal)
    names = {"detector": detector.name, "source": source, "attack": attack}
    if score is None:
        return LabVerdict(**names, score=None, verdict=Verdict.REFUSED, reason=reason)
    return LabVerdict(**names, score=score, verdict=verdict_of(score, detector.manifest.thresholds))


def scale_of(detector: Detector) -> LabScale:
    """How a detector's scores are read."""
    manifest = detector.manifest
    return LabScale(detector=detector.name, score_words=manifest.score_words, thresholds=manifest.thresholds)


def lab_rows(verdicts: Sequence[LabVerdict], titles: dict[str, str], detectors: Sequence[str]) -> tuple[LabRow, ...]:
    """The table: a row per attack in the order of `titles`, the sources first; attacks without a spoof are left out.

    Args:
        verdicts: of all detectors.
        titles: attack -> what people call it.
        detectors: the columns.
    """
    rows = []
    for attack, title in (_BONA_FIDE | titles).items():
        of_attack = [verdict for verdict in verdicts if verdict.attack == attack]
        if of_attack:
            cells = tuple(_cell([v for v in of_attack if v.detector == name], attack) for name in detectors)
            rows.append(LabRow(attack=attack, title=title, cells=cells))
    return tuple(rows)


def lab_frame(verdicts: Iterable[LabVerdict], titles: dict[str, str]) -> pd.DataFrame:
    """A row per recording, attack and detector, for CSV."""
    return pd.DataFrame(
        {
            "recording": verdict.source,
            "is_spoof": verdict.attack not in _BONA_FIDE,
            "attack": verdict.attack,
            "attack_title": (_BONA_FIDE | titles)[verdict.attack],
            "detector": verdict.detector,
            "spoof_score": verdict.score,
            "verdict": str(verdict.verdict),
            "reason": verdict.reason,
        }
        for verdict in verdicts
    )


def new_folder(text: str) -> Path:
    """The folder that a typed path means, which need not be there yet; the one above it must be.

    Raises:
        ScanError: the folder above it is not there, or lies outside the allowed roots.
        CoreError: it has no name of its own, or is a link.
    """
    path = Path(text.strip()).expanduser()
    above = check_folder(str(path.parent) if text.strip() else "")
    if path.name in ("", ".", ".."):
        raise CoreError(f"{text.strip()} does not end with the name of a new folder; add one.")
    if (above / path.name).is_symlink():
        raise CoreError(f"{above / path.name} is a link; choose a new name, so that nothing is written elsewhere.")
    return above / path.name


def _cell(verdicts: Sequence[LabVerdict], attack: str) -> LabCell:
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    right = Verdict.BONA_FIDE if attack in _BONA_FIDE else Verdict.SPOOF
    return LabCell(
        counts=tuple((kind, sum(verdict.verdict is kind for verdict in verdicts)) for kind in Verdict),
        median=statistics.median(scores) if scores else None,
        share_right=sum(verdict.verdict is right for verdict in verdicts) / len(scores) if scores else None,
    )
