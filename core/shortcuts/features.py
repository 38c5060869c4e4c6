"""Trivial features of recordings: what can be measured without hearing any trace of synthesis. Judges nothing.

Functions take samples `[time]` float32 in -1 to 1 at 16 kHz as a tensor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from core.audio import SAMPLE_RATE_HZ
from core.native_audio import probe
from core.quality import ACTIVE_DB, ACTIVE_RANGE_DB, FRAME_SAMPLES, rms_levels_db
from core.recording_start import read_start
from core.records import AudioInfo

_FFT_SAMPLES = 512
_EDGE_SHARES = (0.5, 0.9, 0.99, 0.999)
"""Shares of the power below a spectral edge; the outer ones show the band limit of a codec or resampler."""
_FLOOR_DB = -120.0
_TILT_BANDS_HZ = (100, 200, 400, 800, 1_600, 3_200)
"""Lower edges of octaves; what lies above 6.4 kHz is the bandwidth's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One trivial feature, of one or several numbers or of words."""

    name: str
    title: str
    """As the subject of a sentence."""
    columns: tuple[str, ...]
    """Of `measure_recording`; the first is the one that people are told."""
    unit: str
    """Of the first column; empty for words."""
    digits: int = 1


FEATURES: Mapping[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature(name="duration", title="Duration", columns=("duration_s",), unit="s", digits=2),
        Feature(
            name="leading_silence",
            title="Leading silence",
            columns=("leading_s", "leading_share", "leading_db"),
            unit="s",
            digits=2,
        ),
        Feature(
            name="trailing_silence",
            title="Trailing silence",
            columns=("trailing_s", "trailing_share", "trailing_db"),
            unit="s",
            digits=2,
        ),
        Feature(name="loudness", title="Loudness", columns=("rms_db", "peak_db", "quiet_db", "loud_db"), unit="dBFS"),
        Feature(
            name="bandwidth",
            title="Bandwidth",
            columns=("edge_999_hz", "edge_99_hz", "edge_90_hz", "edge_50_hz", "above_7k_db"),
            unit="Hz",
            digits=0,
        ),
        Feature(name="spectral_tilt", title="Spectral tilt", columns=("tilt_db",), unit="dB per octave"),
        Feature(name="dc_offset", title="DC offset", columns=("dc_db", "dc_sign"), unit="dBFS"),
        Feature(name="digital_silence", title="Digital silence", columns=("zero_share",), unit="of the samples", digits=3),
        Feature(name="codec", title="File format and codec", columns=("container", "codec", "channels"), unit=""),
        Feature(name="sample_rate", title="Stored sample rate", columns=("rate",), unit=""),
    )
}
"""By name, in the order in which they are shown."""


