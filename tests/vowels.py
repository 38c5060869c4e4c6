"""Made vowels of known fundamental and formants, and where a recording's formants are."""

from __future__ import annotations

import torch
import torchaudio

from core.audio import SAMPLE_RATE_HZ

F0_HZ = 125.0
FORMANTS_HZ = (700.0, 1_220.0, 2_600.0)


def vowel(f0_hz: float = F0_HZ, formants_hz: tuple[float, ...] = FORMANTS_HZ, *, num_samples: int = 32_000) -> torch.Tensor:
    """`[1, time]`: pulses with a little noise through resonances, with a pause in the middle."""
    samples = torch.zeros(num_samples)
    samples[(torch.arange(0, num_samples * f0_hz / SAMPLE_RATE_HZ) * SAMPLE_RATE_HZ / f0_hz).long()] = 1.0
    samples += 0.002 * torch.randn(num_samples, generator=torch.Generator().manual_seed(0))
    for formant_hz in formants_hz:
        radius = torch.exp(torch.tensor(-torch.pi * 80.0 / SAMPLE_RATE_HZ))
        turn = torch.cos(torch.tensor(2 * torch.pi * formant_hz / SAMPLE_RATE_HZ))
        feedback = torch.stack([torch.ones(()), -2 * radius * turn, radius**2])
        samples = torchaudio.functional.lfilter(samples, feedback, torch.tensor([1.0, 0.0, 0.0]), clamp=False)
    samples[num_samples * 7 // 16 : num_samples * 9 // 16] *= 1e-3
    return (0.3 * samples / samples.abs().max()).unsqueeze(0)


def long_term_db(samples: torch.Tensor) -> torch.Tensor:
    """Long-term spectrum in dB, smoothed over about two harmonics, `[513]`."""
    power = torchaudio.functional.spectrogram(samples, 0, torch.hann_window(1_024), 1_024, 256, 1_024, 2.0, False)
    level = 10 * power.mean(dim=(0, 2)).log10()
    return torch.nn.functional.avg_pool1d(level.view(1, 1, -1), 17, stride=1, padding=8, count_include_pad=False).flatten()


def strongest_hz(samples: torch.Tensor, low_hz: float, high_hz: float) -> float:
    """Where the smoothed long-term spectrum is strongest between two frequencies."""
    bin_hz = SAMPLE_RATE_HZ / 1_024
    low, high = int(low_hz / bin_hz), int(high_hz / bin_hz)
    return (low + int(long_term_db(samples)[low:high].argmax())) * bin_hz
