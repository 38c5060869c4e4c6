"""The beginning of a recording in memory: enough to stress or to measure it, however long it is."""

from __future__ import annotations

import os

import numpy as np

from core.audio import SAMPLE_RATE_HZ, AudioReader

MAX_START_S = 60.0
"""Of longer recordings the first minute is looked at: forty conditions of an hour would be a day of audio."""


def read_start(path: str | os.PathLike[str], *, max_s: float = MAX_START_S) -> np.ndarray:
    """The first `max_s` of a recording's mixdown, `[time]` float32 at 16 kHz.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    parts, num_samples, most = [], 0, int(max_s * SAMPLE_RATE_HZ)
    for block in AudioReader(path):
        parts.append(block[0].numpy())
        num_samples += len(parts[-1])
        if num_samples >= most:
            break
    return np.concatenate(parts)[:most]