def measure_recording(path: str | os.PathLike[str]) -> dict[str, float | str]:
    """All columns of `FEATURES` of a recording; of a long one, its first minute (but for `duration_s`, which the file declares).

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    info, samples = probe(path), torch.from_numpy(read_start(path))
    return measure_samples(samples) | _of_file(info, samples)


def measure_samples(samples: torch.Tensor) -> dict[str, float]:
    """The columns that samples tell."""
    leading, trailing, _, leading_s, trailing_s = silence_measures(samples)
    first, last = round(leading_s * SAMPLE_RATE_HZ), len(samples) - round(trailing_s * SAMPLE_RATE_HZ)
    rms, peak, quiet, loud = loudness_measures(samples)
    *edges, above = bandwidth_measures(samples)
    mean = float(samples.double().mean()) if len(samples) else 0.0
    return {
        "leading_s": leading_s,
        "leading_share": leading,
        "leading_db": _level_db(samples[:first]),
        "trailing_s": trailing_s,
        "trailing_share": trailing,
        "trailing_db": _level_db(samples[last:]),
        "rms_db": rms,
        "peak_db": peak,
        "quiet_db": quiet,
        "loud_db": loud,
        **dict(zip(("edge_50_hz", "edge_90_hz", "edge_99_hz", "edge_999_hz"), edges, strict=True)),
        "above_7k_db": above,
        "tilt_db": tilt_db(samples),
        "dc_db": 20 * float(np.log10(max(abs(mean), 1e-6))),
        "dc_sign": float(np.sign(mean)),
        "zero_share": float((samples == 0).double().mean()) if len(samples) else 1.0,
    }


def silence_measures(samples: torch.Tensor) -> list[float]:
    """Shares of the frames that are silent before the first sound, after the last one, and in all; and both edges in s."""
    levels = rms_levels_db(samples)
    num = len(levels)
    active = torch.nonzero(levels > max(ACTIVE_DB, float(levels.max()) - ACTIVE_RANGE_DB)).flatten() if num else levels
    if not len(active):
        edge_s = num * FRAME_SAMPLES / SAMPLE_RATE_HZ
        return [1.0, 1.0, 1.0, edge_s, edge_s]
    leading, trailing = int(active[0]), num - 1 - int(active[-1])
    edges_s = [frames * FRAME_SAMPLES / SAMPLE_RATE_HZ for frames in (leading, trailing)]
    return [leading / num, trailing / num, 1 - len(active) / num, *edges_s]


def loudness_measures(samples: torch.Tensor) -> list[float]:
    """RMS level, peak, and the level of the 10 % quietest and of the loudest 20 ms frames, all in dBFS."""
    levels = rms_levels_db(samples)
    rms, peak = float(samples.square().mean().sqrt()), float(samples.abs().max())
    frames = [float(torch.quantile(levels, 0.1)), float(levels.max())] if len(levels) else [_FLOOR_DB, _FLOOR_DB]
    return [20 * np.log10(max(rms, 1e-6)), 20 * np.log10(max(peak, 1e-6)), *frames]


def duration_measures(samples: torch.Tensor) -> list[float]:
    """Length in s."""
    return [len(samples) / SAMPLE_RATE_HZ]


def bandwidth_measures(samples: torch.Tensor) -> list[float]:
    """Frequencies in Hz below which 50, 90, 99 and 99.9 % of the power lie, and the power above 7 kHz in dB re all of it."""
    power = _power(samples)
    total = float(power.sum())
    if total <= 0:
        return [0.0] * len(_EDGE_SHARES) + [_FLOOR_DB]
    bin_hz = SAMPLE_RATE_HZ / _FFT_SAMPLES
    below = torch.cumsum(power, 0) / total
    edges = [float(torch.searchsorted(below, share)) * bin_hz for share in _EDGE_SHARES]
    return [*edges, 10 * np.log10(max(float(power[int(7_000 / bin_hz) :].sum()) / total, 1e-12))]


def tilt_db(samples: torch.Tensor) -> float:
    """Slope of the long-term spectrum in dB per octave: a line through the power per Hz of six octaves from 100 Hz on."""
    power, bin_hz = _power(samples), SAMPLE_RATE_HZ / _FFT_SAMPLES
    frequency_hz = torch.arange(len(power)) * bin_hz
    levels = [
        10 * np.log10(max(float(power[(frequency_hz >= low) & (frequency_hz < 2 * low)].mean()), 1e-12)) for low in _TILT_BANDS_HZ
    ]
    return float(np.polyfit(np.arange(len(levels)), levels, 1)[0])


MEASURES: Mapping[str, Callable[[torch.Tensor], list[float]]] = {
    "silence": silence_measures,
    "loudness": loudness_measures,
    "duration": duration_measures,
    "bandwidth": bandwidth_measures,
}
"""What `python -m training baselines` fits its probes on: numbers of samples alone."""


def _of_file(info: AudioInfo, samples: torch.Tensor) -> dict[str, float | str]:
    """What the container tells, as words: they have no order."""
    return {
        "duration_s": info.duration_s or len(samples) / SAMPLE_RATE_HZ,
        "container": info.container,
        "codec": info.codec,
        "channels": f"{info.num_channels} channel{'s' if info.num_channels > 1 else ''}",
        "rate": f"{info.sample_rate_hz:,} Hz",
    }


def _level_db(samples: torch.Tensor) -> float:
    power = float(samples.double().square().mean()) if len(samples) else 0.0
    return 10 * float(np.log10(max(power, 1e-12)))


def _power(samples: torch.Tensor) -> torch.Tensor:
    """Power per bin of 31 Hz, summed over frames, float64."""
    padded = torch.nn.functional.pad(samples, (0, max(0, _FFT_SAMPLES - len(samples))))
    window = torch.hann_window(_FFT_SAMPLES)
    return torch.stft(padded, _FFT_SAMPLES, window=window, center=False, return_complex=True).abs().square().sum(dim=-1).double()
