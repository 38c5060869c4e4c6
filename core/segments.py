"""Cutting recordings into the windows that a detector sees: 4 s, sliding by 2 s, short ones repeated to fill.

A detector made elsewhere may see windows of another length; they slide by half of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from core.detector_config import WINDOW_SAMPLES


class WindowStream:
    """Windows of one channel that arrives in blocks. They slide by half, so that all but the ends is seen twice.

    `push` and `finish` yield `(first sample, window [num_samples])`. The last window ends with the recording, so that
    nothing is left out; a recording shorter than a window is repeated to fill it.

    Args:
        num_samples: length of a window.
    """

    def __init__(self, num_samples: int = WINDOW_SAMPLES) -> None:
        self._length, self._slide = num_samples, num_samples // 2
        self._kept = torch.zeros(0)
        self._first = 0
        self._num_windows = 0

    def push(self, samples: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Takes the next block `[time]`; yields the windows that are complete."""
        self._kept = torch.cat([self._kept, samples]) if len(self._kept) else samples
        start = self._num_windows * self._slide - self._first
        while start + self._length <= len(self._kept):
            yield self._first + start, self._kept[start : start + self._length]
            self._num_windows += 1
            start += self._slide
        # A last window may reach back one whole window from the end.
        spare = max(0, len(self._kept) - self._length)
        self._kept, self._first = self._kept[spare:], self._first + spare

    def finish(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields the last window, unless the last one given ended with the recording."""
        length = self._first + len(self._kept)
        if not self._num_windows and length:
            yield 0, self._kept.repeat(-(-self._length // length))[: self._length]
        elif self._num_windows and (self._num_windows - 1) * self._slide + self._length < length:
            yield length - self._length, self._kept[-self._length :]


def split_windows(samples: torch.Tensor, num_samples: int = WINDOW_SAMPLES) -> torch.Tensor:
    """All windows `[window, num_samples]` of a recording `[time]` that is in memory."""
    stream = WindowStream(num_samples)
    return torch.stack([window for part in (stream.push(samples), stream.finish()) for _, window in part])
