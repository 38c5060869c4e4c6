"""What a person sees and hears of a recording: an envelope, a spectrogram of bounded size, and a playable copy."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import soundfile
import torch

from core.audio import SAMPLE_RATE_HZ, AudioReader
from core.errors import AudioRefusal

MAX_COLUMNS = 1_000
"""Columns of a preview: about what a screen shows, so that ten hours cost the page as much as ten seconds."""
MAX_PLAYED_S = 600.0
"""A playable copy ends here: ten minutes are 19 MB."""
_FFT_SAMPLES = 512
_MIN_COLUMN_SAMPLES = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPreview:
    """One channel of a recording, reduced to columns of equal length."""

    time_s: np.ndarray
    """`[column]` start of each column."""
    low: np.ndarray
    """`[column]` smallest sample."""
    high: np.ndarray
    """`[column]` largest sample."""
    level_db: np.ndarray
    """`[frequency, column]` power spectrogram, dB relative to its maximum, at least -80; int8."""
    frequency_hz: np.ndarray
    """`[frequency]` rising."""
    duration_s: float


def preview_recording(path: str | os.PathLike[str], *, channel: str = "mix") -> RecordingPreview:
    """Reads a recording once, in bounded memory, and reduces it to at most about `MAX_COLUMNS` columns.

    Args:
        path: the file.
        channel: `mix`, or the number of a channel from `1`.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    reader = AudioReader(path, channels="mix" if channel == "mix" else "each")
    expected = (reader.info.duration_s or 60.0) * SAMPLE_RATE_HZ
    return _reduced((_channel_of(block, channel) for block in reader), expected)


def preview_samples(samples: torch.Tensor) -> RecordingPreview:
    """The same of samples `[time]` at 16 kHz that are in memory.

    Raises:
        AudioRefusal: there are less than 10 ms.
    """
    return _reduced([samples], len(samples))


def _reduced(blocks: Iterable[torch.Tensor], expected: float) -> RecordingPreview:
    """Columns of one channel that arrives in blocks `[time]`, about `expected` samples in all."""
    num_samples = max(_MIN_COLUMN_SAMPLES, math.ceil(expected / MAX_COLUMNS))
    lows, highs, powers, total = [], [], [], 0
    kept = torch.zeros(0)
    for block in blocks:
        total += len(block)
        kept = torch.cat([kept, block])
        whole = len(kept) // num_samples
        if whole:
            columns, kept = kept[: whole * num_samples].view(whole, num_samples), kept[whole * num_samples :]
            lows.append(columns.amin(dim=1))
            highs.append(columns.amax(dim=1))
            powers.append(_column_powers(columns))
    if not lows:
        raise AudioRefusal("too_short", "Less than 10 ms of audio; nothing to draw.")
    power = torch.cat(powers).T
    level_db = 10 * torch.log10((power / power.max().clamp_min(1e-12)).clamp_min(1e-8))
    return RecordingPreview(
        time_s=np.arange(power.shape[1]) * num_samples / SAMPLE_RATE_HZ,
        low=torch.cat(lows).numpy(),
        high=torch.cat(highs).numpy(),
        level_db=level_db.round().to(torch.int8).numpy(),
        frequency_hz=np.arange(power.shape[0]) * 2 * SAMPLE_RATE_HZ / _FFT_SAMPLES,
        duration_s=total / SAMPLE_RATE_HZ,
    )


def playable_wav(path: str | os.PathLike[str], *, channel: str = "mix") -> bytes:
    """A 16 kHz WAV of what the detector heard, at most `MAX_PLAYED_S` long; every browser plays it.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    parts, num_samples = [], 0
    for block in AudioReader(path, channels="mix" if channel == "mix" else "each"):
        parts.append(_channel_of(block, channel))
        num_samples += len(parts[-1])
        if num_samples >= MAX_PLAYED_S * SAMPLE_RATE_HZ:
            break
    return wav_bytes(torch.cat(parts)[: int(MAX_PLAYED_S * SAMPLE_RATE_HZ)].numpy())


def wav_bytes(samples: np.ndarray) -> bytes:
    """Samples `[time]` at 16 kHz as a WAV file of 16 bits; beyond full scale they are clipped."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.clip(-1, 1), SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _channel_of(block: torch.Tensor, channel: str) -> torch.Tensor:
    return block[0 if channel == "mix" else int(channel) - 1]


def _column_powers(columns: torch.Tensor) -> torch.Tensor:
    """Mean power over the FFT frames in each column, pairs of bins merged, `[column, 128]`."""
    # At most eight frames per column: enough to draw, and the cost stays bounded for long columns.
    length = min(columns.shape[1], _FFT_SAMPLES)
    slide = max(length // 2, (columns.shape[1] - length) // 8 + 1)
    frames = columns.unfold(1, length, slide) * torch.hann_window(length)
    power = torch.fft.rfft(frames, n=_FFT_SAMPLES).abs().square().mean(dim=1)[:, :256]
    return power.unflatten(1, (128, 2)).mean(dim=2)
