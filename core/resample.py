"""Resampling a stream of blocks to the rate inside the program, equal to resampling the whole at once."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torchaudio

from core.records import SAMPLE_RATE_HZ


class StreamResampler:
    """Resamples a stream of blocks to 16 kHz, equal to resampling the whole at once.

    A rate in lowest terms is `up / down`; a piece that starts and ends on a multiple of `down` samples maps onto
    whole output samples, so each piece is resampled with enough context on both sides and the context cut off.

    Args:
        sample_rate_hz: stored rate.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._transform, self._down, self._up = _resampling(sample_rate_hz)
        # The windowed sinc reaches `width` input samples to either side; rounded up to whole periods.
        width = getattr(self._transform, "width", 0) if self._transform else 0
        self._context = self._down * math.ceil((width + self._down) / self._down)
        self._kept: torch.Tensor | None = None
        self._num_left = 0

    def push(self, block: torch.Tensor) -> torch.Tensor:
        """Takes `[channel, frame]`, returns what can be given out by now, `[channel, time]`."""
        if self._transform is None:
            self._kept = block[:, :0]
            return block
        data = block if self._kept is None else torch.cat([self._kept, block], dim=1)
        num_ready = (data.shape[1] - self._num_left - self._context) // self._down * self._down
        if num_ready <= 0:
            self._kept = data
            return data[:, :0]
        piece = data[:, : self._num_left + num_ready + self._context]
        out = self._cut(self._transform(piece), num_ready)
        start = max(0, self._num_left + num_ready - self._context)
        self._kept, self._num_left = data[:, start:], self._num_left + num_ready - start
        return out

    def flush(self) -> torch.Tensor:
        """The rest of the stream, `[channel, time]`."""
        if self._kept is None or self._transform is None:
            return torch.zeros(1, 0) if self._kept is None else self._kept
        return self._cut(self._transform(self._kept), None)

    def _cut(self, resampled: torch.Tensor, num_ready: int | None) -> torch.Tensor:
        first = self._num_left // self._down * self._up
        last = None if num_ready is None else first + num_ready // self._down * self._up
        return resampled[:, first:last]


@lru_cache(maxsize=32)
def _resampling(sample_rate_hz: int) -> tuple[torch.nn.Module | None, int, int]:
    """The cached torchaudio kernel for a rate, with the period in input and output samples."""
    # A rate that shares no large factor with 16,000 would need a kernel of gigabytes. Moving it to the nearest
    # multiple of 25 Hz shifts pitch by at most 0.2 % and bounds the kernel at 640 phases.
    if math.gcd(sample_rate_hz, SAMPLE_RATE_HZ) < 25:
        sample_rate_hz = max(25, round(sample_rate_hz / 25) * 25)
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return None, 1, 1
    common = math.gcd(sample_rate_hz, SAMPLE_RATE_HZ)
    # A filter of 16 zero crossings keeps what is below 7.5 kHz within 1 dB; the default of 6 is 2 dB down at 7 kHz.
    kernel = torchaudio.transforms.Resample(sample_rate_hz, SAMPLE_RATE_HZ, lowpass_filter_width=16)
    return kernel, sample_rate_hz // common, SAMPLE_RATE_HZ // common
