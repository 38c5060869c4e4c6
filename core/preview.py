"""What a person sees and hears of a recording: an envelope, a spectrogram of bounded size, a part of it to play."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from core.audio import SAMPLE_RATE_HZ, AudioReader
from core.errors import AudioRefusal
from core.records import SegmentScore

if TYPE_CHECKING:
    import torch

MAX_COLUMNS = 1_000
"""Columns of a preview: about what a screen shows, so that ten hours cost the page as much as ten seconds."""
PART_S = 600.0
"""A longer recording is heard and drawn in parts of this length: ten minutes are 19 MB."""
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
    start_s: float = 0.0
    """Where it begins in the recording; `time_s` counts from the recording's beginning."""


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


def preview_samples(samples: np.ndarray, *, start_s: float = 0.0) -> RecordingPreview:
    """The same of samples `[time]` at 16 kHz that are in memory and begin at `start_s` of their recording.

    Raises:
        AudioRefusal: there are less than 10 ms.
    """
    return _reduced([samples], len(samples), start_s)


def _reduced(blocks: Iterable[np.ndarray], expected: float, start_s: float = 0.0) -> RecordingPreview:
    """Columns of one channel that arrives in blocks `[time]`, about `expected` samples in all."""
    num_samples = max(_MIN_COLUMN_SAMPLES, math.ceil(expected / MAX_COLUMNS))
    lows, highs, powers, total = [], [], [], 0
    kept = np.zeros(0, dtype=np.float32)
    for block in blocks:
        num_columns = sum(map(len, lows))
        if num_columns >= 2 * MAX_COLUMNS and num_columns % 2 == 0:  # longer than expected: two columns become one
            lows, highs = [np.concatenate(lows).reshape(-1, 2).min(axis=1)], [np.concatenate(highs).reshape(-1, 2).max(axis=1)]
            powers = [np.concatenate(powers).reshape(-1, 2, _FFT_SAMPLES // 4).mean(axis=1)]
            num_samples *= 2
        total += len(block)
        kept = np.concatenate([kept, block])
        whole = len(kept) // num_samples
        if whole:
            columns, kept = kept[: whole * num_samples].reshape(whole, num_samples), kept[whole * num_samples :]
            lows.append(columns.min(axis=1))
            highs.append(columns.max(axis=1))
            powers.append(_column_powers(columns))
    if not lows:
        raise AudioRefusal("too_short", "Less than 10 ms of audio; nothing to draw.")
    power = np.concatenate(powers).T
    level_db = 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 1e-8))
    return RecordingPreview(
        time_s=start_s + np.arange(power.shape[1]) * num_samples / SAMPLE_RATE_HZ,
        low=np.concatenate(lows),
        high=np.concatenate(highs),
        level_db=level_db.round().astype(np.int8),
        frequency_hz=np.arange(power.shape[0]) * 2 * SAMPLE_RATE_HZ / _FFT_SAMPLES,
        duration_s=total / SAMPLE_RATE_HZ,
        start_s=start_s,
    )


def part_starts(duration_s: float) -> tuple[float, ...]:
    """Where the parts of a recording begin, in s: each half a part after the one before, the last ending with the recording."""
    last = max(0.0, duration_s - PART_S)
    return (*np.arange(0.0, last, PART_S / 2).tolist(), last)


def part_with_highest(starts: Sequence[float], segments: Sequence[SegmentScore]) -> float:
    """The start of the part whose middle is nearest to the highest-scoring segment; the first where none was judged."""
    judged = [segment for segment in segments if not math.isnan(segment.spoof_score)]
    if not judged:
        return starts[0]
    highest = max(judged, key=lambda segment: segment.spoof_score)
    return min(starts, key=lambda start_s: abs(start_s + PART_S / 2 - (highest.start_s + highest.end_s) / 2))


def read_part(path: str | os.PathLike[str], *, channel: str = "mix", start_s: float = 0.0) -> np.ndarray:
    """What the detector heard of a recording from `start_s` on, at most `PART_S` of it: `[time]` float32 at 16 kHz.

    Args:
        path: the file.
        channel: `mix`, or the number of a channel from `1`.
        start_s: where to begin.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    parts, num_samples, most = [], 0, int(PART_S * SAMPLE_RATE_HZ)
    for block in AudioReader(path, channels="mix" if channel == "mix" else "each", start_s=start_s):
        parts.append(_channel_of(block, channel))
        num_samples += len(parts[-1])
        if num_samples >= most:
            break
    return np.concatenate(parts)[:most]


def wav_bytes(samples: np.ndarray) -> bytes:
    """Samples `[time]` at 16 kHz as a WAV file of 16 bits; beyond full scale they are clipped."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.clip(-1, 1), SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _channel_of(block: torch.Tensor, channel: str) -> np.ndarray:
    return block[0 if channel == "mix" else int(channel) - 1].numpy()


def _column_powers(columns: np.ndarray) -> np.ndarray:
    """Mean power over the FFT frames in each column, pairs of bins merged, `[column, 128]`."""
    # At most eight frames per column: enough to draw, and the cost stays bounded for long columns.
    length = min(columns.shape[1], _FFT_SAMPLES)
    slide = max(length // 2, (columns.shape[1] - length) // 8 + 1)
    hann = np.hanning(length + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(columns, length, axis=1)[:, ::slide] * hann
    power = np.square(np.abs(np.fft.rfft(frames, n=_FFT_SAMPLES))).mean(axis=1)[:, :256]
    return power.reshape(-1, 128, 2).mean(axis=2)
