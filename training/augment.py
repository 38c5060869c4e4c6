"""What happens to a recording between a mouth and a folder, by chance: rooms, lines, noise, level. On the device."""

from __future__ import annotations

import torch
import torchaudio

from core.audio import SAMPLE_RATE_HZ
from core.detector_config import IMAGE_SIZE


def augment_samples(samples: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random channel and noise for each recording.

    Equaliser, band limit, room and noise are applied in the frequency domain (circularly), then gain with
    rare clipping, then 8-bit mu-law for some.

    Args:
        samples: `[batch, time]`.
        generator: source of all randomness, on the samples' device.

    Returns:
        `[batch, time]`.
    """
    batch, length = samples.shape
    draw = _Draws(batch, samples.device, generator)
    spectrum = torch.fft.rfft(samples)
    frequency_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, spectrum.shape[-1], device=samples.device)
    spectrum = spectrum * _equaliser(frequency_hz, draw) * _band_limit(frequency_hz, draw)
    in_room = draw.chance(0.3).flatten()
    if in_room.any():  # MKL refuses an empty batch
        spectrum[in_room] *= torch.fft.rfft(_rooms(draw)[in_room], n=length)
    samples = torch.fft.irfft(spectrum + _noise(spectrum, draw), n=length)
    peak = samples.abs().amax(dim=-1, keepdim=True).clamp_min(1e-6)
    gain = torch.where(draw.chance(0.1), draw.uniform(1.0, 3.0), draw.uniform(0.05, 1.0)) / peak
    samples = (samples * gain).clamp(-1, 1)
    return torch.where(draw.chance(0.1), _mu_law_8_bit(samples), samples)


def mask_image(image: torch.Tensor, generator: torch.Generator, *, num_masks: int = 2, max_width: int = 32) -> torch.Tensor:
    """Fills random bands of rows and of columns with the image's mean (SpecAugment).

    Args:
        image: `[batch, channel, 224, 224]`, zero mean; all channels get the same masks.

    Source: Park et al. (2019), "SpecAugment", section 2.
    """
    draw = _Draws(len(image), image.device, generator)
    position = torch.arange(IMAGE_SIZE, device=image.device)
    for _ in range(num_masks):
        for shape in ((-1, 1, IMAGE_SIZE, 1), (-1, 1, 1, IMAGE_SIZE)):
            start, width = draw.uniform(0, IMAGE_SIZE), draw.uniform(0, max_width)
            image = image.masked_fill(((position >= start) & (position < start + width)).view(shape), 0.0)
    return image


class _Draws:
    """Uniform draws of shape `[batch, 1]`."""

    def __init__(self, batch: int, device: torch.device, generator: torch.Generator) -> None:
        self.batch, self.device, self.generator = batch, device, generator

    def uniform(self, low: float, high: float, num: int = 1) -> torch.Tensor:
        drawn = torch.rand(self.batch, num, device=self.device, generator=self.generator)
        return low + (high - low) * drawn

    def chance(self, probability: float) -> torch.Tensor:
        return self.uniform(0, 1) < probability

    def normal(self, num: int) -> torch.Tensor:
        return torch.randn(self.batch, num, device=self.device, generator=self.generator)


def _equaliser(frequency_hz: torch.Tensor, draw: _Draws) -> torch.Tensor:
    """A smooth random gain within about +-8 dB, by linear interpolation over 10 points, for 70 % of the batch."""
    gain_db = torch.nn.functional.interpolate(
        draw.uniform(-8, 8, num=10).unsqueeze(1), size=len(frequency_hz), mode="linear", align_corners=True
    ).squeeze(1)
    return torch.where(draw.chance(0.7), 10 ** (gain_db / 20), torch.ones_like(gain_db))


def _band_limit(frequency_hz: torch.Tensor, draw: _Draws) -> torch.Tensor:
    """Telephone band for 20 %, a low-pass between 3.4 and 8 kHz for 35 %, a high-pass up to 150 Hz for 30 %."""
    telephone = draw.chance(0.20)
    low_pass = torch.where(telephone, draw.uniform(3_300, 4_000), torch.where(draw.chance(0.4), draw.uniform(3_400, 8_000), 1e5))
    high_pass = torch.where(telephone, draw.uniform(50, 320), torch.where(draw.chance(0.3), draw.uniform(20, 150), 0.0))
    steepness_hz = draw.uniform(30, 300)
    below = torch.sigmoid((low_pass - frequency_hz) / steepness_hz * 4)
    above = torch.where(high_pass > 0, torch.sigmoid((frequency_hz - high_pass) / 10), torch.ones_like(below))
    return below * above


def _rooms(draw: _Draws) -> torch.Tensor:
    """Impulse responses `[batch, 8000]`: the direct sound and an exponentially decaying tail of noise."""
    num = SAMPLE_RATE_HZ // 2
    time_s = torch.arange(num, device=draw.device) / SAMPLE_RATE_HZ
    # 60 dB of decay in T60: amplitude 10^(-3 t / T60).
    tail = draw.normal(num) * 10 ** (-3 * time_s / draw.uniform(0.08, 0.6))
    response = tail / torch.linalg.vector_norm(tail, dim=-1, keepdim=True) * 10 ** (draw.uniform(-20, 0) / 20)
    response[:, 0] += 1.0
    return response


def _noise(spectrum: torch.Tensor, draw: _Draws) -> torch.Tensor:
    """Spectrum of noise with a random slope (white to red), 8 to 45 dB below the signal, for 60 %."""
    num_bins = spectrum.shape[-1]
    bins = torch.arange(1, num_bins + 1, device=spectrum.device)
    noise = torch.view_as_complex(draw.normal(2 * num_bins).view(-1, num_bins, 2)) * bins ** -draw.uniform(0.0, 1.0)
    level = torch.linalg.vector_norm(spectrum, dim=-1, keepdim=True) / torch.linalg.vector_norm(noise, dim=-1, keepdim=True)
    return noise * level * 10 ** (-draw.uniform(8, 45) / 20) * draw.chance(0.6)


def _mu_law_8_bit(samples: torch.Tensor) -> torch.Tensor:
    """Companding to 256 steps and back, as on an ISDN line. Source: ITU-T G.711."""
    mu = 255.0
    companded = torch.sign(samples) * torch.log1p(mu * samples.abs()) / torch.log1p(torch.tensor(mu))
    steps = torch.round(companded * 127.5) / 127.5
    return torch.sign(steps) * torch.expm1(steps.abs() * torch.log1p(torch.tensor(mu))) / mu


def telephone_line(samples: torch.Tensor) -> torch.Tensor:
    """One recording `[time]` through a telephone: 8 kHz, 300 to 3,400 Hz, 8-bit mu-law, back to 16 kHz."""
    narrow = torchaudio.functional.resample(samples, SAMPLE_RATE_HZ, 8_000)
    narrow = torchaudio.functional.highpass_biquad(narrow, 8_000, 300.0)
    narrow = torchaudio.functional.lowpass_biquad(narrow, 8_000, 3_400.0)
    peak = narrow.abs().max().clamp_min(1e-6)
    narrow = _mu_law_8_bit(narrow / peak * 0.7) * peak / 0.7
    return torchaudio.functional.resample(narrow, 8_000, SAMPLE_RATE_HZ)[: len(samples)]
