"""Cutting recordings into the windows that a detector sees: 4 s, sliding by 2 s, short ones repeated to fill."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from core.features import WINDOW_SAMPLES

SLIDE_SAMPLES = WINDOW_SAMPLES // 2
"""2 s: every moment but the first and last 2 s is seen twice."""


class WindowStream:
    """Windows of one channel that arrives in blocks.

    `push` and `finish` yield `(first sample, window [64000])`. The last window ends with the recording, so that
    nothing is left out; a recording shorter than a window is repeated to fill it.
    """

    def __init__(self) -> None:
        self._kept = torch.zeros(0)
        self._first = 0
        self._num_windows = 0

    def push(self, samples: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Takes the next block `[time]`; yields the windows that are complete."""
        self._kept = torch.cat([self._kept, samples]) if len(self._kept) else samples
        start = self._num_windows * SLIDE_SAMPLES - self._first
        while start + WINDOW_SAMPLES <= len(self._kept):
            yield self._first + start, self._kept[start : start + WINDOW_SAMPLES]
            self._num_windows += 1
            start += SLIDE_SAMPLES
        # A last window may reach back one whole window from the end.
        spare = max(0, len(self._kept) - WINDOW_SAMPLES)
        self._kept, self._first = self._kept[spare:], self._first + spare

    def finish(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields the last window, unless the last one given ended with the recording."""
        length = self._first + len(self._kept)
        if not self._num_windows and length:
            yield 0, self._kept.repeat(-(-WINDOW_SAMPLES // length))[:WINDOW_SAMPLES]
        elif self._num_windows and (self._num_windows - 1) * SLIDE_SAMPLES + WINDOW_SAMPLES < length:
            yield length - WINDOW_SAMPLES, self._kept[-WINDOW_SAMPLES:]


def split_windows(samples: torch.Tensor) -> torch.Tensor:
    """All windows `[window, 64000]` of a recording `[time]` that is in memory."""
    stream = WindowStream()
    return torch.stack([window for part in (stream.push(samples), stream.finish()) for _, window in part])
