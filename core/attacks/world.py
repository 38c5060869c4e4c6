"""Copies and conversions of speech by the WORLD vocoder: fundamental, spectral envelope and aperiodicity, made anew.

Makers as in `core.attacks.resynthesis`, but WORLD is C++ on the CPU: recordings on another device travel there and back,
and since it holds the interpreter's lock, several cores need several processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyworld
import torch

from core.attacks.levels import Maker, at_level_of
from core.audio import SAMPLE_RATE_HZ

PitchMethod = Literal["dio", "harvest"]
_FRAME_S = 0.005
_FRAME_SAMPLES = int(_FRAME_S * SAMPLE_RATE_HZ)
_MIN_F0_HZ, _MAX_F0_HZ = 60.0, 500.0
_MAX_LEAD_FRAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldParameters:
    """What WORLD keeps of a recording, a row every 5 ms."""

    f0_hz: np.ndarray
    """`[frame]`; 0 where unvoiced."""
    envelope: np.ndarray
    """Power, `[frame, bin]`."""
    aperiodicity: np.ndarray
    """Share of noise in the amplitude, 0 to 1, `[frame, bin]`."""


def world_copy(samples: torch.Tensor, generator: torch.Generator, *, pitch: PitchMethod = "dio") -> torch.Tensor:
    """Analysed and made again with nothing changed.

    Args:
        pitch: `harvest` finds more voiced frames in poor recordings and costs about five times as much as all the rest.

    Source: Morise, Yokomori and Ozawa (2016); the parts are DIO with StoneMask or Harvest, CheapTrick, D4C.
    """
    leads = _drawn(len(samples), 0, _MAX_LEAD_FRAMES, generator).astype(int)
    made = [_synthesised(analysed(each, pitch), lead) for each, lead in zip(_as_arrays(samples), leads, strict=True)]
    return _as_made(made, samples)


def world_conversion(
    samples: torch.Tensor,
    generator: torch.Generator,
    *,
    pitch_ratio: float | None = None,
    formant_ratio: float | None = None,
    pitch: PitchMethod = "dio",
) -> torch.Tensor:
    """Another voice: the fundamental multiplied, the envelope stretched along the frequency axis.

    What is not given is drawn for each recording: up or down, the fundamental by 2 to 7 semitones (1.12 to 1.5), the
    formants the same way by 5 to 22 %, about the span between men, women and children.

    Args:
        pitch_ratio: new fundamental over old.
        formant_ratio: new formant frequencies over old.
        pitch: as in `world_copy`.
    """
    leads = _drawn(len(samples), 0, _MAX_LEAD_FRAMES, generator).astype(int)
    way = np.where(_drawn(len(samples), 0, 1, generator) < 0.5, -1, 1)
    pitches = 2 ** (way * _drawn(len(samples), 2, 7, generator) / 12)
    formants = _drawn(len(samples), 1.05, 1.22, generator) ** way
    made = []
    for i, each in enumerate(_as_arrays(samples)):
        voice = _converted(analysed(each, pitch), pitch_ratio or pitches[i], formant_ratio or formants[i])
        made.append(_synthesised(voice, leads[i]))
    return _as_made(made, samples)


def analysed(samples: np.ndarray, pitch: PitchMethod = "dio") -> WorldParameters:
    """WORLD's parameters of one recording, `[time]` float64 at 16 kHz."""
    limits = {"f0_floor": _MIN_F0_HZ, "f0_ceil": _MAX_F0_HZ, "frame_period": _FRAME_S * 1_000}
    if pitch == "harvest":
        f0, at_s = pyworld.harvest(samples, SAMPLE_RATE_HZ, **limits)
    else:
        coarse, at_s = pyworld.dio(samples, SAMPLE_RATE_HZ, **limits)
        f0 = pyworld.stonemask(samples, coarse, at_s, SAMPLE_RATE_HZ)
    return WorldParameters(
        f0_hz=f0,
        envelope=pyworld.cheaptrick(samples, f0, at_s, SAMPLE_RATE_HZ),
        aperiodicity=pyworld.d4c(samples, f0, at_s, SAMPLE_RATE_HZ),
    )


MAKERS: dict[str, Maker] = {"world_copy": world_copy, "world_conversion": world_conversion}
"""Attack name -> maker with its usual parameters."""


def _converted(voice: WorldParameters, pitch_ratio: float, formant_ratio: float) -> WorldParameters:
    # What stood at f / ratio comes to f; beyond the band's edge the last bin is held.
    bins = np.arange(voice.envelope.shape[1])
    sources = np.minimum(bins / formant_ratio, bins[-1])
    low = np.minimum(sources.astype(int), bins[-1] - 1)
    share = sources - low

    def stretched(rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows[:, low] * (1 - share) + rows[:, low + 1] * share)

    return WorldParameters(
        f0_hz=voice.f0_hz * pitch_ratio,
        envelope=np.exp(stretched(np.log(voice.envelope))),
        aperiodicity=stretched(voice.aperiodicity),
    )


def _synthesised(voice: WorldParameters, num_lead: int) -> np.ndarray:
    """Samples `[time]`. WORLD's noise is one fixed sequence: a lead of some frames, cut off again, moves it along."""
    parts = (voice.f0_hz, voice.envelope, voice.aperiodicity)
    led = [np.concatenate([np.repeat(part[:1], num_lead, axis=0), part]) for part in parts]
    return pyworld.synthesize(*led, SAMPLE_RATE_HZ, _FRAME_S * 1_000)[num_lead * _FRAME_SAMPLES :]


def _drawn(num: int, low: float, high: float, generator: torch.Generator) -> np.ndarray:
    """Uniform draws `[num]`."""
    return (low + (high - low) * torch.rand(num, device=generator.device, generator=generator)).double().cpu().numpy()


def _as_arrays(samples: torch.Tensor) -> list[np.ndarray]:
    return list(samples.detach().double().cpu().numpy())


def _as_made(made: list[np.ndarray], samples: torch.Tensor) -> torch.Tensor:
    length = samples.shape[-1]  # WORLD makes whole frames: up to 5 ms more
    whole = torch.from_numpy(np.stack([each[:length] for each in made]))
    return at_level_of(whole.to(samples), samples)
