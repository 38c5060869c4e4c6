"""The threshold at which systems are looked at, chosen for all of them at once, and where it lies on their DET curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.calibration import Thresholds, choose_thresholds
from core.errors import CoreError
from core.evaluation.curves import DetCurve, det_curve
from core.evaluation.system_records import System
from core.metrics import detection_rates, equal_error_rate, error_rates

PointKind = Literal["eer", "false alarm", "score", "own"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """One rule that gives each system its threshold."""

    kind: PointKind
    """`eer`: where a system's two error rates are equal; `false alarm`: at most this share of bona fide is called spoof;
    `score`: the same score for all; `own`: from which score on a system's own settings say spoof."""
    value: float | None = None
    """The share or the score; None for the other two."""

    def __post_init__(self) -> None:
        if self.kind in ("false alarm", "score") and (self.value is None or not math.isfinite(self.value)):
            raise CoreError(f"The operating point {self.kind!r} needs a finite value, got {self.value}.")
        if self.kind == "false alarm" and not 0 <= self.value <= 1:
            raise CoreError(f"A false alarm rate lies between 0 and 1, got {self.value}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetMark:
    """A point on a DET curve."""

    title: str
    threshold: float
    false_alarm: float
    miss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DetLine:
    """A system's DET curve and the points to mark on it."""

    name: str
    curve: DetCurve
    marks: tuple[DetMark, ...]


def thresholds_at(systems: Sequence[System], point: OperatingPoint) -> dict[str, float]:
    """The threshold of each system, by name; scores at or above it are called spoof.

    Raises:
        CoreError: a system has scores of one class only, or no thresholds of its own where those are asked for.
    """
    return {system.name: _threshold(system, point) for system in systems}


def has_own_thresholds(systems: Sequence[System]) -> bool:
    """Whether all of the systems bring thresholds of their own."""
    return bool(systems) and all(system.thresholds is not None for system in systems)


def verdict_thresholds(system: System, max_error: float) -> Thresholds:
    """A system's own limits of its verdicts; for one without, the narrowest band that keeps both errors at `max_error` on this set.

    Raises:
        CoreError: it needs a band, and has scores of one class only.
    """
    return system.thresholds or choose_thresholds(*_both_classes(system), max_error=max_error)


def det_line(system: System, threshold: float) -> DetLine:
    """A system's DET curve with its EER and the threshold it is looked at.

    Raises:
        CoreError: scores of one class only.
    """
    scores, is_spoof = _both_classes(system)
    eer, eer_threshold = equal_error_rate(scores, is_spoof)
    rates = detection_rates(scores, is_spoof, threshold)
    chosen = DetMark(title="this threshold", threshold=threshold, false_alarm=rates.false_alarm, miss=rates.miss)
    equal = DetMark(title="EER", threshold=eer_threshold, false_alarm=eer, miss=eer)
    return DetLine(name=system.name, curve=det_curve(scores, is_spoof), marks=(equal, chosen))


def scored_trials(system: System) -> tuple[np.ndarray, np.ndarray]:
    """Scores and is_spoof of the trials that have a score, `[scored trial]`."""
    is_scored = np.isfinite(system.scores)
    return system.scores[is_scored], system.trial_set.is_spoof[is_scored]


def _threshold(system: System, point: OperatingPoint) -> float:
    if point.kind == "score":
        return float(point.value)
    if point.kind == "own":
        if system.thresholds is None:
            raise CoreError(f"{system.name} has no thresholds of its own: it was imported as scores. Choose another threshold.")
        return system.thresholds.upper
    scores, is_spoof = _both_classes(system)
    if point.kind == "eer":
        return equal_error_rate(scores, is_spoof)[1]
    thresholds, _, false_alarm = error_rates(scores, is_spoof)
    return float(thresholds[np.argmax(false_alarm <= point.value)])


def _both_classes(system: System) -> tuple[np.ndarray, np.ndarray]:
    scores, is_spoof = scored_trials(system)
    if not is_spoof.any() or is_spoof.all():
        found = "no trial" if len(scores) == 0 else "spoofs only" if is_spoof.all() else "bona fide speech only"
        raise CoreError(
            f"{system.name} has scores for {found}; a threshold from error rates needs both classes. Choose a score as threshold, "
            "or label recordings of the other class too."
        )
    return scores, is_spoof
