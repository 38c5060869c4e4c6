"""Pitch and formants moved apart from each other, by a phase vocoder and by filters: what voice changers do.

Makers as in `core.attacks.resynthesis`. `core.attacks.filtering.waveform_filtering` moves both together.
"""

from __future__ import annotations

import torch
import torchaudio

from core.attacks.envelopes import NUM_FFT, istft, log_envelope, stft, true_cepstra_of, with_formants_moved
from core.attacks.levels import Maker, at_level_of

_LONG_FFT, _LONG_HOP = 1_024, 256
_PER_UNIT = 200
"""Ratios in 200ths (9 cents at most beside the asked one), so that the resampler's filters stay short."""
_MAX_GAIN_DB = 40.0


def pitch_shift(samples: torch.Tensor, generator: torch.Generator, *, semitones: float = 4.0) -> torch.Tensor:
    """The fundamental moved, the formants put back to where they were.

    Stretched in time by a phase vocoder, resampled to the duration that it had, and each frame filtered by the ratio of
    the two envelopes. What a lowered voice lacks at the upper edge of the band is taken from the recording.

    Args:
        semitones: upwards; negative is down.

    Source: Laroche and Dolson (1999), "New phase-vocoder techniques for pitch-shifting"; the envelopes of Röbel and Rodet
    (2005).
    """
    ratio = round(_PER_UNIT * 2 ** (semitones / 12)) / _PER_UNIT
    length = samples.shape[-1]
    quick = torchaudio.functional.resample(_stretched(samples, ratio), round(_PER_UNIT * ratio), _PER_UNIT)
    quick = torch.nn.functional.pad(quick, (0, max(0, length - quick.shape[-1])))[..., :length]
    source, made = stft(samples), stft(quick)
    made = made * _limited(log_envelope(true_cepstra_of(source) - true_cepstra_of(made)))
    edge = int(0.97 * ratio * (NUM_FFT // 2))
    if edge < NUM_FFT // 2:
        made[:, edge:] = source[:, edge:]
    return at_level_of(istft(made, length), samples)


def formant_shift(samples: torch.Tensor, generator: torch.Generator, *, ratio: float = 1.15) -> torch.Tensor:
    """The formants moved, the fundamental and the phase kept: each frame filtered by the ratio of two envelopes.

    Args:
        ratio: new formant frequencies over old.
    """
    spectrum = stft(samples)
    cepstra = true_cepstra_of(spectrum)
    gain = _limited(log_envelope(with_formants_moved(cepstra, ratio) - cepstra))
    return at_level_of(istft(spectrum * gain, samples.shape[-1]), samples)


MAKERS: dict[str, Maker] = {"pitch_shift": pitch_shift, "formant_shift": formant_shift}
"""Attack name -> maker with its usual parameters."""


def _stretched(samples: torch.Tensor, factor: float) -> torch.Tensor:
    """Samples `[batch, about factor * time]`, pitch kept."""
    window = torch.hann_window(_LONG_FFT, device=samples.device)
    spectrum = torch.stft(samples, _LONG_FFT, _LONG_HOP, window=window, return_complex=True)
    advance = torch.linspace(0, torch.pi * _LONG_HOP, _LONG_FFT // 2 + 1, device=samples.device)[:, None]
    slow = torchaudio.functional.phase_vocoder(spectrum, 1 / factor, advance)
    return torch.istft(slow, _LONG_FFT, _LONG_HOP, window=window, length=round(samples.shape[-1] * factor))


def _limited(log_gain: torch.Tensor) -> torch.Tensor:
    limit = _MAX_GAIN_DB / 20 * torch.log(torch.tensor(10.0)).item()
    return log_gain.clamp(-limit, limit).exp()
