"""What a source-filter vocoder starts from: the fundamental of speech, and pulses at it that are whole up to 8 kHz.

Nothing here is trained. Samples are `[batch, time]` at 16 kHz, fundamentals `[batch, frame]` every 5 ms.
"""

from __future__ import annotations

import torch

from core.attacks.resynthesis import fundamental_hz
from core.audio import SAMPLE_RATE_HZ

PITCH_HOP = 80
"""Samples between two values of `core.attacks.resynthesis.fundamental_hz`."""
_FRAME = 640
_MIN_LAG, _MAX_LAG = 32, 267
"""Periods of 500 and 60 Hz."""
_HALF_SHARE = 0.9
_SMOOTH_FRAMES = 3
_USUAL_F0_HZ = 150.0


def fine_fundamental_hz(samples: torch.Tensor) -> torch.Tensor:
    """The fundamental between whole lags, `[batch, 1 + time // 80]`; 0 where unvoiced.

    `fundamental_hz` finds periods of whole samples: at 200 Hz it is up to 0.6 % off, which puts the 20th harmonic an
    eighth of their distance beside its place, and it may take two short periods for one. Here a parabola through the
    correlation at three lags finds the peak, and half the lag is taken where that is almost as good.
    """
    coarse = fundamental_hz(samples)
    lags = (SAMPLE_RATE_HZ / coarse.clamp_min(1.0)).round().long().clamp_max(_MAX_LAG)
    # The likeness around half the lag is flat where the lag is odd: both neighbours are tried.
    lag, likeness = _peak(samples, lags)
    half, half_likeness = _peak(samples, (lag / 2).round().long())
    is_half = (half_likeness > _HALF_SHARE * likeness) & (lags >= 2 * _MIN_LAG)
    return torch.where(coarse > 0, SAMPLE_RATE_HZ / torch.where(is_half, half, lag), 0.0)


def _peak(samples: torch.Tensor, lags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where between `lags` - 1 and `lags` + 1, all `[batch, frame]`, samples are likest a period later, and how like (-1 to 1)."""
    num = lags.shape[1]
    padded = torch.nn.functional.pad(samples, (_FRAME, 2 * _FRAME + 2 * _MAX_LAG))
    at = torch.arange(num, device=samples.device) * PITCH_HOP + _FRAME // 2
    # The window lies around the frame's time together with its copy one period later.
    starts = at - lags // 2
    frames = padded.unsqueeze(1).expand(-1, num, -1)
    within = torch.arange(_FRAME, device=samples.device)
    here = frames.gather(2, starts.unsqueeze(-1) + within)
    likeness = []
    for shift in (-1, 0, 1):
        later = frames.gather(2, (starts + lags + shift).unsqueeze(-1) + within)
        energy = here.square().sum(-1) * later.square().sum(-1)
        likeness.append((here * later).sum(-1) / energy.clamp_min(1e-12).sqrt())
    before, best, after = likeness
    curve = (2 * best - before - after).clamp_min(1e-6)
    shift = (0.5 * (after - before) / curve).clamp(-1.0, 1.0)
    return lags + shift, best + 0.25 * (after - before) * shift


def bridged_hz(f0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth fundamental without gaps, and where it was measured, both `[batch, frame]`.

    Unvoiced stretches are bridged by straight lines, edges held; the whole is smoothed over 15 ms.
    """
    voiced = f0 > 0
    num = f0.shape[1]
    position = torch.arange(num, device=f0.device).expand_as(f0)
    left = torch.where(voiced, position, -1).cummax(dim=1).values
    right = torch.where(voiced, position, num).flip(1).cummin(dim=1).values.flip(1)
    has_left, has_right = left >= 0, right < num
    low, high = f0.gather(1, left.clamp_min(0)), f0.gather(1, right.clamp_max(num - 1))
    share = (position - left).float() / (right - left).clamp_min(1).float()
    line = torch.where(has_left & has_right, low + share * (high - low), torch.where(has_left, low, high))
    line = torch.where(has_left | has_right, line, _USUAL_F0_HZ)
    half = _SMOOTH_FRAMES // 2
    padded = torch.nn.functional.pad(line, (half, half), mode="replicate")
    return padded.unfold(-1, _SMOOTH_FRAMES, 1).mean(dim=-1), voiced.float()


def pulses(f0: torch.Tensor, length: int, *, phase: torch.Tensor) -> torch.Tensor:
    """A train of pulses of power 1, every harmonic up to 8 kHz alike, `[batch, length]`.

    The sum of cos(k x) for k = 1 to K is sin((K + 1/2) x) / (2 sin(x / 2)) - 1/2 (Dirichlet's kernel), x being the
    fundamental's phase and K the number of harmonics below 8 kHz: two sines per sample, and no aliasing.

    Args:
        f0: fundamental without gaps, `[batch, frame]` every 80 samples from sample 0.
        length: samples wanted, at most 80 times the frames.
        phase: the fundamental's first phase in turns, `[batch, 1]`.
    """
    at = torch.arange(length, device=f0.device)
    frame, share = at // PITCH_HOP, (at % PITCH_HOP).float() / PITCH_HOP
    following = (frame + 1).clamp_max(f0.shape[1] - 1)
    f0 = f0[:, frame] * (1 - share) + f0[:, following] * share
    turns = phase.double() + torch.cumsum(f0.double() / SAMPLE_RATE_HZ, dim=-1)
    x = (2 * torch.pi * (turns - turns.round())).float()
    num = (SAMPLE_RATE_HZ / 2 / f0).floor().clamp_min(1.0)
    half_sine = torch.sin(x / 2)
    is_peak = half_sine.abs() < 1e-4
    kernel = torch.sin((num + 0.5) * x) / torch.where(is_peak, 1.0, 2 * half_sine)
    return (torch.where(is_peak, num + 0.5, kernel) - 0.5) * (2 / num).sqrt()
