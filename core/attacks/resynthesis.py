"""Copy synthesis: speech analysed and made anew by classical vocoders, so that only the making differs.

Every maker takes samples `[batch, time]` at 16 kHz and a generator on their device for all randomness, and returns
`[batch, time]` of the same length and level. None needs training or an installed engine.
"""

from __future__ import annotations

from typing import Literal

import torch
import torchaudio

from core.attacks.levels import Maker, at_level_of
from core.audio import SAMPLE_RATE_HZ

_NUM_FFT, _HOP = 512, 128
_PITCH_FRAME, _PITCH_HOP = 640, 80
_MIN_F0_HZ, _MAX_F0_HZ = 60.0, 400.0
_VOICED = 0.45
"""Normalised autocorrelation from which a frame counts as voiced. Source: Boersma (1993), his voicing threshold."""


def griffin_lim(samples: torch.Tensor, generator: torch.Generator, *, num_iterations: int = 32) -> torch.Tensor:
    """The magnitudes kept, the phase estimated anew.

    Source: Griffin and Lim (1984), with the momentum of Perraudin et al. (2013).
    """
    return at_level_of(_phase_estimated(_stft(samples, 1_024, 256).abs(), generator, num_iterations, samples.shape[-1]), samples)


def mel_inversion(
    samples: torch.Tensor,
    generator: torch.Generator,
    *,
    num_mels: int = 80,
    phase: Literal["estimated", "original"] = "estimated",
    num_iterations: int = 32,
) -> torch.Tensor:
    """Through a mel spectrogram, the bottleneck of most text-to-speech, and back by its pseudo-inverse.

    Args:
        num_mels: mel bands over 0 to 8 kHz.
        phase: `estimated` by Griffin-Lim, or the `original` one, which leaves only the smoothed magnitudes.
        num_iterations: of Griffin-Lim.
    """
    spectrum = _stft(samples, 1_024, 256)
    bank = torchaudio.functional.melscale_fbanks(513, 0.0, SAMPLE_RATE_HZ / 2, num_mels, SAMPLE_RATE_HZ).to(samples)
    mel = spectrum.abs().transpose(1, 2) @ bank
    magnitude = (mel @ torch.linalg.pinv(bank)).clamp_min(0.0).transpose(1, 2)
    if phase == "original":
        made = _istft(torch.polar(magnitude, spectrum.angle()), 1_024, 256, samples.shape[-1])
    else:
        made = _phase_estimated(magnitude, generator, num_iterations, samples.shape[-1])
    return at_level_of(made, samples)


