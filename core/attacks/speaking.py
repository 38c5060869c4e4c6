"""Text spoken for a recording: a drawn text of its duration, or a given one, at 16 kHz. Matches nothing but the duration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torchaudio

from core.attacks.kinds import AttackKind
from core.attacks.matching import active_span
from core.attacks.speech_engines import Side, random_text, speak
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError

_FITS = 0.02
"""A duration within 2 % of the wanted is left."""
_MAX_FITS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What an engine said."""

    samples: np.ndarray
    """`[time]` float64 at 16 kHz."""
    text: str
    speed: float
    """Over the engine's own."""


def spoken_text(
    kind: AttackKind,
    values: Mapping[str, float],
    *,
    text: str | None,
    duration_s: float | None,
    keeps_speed: bool,
    rng: np.random.Generator,
) -> Spoken:
    """A text spoken by an engine.

    Args:
        kind: text-to-speech.
        values: its voice and speed.
        text: what is said; None for drawn sentences.
        duration_s: the speech's, for drawn sentences; what the text leaves over, the speed makes good.
        keeps_speed: whether the speed stays as it is.
        rng: decides the text.

    Raises:
        CoreError: no word in the text, or the engine or its voice is missing.
    """
    if text is None and duration_s is None:
        raise CoreError("Text-to-speech needs a text, or the duration of one to be drawn.")
    said = text if text is not None else random_text(duration_s, rng)
    voice, speed = kind.parameter("voice").choices[int(values["voice"])], values["speed"]
    samples = _at_16_khz(Side(kind.name, voice, said), speed)
    if duration_s is not None and not keeps_speed:
        limits = kind.parameter("speed")
        for _ in range(_MAX_FITS):
            first, end = active_span(samples)
            ratio = (end - first) / SAMPLE_RATE_HZ / duration_s
            fitting = round(float(np.clip(speed * ratio, limits.low, limits.high)), 2)
            if abs(ratio - 1) < _FITS or fitting == speed:
                break
            speed = fitting
            samples = _at_16_khz(Side(kind.name, voice, said), speed)
    return Spoken(samples=samples, text=said, speed=speed)


def _at_16_khz(side: Side, speed: float) -> np.ndarray:
    samples, rate_hz = speak(side, speed=speed)
    tensor = torch.from_numpy(samples if samples.ndim == 1 else samples[:, 0].copy())
    return torchaudio.functional.resample(tensor, rate_hz, SAMPLE_RATE_HZ).double().numpy()
