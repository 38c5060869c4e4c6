"""What the vocoder is trained by: distances between spectrograms, the energy distance built on them, and a critic's part.

Samples are `[batch, time]` at 16 kHz throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from core.attacks.neural import log_mel_of

RESOLUTIONS = (1_024, 512, 256, 128)
"""Window lengths in samples, 64 to 8 ms; each moves by a quarter of itself."""
_FLOOR = 1e-3
"""Magnitude, at a window of 1,024 samples, that counts as nothing: 60 dB below speech at -26 dB of full scale."""
_NUM_MELS = 80

Spectra = list[torch.Tensor]
"""Log spectrograms of one batch, each `[batch, band, frame]` or `[batch, frame, band]`."""


def log_magnitude(samples: torch.Tensor, num_fft: int) -> torch.Tensor:
    """Natural log of STFT magnitudes, `[batch, bin, frame]`, scaled as if every window were 1,024 samples long."""
    window = torch.hann_window(num_fft, device=samples.device)
    spectrum = torch.stft(samples, num_fft, num_fft // 4, window=window, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()  # abs() has no gradient at 0
    return 0.5 * (power * (1_024 / num_fft) + _FLOOR**2).log()


def spectra_of(samples: torch.Tensor) -> Spectra:
    """All that two recordings are compared by."""
    return [log_magnitude(samples, num_fft) for num_fft in RESOLUTIONS] + [log_mel_of(samples, _NUM_MELS)]


def spectral_distance(first: Spectra, second: Spectra) -> torch.Tensor:
    """Mean absolute difference of log magnitudes (nepers), averaged over the resolutions and the mel spectrogram."""
    return torch.stack([(a - b).abs().mean() for a, b in zip(first, second, strict=True)]).mean()


def energy_distance(takes: Sequence[Spectra], real: Spectra) -> torch.Tensor:
    """How far two independent takes of the same speech are from the real one, less how far they are from each other.

    A plain distance is least where nothing is random, so that breath turns into buzz. With the distance between takes
    taken off, the expectation is least where made and real speech are distributed alike; there it is the distance between
    two takes, not 0.

    Source: Gritsenko et al. (2020), "A spectral energy distance for parallel speech synthesis".
    """
    first, second = takes
    return spectral_distance(first, real) + spectral_distance(second, real) - spectral_distance(first, second)


def critic_loss(of_real: Sequence[torch.Tensor], of_made: Sequence[torch.Tensor]) -> torch.Tensor:
    """Hinge loss of the discriminators' judgements (large is real), averaged over them.

    Source: Lim and Ye (2017), "Geometric GAN".
    """
    pairs = zip(of_real, of_made, strict=True)
    return torch.stack([(1 - real).relu().mean() + (1 + made).relu().mean() for real, made in pairs]).mean()


def adversarial_loss(of_made: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the vocoder pays for judgements of its speech: minus their mean over the discriminators."""
    return -torch.stack([made.mean() for made in of_made]).mean()


def matching_loss(of_real: Sequence[Sequence[torch.Tensor]], of_made: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    """Mean absolute difference of the discriminators' features, each layer's over the size of the real ones.

    Source: Larsen et al. (2016); divided as in Defossez et al. (2022), "High fidelity neural audio compression".
    """
    parts = [
        (real - made).abs().mean() / real.abs().mean().clamp_min(1e-6)
        for layers, made_layers in zip(of_real, of_made, strict=True)
        for real, made in zip(layers, made_layers, strict=True)
    ]
    return torch.stack(parts).mean()
