"""Cutting recordings into the windows that a detector sees: 4 s, sliding by 2 s, short ones repeated to fill."""

from __future__ import annotations

import torch

from core.audio import SAMPLE_RATE_HZ
from core.features import WINDOW_SAMPLES

SLIDE_SAMPLES = WINDOW_SAMPLES // 2
"""2 s: every moment but the first and last 2 s is seen twice."""


def split_windows(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of a whole recording.

    The last window ends with the recording, so that nothing is left out.

    Args:
        samples: `[time]`, at least one sample.

    Returns:
        windows `[window, 64000]`; their first samples `[window]` int64.
    """
    if len(samples) <= WINDOW_SAMPLES:
        return samples.repeat(-(-WINDOW_SAMPLES // len(samples)))[None, :WINDOW_SAMPLES], torch.zeros(1, dtype=torch.int64)
    windows = samples.unfold(0, WINDOW_SAMPLES, SLIDE_SAMPLES)
    starts = torch.arange(len(windows)) * SLIDE_SAMPLES
    last = len(samples) - WINDOW_SAMPLES
    if starts[-1] < last:
        windows = torch.cat([windows, samples[None, last:]])
        starts = torch.cat([starts, torch.tensor([last])])
    return windows, starts
