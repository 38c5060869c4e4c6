"""Scores of recordings in memory as a scan gives them, refusals too: windows of many share a call of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.calibration import verdict_of
from core.detect import BATCH_WINDOWS, Scorer, aggregate_scores
from core.errors import AudioRefusal
from core.quality import MIN_ACTIVE_S, QualityMeter, has_sound
from core.records import Verdict
from core.segments import split_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a detector says of samples."""

    score: float | None
    verdict: Verdict
    reason: str = ""
    """Why it was refused."""


def judge_all(scorer: Scorer, recordings: Sequence[np.ndarray]) -> list[Judgement]:
    """What a detector says of recordings `[time]` float32 at 16 kHz, one judgement each, in their order."""
    windows: list[torch.Tensor] = []
    found: list[str | tuple[int, int]] = []
    for samples in recordings:
        try:
            of_one = _windows_of(scorer, torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)))
        except AudioRefusal as refusal:
            found.append(str(refusal))
            continue
        found.append((len(windows), len(windows) + len(of_one)))
        windows += of_one
    scores: list[float] = []
    for first in range(0, len(windows), BATCH_WINDOWS):
        scores += scorer.score_windows(torch.stack(windows[first : first + BATCH_WINDOWS])).tolist()
    return [_refused(place) if isinstance(place, str) else _judged(scorer, scores[slice(*place)]) for place in found]


def _windows_of(scorer: Scorer, samples: torch.Tensor) -> list[torch.Tensor]:
    meter, manifest = QualityMeter(), scorer.detector.manifest
    meter.update(samples)
    meter.check()
    windows = [window for window in split_windows(samples, manifest.window_samples) if has_sound(window)]
    if not windows:
        raise AudioRefusal("no_speech", f"No window of {manifest.window_s:g} s holds {MIN_ACTIVE_S} s of sound.")
    return windows


def _judged(scorer: Scorer, scores: list[float]) -> Judgement:
    if not all(map(math.isfinite, scores)):
        return _refused("The detector's network gives NaN or infinity; it cannot judge this recording.")
    manifest = scorer.detector.manifest
    score = aggregate_scores(scores, manifest.aggregate)
    return Judgement(score=score, verdict=verdict_of(score, manifest.thresholds))


def _refused(reason: str) -> Judgement:
    return Judgement(score=None, verdict=Verdict.REFUSED, reason=reason)