def source_filter(
    samples: torch.Tensor,
    generator: torch.Generator,
    *,
    envelope: Literal["lpc", "cepstrum"] = "lpc",
    order: int = 18,
    voiced_up_to_hz: float = 4_000.0,
) -> torch.Tensor:
    """Pulses and noise through a spectral envelope, frame by frame: LPC and cepstral vocoders.

    Voiced frames get pulses at the measured fundamental below `voiced_up_to_hz` and noise above, others only noise.

    Args:
        envelope: all-pole (autocorrelation method) or by the first `order` cepstral coefficients.
        order: of the predictor or of the cepstrum.
        voiced_up_to_hz: highest frequency excited by pulses (the maximum voiced frequency).

    Source: Atal and Hanauer (1971) for LPC; Imai (1983) for the cepstrum.
    """
    power = _stft(samples, _NUM_FFT, _HOP).abs().square() + 1e-9
    gain = _lpc_envelope(power, order) if envelope == "lpc" else _cepstral_envelope(power, order)
    pulses, noise = _excitations(samples, generator)
    low = (torch.arange(_NUM_FFT // 2 + 1, device=samples.device) * SAMPLE_RATE_HZ / _NUM_FFT < voiced_up_to_hz).view(1, -1, 1)
    pulses, noise = _stft(pulses, _NUM_FFT, _HOP), _stft(noise, _NUM_FFT, _HOP)
    voiced = (pulses.abs().square().sum(dim=1, keepdim=True) > 1e-3) & low
    made = torch.where(voiced, pulses, noise) * _minimum_phase(gain)
    # Each frame gets back the energy that it had.
    made = made * (power.sum(dim=1, keepdim=True) / made.abs().square().sum(dim=1, keepdim=True).clamp_min(1e-9)).sqrt()
    return at_level_of(_istft(made, _NUM_FFT, _HOP, samples.shape[-1]), samples)


def sinusoidal(samples: torch.Tensor, generator: torch.Generator, *, num_peaks: int = 40) -> torch.Tensor:
    """Only the strongest spectral peaks of each frame, with their neighbour bins and the original phase.

    Args:
        num_peaks: sinusoids kept per frame.

    Source: McAulay and Quatieri (1986), with bins in place of tracked partials.
    """
    spectrum = _stft(samples, 1_024, 256)
    level = spectrum.abs()
    is_peak = level >= torch.nn.functional.max_pool1d(level.transpose(1, 2), 5, stride=1, padding=2).transpose(1, 2)
    peaks = torch.where(is_peak, level, 0.0)
    floor = peaks.topk(num_peaks, dim=1).values[:, -1:]
    kept = (is_peak & (peaks >= floor)).to(level.dtype)
    kept = torch.nn.functional.max_pool1d(kept.transpose(1, 2), 3, stride=1, padding=1).transpose(1, 2)
    return at_level_of(_istft(spectrum * kept, 1_024, 256, samples.shape[-1]), samples)


def phase_vocoder(samples: torch.Tensor, generator: torch.Generator, *, rate: float = 1.2) -> torch.Tensor:
    """Stretched in time by `rate` and back again: the phase smear of pitch and tempo effects.

    Source: Flanagan and Golden (1966), in torchaudio's form.
    """
    advance = torch.linspace(0, torch.pi * 256, 513, device=samples.device)[:, None]
    stretched = torchaudio.functional.phase_vocoder(_stft(samples, 1_024, 256), rate, advance)
    # Through samples in between, so that the second pass does not undo the first exactly.
    between = _istft(stretched, 1_024, 256, int(samples.shape[-1] / rate))
    back = torchaudio.functional.phase_vocoder(_stft(between, 1_024, 256), 1 / rate, advance)
    return at_level_of(_istft(back, 1_024, 256, samples.shape[-1]), samples)


def fundamental_hz(samples: torch.Tensor) -> torch.Tensor:
    """Fundamental frequency every 5 ms, `[batch, 1 + time // 80]`; 0 where unvoiced.

    Autocorrelation divided by the window's own; source: Boersma (1993), without his path search.
    """
    padded = torch.nn.functional.pad(samples, (_PITCH_FRAME // 2, _PITCH_FRAME // 2))
    window = torch.hann_window(_PITCH_FRAME, device=samples.device)
    frames = padded.unfold(-1, _PITCH_FRAME, _PITCH_HOP)
    frames = (frames - frames.mean(dim=-1, keepdim=True)) * window
    size = 2 * _PITCH_FRAME
    correlation = torch.fft.irfft(torch.fft.rfft(frames, n=size).abs().square(), n=size)
    own = torch.fft.irfft(torch.fft.rfft(window, n=size).abs().square(), n=size)
    energy = correlation[..., :1]
    correlation = correlation / energy.clamp_min(1e-9) / (own / own[0])
    shortest, longest = int(SAMPLE_RATE_HZ / _MAX_F0_HZ), int(SAMPLE_RATE_HZ / _MIN_F0_HZ)
    lags = torch.arange(shortest, longest, device=samples.device)
    before, here, after = (correlation[..., shortest + i : longest + i] for i in (-1, 0, 1))
    is_peak = (here >= before) & (here >= after)  # the slope down from lag 0 is none
    # A slight preference for short lags keeps the search from taking two periods for one.
    strength, index = torch.where(is_peak, here - 0.02 * torch.log2(lags / shortest), 0.0).max(dim=-1)
    loud = energy.squeeze(-1) > energy.squeeze(-1).amax(dim=-1, keepdim=True) * 1e-4
    f0 = torch.where((strength > _VOICED) & loud, SAMPLE_RATE_HZ / lags[index].to(samples.dtype), 0.0)
    return torch.nn.functional.pad(f0, (2, 2), mode="replicate").unfold(-1, 5, 1).median(dim=-1).values


MAKERS: dict[str, Maker] = {
    "griffin_lim": griffin_lim,
    "mel_inversion": mel_inversion,
    "mel_smoothing": lambda samples, generator: mel_inversion(samples, generator, phase="original"),
    "lpc_copy": source_filter,
    "cepstral_copy": lambda samples, generator: source_filter(samples, generator, envelope="cepstrum", order=40),
    "sinusoidal": sinusoidal,
    "phase_vocoder": phase_vocoder,
}
"""Attack name -> maker with its usual parameters."""


def _stft(samples: torch.Tensor, num_fft: int, hop: int) -> torch.Tensor:
    return torch.stft(samples, num_fft, hop, window=torch.hann_window(num_fft, device=samples.device), return_complex=True)


def _istft(spectrum: torch.Tensor, num_fft: int, hop: int, length: int) -> torch.Tensor:
    return torch.istft(spectrum, num_fft, hop, window=torch.hann_window(num_fft, device=spectrum.device), length=length)


def _phase_estimated(magnitude: torch.Tensor, generator: torch.Generator, num_iterations: int, length: int) -> torch.Tensor:
    seed = int(torch.randint(2**31, (1,), device=magnitude.device, generator=generator))
    devices = [magnitude.device] if magnitude.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)  # the starting phase comes from the global generator
        return torchaudio.functional.griffinlim(
            magnitude,
            torch.hann_window(1_024, device=magnitude.device),
            n_fft=1_024,
            hop_length=256,
            win_length=1_024,
            power=1.0,
            n_iter=num_iterations,
            momentum=0.99,
            length=length,
            rand_init=True,
        )


def _lpc_envelope(power: torch.Tensor, order: int) -> torch.Tensor:
    """`1 / |A|` of the all-pole model of each frame, `[batch, bin, frame]`."""
    correlation = torch.fft.irfft(power.transpose(1, 2), n=_NUM_FFT)[..., : order + 1]
    correlation = correlation / correlation[..., :1]
    correlation[..., 0] *= 1 + 1e-4  # white noise correction
    lags = torch.arange(order, device=power.device)
    matrix = correlation[..., (lags[:, None] - lags[None, :]).abs()]
    weights = torch.linalg.solve(matrix, correlation[..., 1:])
    predictor = torch.cat([torch.ones_like(weights[..., :1]), -weights], dim=-1)
    return 1 / torch.fft.rfft(predictor, n=_NUM_FFT).abs().clamp_min(1e-4).transpose(1, 2)


def _cepstral_envelope(power: torch.Tensor, order: int) -> torch.Tensor:
    cepstrum = torch.fft.irfft(0.5 * power.log().transpose(1, 2), n=_NUM_FFT)
    cepstrum[..., order : _NUM_FFT - order + 1] = 0
    return torch.fft.rfft(cepstrum).real.exp().transpose(1, 2)


def _minimum_phase(gain: torch.Tensor) -> torch.Tensor:
    """The minimum-phase spectrum of magnitudes `[batch, bin, frame]`, by folding the cepstrum."""
    cepstrum = torch.fft.irfft(gain.clamp_min(1e-9).log().transpose(1, 2), n=_NUM_FFT)
    cepstrum[..., 1 : _NUM_FFT // 2] *= 2
    cepstrum[..., _NUM_FFT // 2 + 1 :] = 0
    return torch.fft.rfft(cepstrum).exp().transpose(1, 2)


def _excitations(samples: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pulses at the fundamental (silent where unvoiced) and white noise, each `[batch, time]`, power about 1."""
    f0 = fundamental_hz(samples)
    at_sample = f0.repeat_interleave(_PITCH_HOP, dim=-1)[..., : samples.shape[-1]]
    turns = torch.cumsum(at_sample.double() / SAMPLE_RATE_HZ, dim=-1)
    starts = torch.diff(turns.floor(), dim=-1, prepend=turns[..., :1].floor()) > 0
    pulses = torch.where(starts & (at_sample > 0), (SAMPLE_RATE_HZ / at_sample.clamp_min(1.0)).sqrt(), 0.0)
    return pulses, torch.randn(samples.shape, device=samples.device, generator=generator)
