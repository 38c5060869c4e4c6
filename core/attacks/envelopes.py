"""Spectral envelopes by the cepstrum: what all makers that move formants share. Filters nothing itself."""

from __future__ import annotations

import torch

NUM_FFT, HOP = 512, 128
NUM_CEPSTRAL = 30
"""Cepstral coefficients of an envelope: detail wider than 16,000 / 30 = 530 Hz, coarser than harmonics."""
_ACTIVE_DB = 35.0


def stft(samples: torch.Tensor) -> torch.Tensor:
    """Spectrum `[batch, 257, frame]` of samples `[batch, time]`, a frame every 8 ms."""
    return torch.stft(samples, NUM_FFT, HOP, window=_window(samples), return_complex=True)


def istft(spectrum: torch.Tensor, length: int) -> torch.Tensor:
    """Samples `[batch, length]` of what `stft` gives."""
    return torch.istft(spectrum, NUM_FFT, HOP, window=_window(spectrum), length=length)


def cepstra_of(spectrum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first coefficients `[batch, frame, 30]` and which frames hold sound `[batch, frame]` (all, if none does)."""
    power = spectrum.abs().square().transpose(1, 2)
    level_db = 10 * torch.log10(power.mean(dim=-1) + 1e-12)
    active = level_db > level_db.amax(dim=-1, keepdim=True) - _ACTIVE_DB
    floor = 1e-6 * power.mean(dim=(1, 2), keepdim=True) + 1e-12
    return torch.fft.irfft(0.5 * (power + floor).log(), n=NUM_FFT)[..., :NUM_CEPSTRAL], active


def true_cepstra_of(spectrum: torch.Tensor, *, num_iterations: int = 12) -> torch.Tensor:
    """The first coefficients `[batch, frame, 30]` of envelopes that touch the harmonics instead of averaging over their valleys.

    Source: Röbel and Rodet (2005), "Efficient spectral envelope estimation", the true envelope: the logarithm of the
    magnitudes is raised to its own smoothed version again and again.
    """
    power = spectrum.abs().square().transpose(1, 2)
    floor = 1e-6 * power.mean(dim=(1, 2), keepdim=True) + 1e-12
    magnitude = 0.5 * (power + floor).log()
    raised = magnitude
    for _ in range(num_iterations):
        cepstra = torch.fft.irfft(raised, n=NUM_FFT)[..., :NUM_CEPSTRAL]
        raised = torch.maximum(magnitude, log_envelope(cepstra).transpose(1, 2))
    return torch.fft.irfft(raised, n=NUM_FFT)[..., :NUM_CEPSTRAL]


def log_envelope(cepstra: torch.Tensor) -> torch.Tensor:
    """Log amplitude `[batch, bin, frame]` of the symmetric cepstrum that begins so."""
    twice = torch.cat([cepstra[..., :1], 2 * cepstra[..., 1:]], dim=-1)
    return torch.fft.rfft(twice, n=NUM_FFT).real.transpose(1, 2)


def with_formants_moved(cepstra: torch.Tensor, ratio: float) -> torch.Tensor:
    """Cepstra of the envelopes stretched along the frequency axis: what stood at f comes to `ratio` f; the edge bin is held."""
    envelope = log_envelope(cepstra)
    last = envelope.shape[1] - 1
    sources = (torch.arange(last + 1, device=cepstra.device) / ratio).clamp_max(last)
    low = sources.long().clamp_max(last - 1)
    share = (sources - low).view(1, -1, 1)
    moved = envelope[:, low] * (1 - share) + envelope[:, low + 1] * share
    return torch.fft.irfft(moved.transpose(1, 2), n=NUM_FFT)[..., :NUM_CEPSTRAL]


def _window(samples: torch.Tensor) -> torch.Tensor:
    return torch.hann_window(NUM_FFT, device=samples.device)
