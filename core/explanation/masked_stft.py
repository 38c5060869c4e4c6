"""A recording's short-time spectrum and back, and what is left of it under a mask: magnitudes scaled, phase as it was."""

from __future__ import annotations

import numpy as np
import torch

from core.audio import SAMPLE_RATE_HZ
from core.features import ImageAxes

FFT_SAMPLES, HOP_SAMPLES = 512, 128
"""32 ms: harmonics of a voice stay apart. Hann windows that slide by a quarter add up to a constant."""
NUM_BINS = FFT_SAMPLES // 2 + 1


def spectrum(samples: torch.Tensor) -> torch.Tensor:
    """`[..., time]` to `[..., bin, frame]`, complex; frame `i` is centred on sample `128 i`."""
    return torch.stft(
        samples, FFT_SAMPLES, HOP_SAMPLES, window=torch.hann_window(FFT_SAMPLES), return_complex=True, pad_mode="constant"
    )


def samples_of(spectra: torch.Tensor, num_samples: int) -> torch.Tensor:
    """The inverse: `[..., bin, frame]` to `[..., time]`. Linear, so that the parts under a mask and under its complement add up."""
    return torch.istft(spectra, FFT_SAMPLES, HOP_SAMPLES, window=torch.hann_window(FFT_SAMPLES), length=num_samples)


def masked(samples: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What is left of samples `[time]` when each cell's magnitude is scaled by a mask `[bin, frame]` of 0 to 1."""
    return samples_of(spectrum(samples) * mask, samples.shape[-1])


def axes(num_samples: int) -> ImageAxes:
    """What the rows and columns of a spectrum of that many samples mean."""
    num_frames = 1 + num_samples // HOP_SAMPLES
    return ImageAxes(
        time_s=tuple((np.arange(num_frames) * HOP_SAMPLES / SAMPLE_RATE_HZ).tolist()),
        rows=tuple((np.arange(NUM_BINS) * SAMPLE_RATE_HZ / FFT_SAMPLES).tolist()),
        row_label="Frequency (Hz)",
    )
