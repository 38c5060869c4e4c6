"""What a hub classifier's feature extractor does, as modules that are exported with the network: samples in, its input out.

They follow the extractors of `transformers`, which work in NumPy and cannot be exported. A spectrum is a convolution with
sines and cosines: the frame's own linear steps (mean, pre-emphasis, window) are multiplied into them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_FRAME, _HOP, _KALDI_FFT = 400, 160, 512
_PRE_EMPHASIS, _KALDI_FLOOR = 0.97, torch.finfo(torch.float32).eps
_INT16 = 2.0**15


class NormalisedSamples(nn.Module):
    """wav2vec 2.0 and its kin: samples `[batch, time]` as they are, or with mean 0 and variance 1."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.is_normalised = bool(extractor.do_normalize)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        if not self.is_normalised:
            return samples
        centred = samples - samples.mean(dim=1, keepdim=True)
        return centred / torch.sqrt((centred**2).mean(dim=1, keepdim=True) + 1e-7)


class WhisperMel(nn.Module):
    """Whisper: log-mel `[batch, mel, frame]` of the samples, filled up with silence to 30 s."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.num_samples, self.num_fft = extractor.n_samples, extractor.n_fft
        window = torch.hann_window(self.num_fft, dtype=torch.float64)
        self.spectrum = _PowerSpectrum(torch.diag(window), self.num_fft, extractor.hop_length)
        self.register_buffer("mel", torch.as_tensor(extractor.mel_filters, dtype=torch.float32).T.contiguous())

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        filled = functional.pad(samples, (0, self.num_samples))[:, : self.num_samples]
        half = self.num_fft // 2
        power = self.spectrum(functional.pad(filled[:, None], (half, half), mode="reflect"))[..., :-1]
        log_mel = torch.log10(torch.clamp(self.mel @ power, min=1e-10))
        return (torch.maximum(log_mel, log_mel.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


class AstMel(nn.Module):
    """Audio spectrogram transformer: log-mel `[batch, frame, mel]` as Kaldi makes it, filled up with zeros to its length."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        from torchaudio.compliance.kaldi import get_mel_banks

        self.num_frames = extractor.max_length
        self.mean, self.scale = (extractor.mean, 2 * extractor.std) if extractor.do_normalize else (0.0, 1.0)
        self.spectrum = _PowerSpectrum(_kaldi_frame(torch.hann_window(_FRAME, periodic=False)), _KALDI_FFT, _HOP)
        mel, _ = get_mel_banks(extractor.num_mel_bins, _KALDI_FFT, 16_000.0, 20.0, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("mel", functional.pad(mel, (0, 1)))  # nothing of the highest bin

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        log_mel = torch.log(torch.clamp(self.mel @ self.spectrum(samples[:, None]), min=_KALDI_FLOOR))
        filled = functional.pad(log_mel, (0, self.num_frames))[..., : self.num_frames]
        return (filled.transpose(1, 2) - self.mean) / self.scale


class StackedMel(nn.Module):
    """wav2vec2-BERT: Kaldi's log-mel, each band with mean 0 and variance 1, two frames in one `[batch, frame / 2, 2 x mel]`."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.stride = extractor.stride
        window = torch.hann_window(_FRAME, periodic=False, dtype=torch.float64) ** 0.85  # Povey's
        self.spectrum = _PowerSpectrum(_INT16 * _kaldi_frame(window), _KALDI_FFT, _HOP)
        self.register_buffer("mel", torch.as_tensor(extractor.mel_filters, dtype=torch.float32).T.contiguous())

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        log_mel = torch.log(torch.clamp(self.mel @ self.spectrum(samples[:, None]), min=_KALDI_FLOOR)).transpose(1, 2)
        centred = log_mel - log_mel.mean(dim=1, keepdim=True)
        normal = centred / torch.sqrt((centred**2).sum(dim=1, keepdim=True) / (log_mel.shape[1] - 1) + 1e-7)
        num = log_mel.shape[1] // self.stride  # the extractor masks a frame that is left over
        return normal[:, : num * self.stride].reshape(normal.shape[0], num, self.stride * normal.shape[2])


class _PowerSpectrum(nn.Module):
    """Power `[batch, bin, frame]` of frames of samples `[batch, 1, time]`, each multiplied by a matrix before its DFT."""

    def __init__(self, frame: torch.Tensor, num_fft: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        bins = torch.arange(num_fft // 2 + 1, dtype=torch.float64)
        angle = 2 * math.pi / num_fft * torch.outer(bins, torch.arange(frame.shape[0], dtype=torch.float64))
        waves = torch.cat([torch.cos(angle), torch.sin(angle)]) @ frame.double()
        self.register_buffer("waves", waves.float()[:, None])

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        real, imaginary = functional.conv1d(samples, self.waves, stride=self.hop).chunk(2, dim=1)
        return real**2 + imaginary**2


def _kaldi_frame(window: torch.Tensor) -> torch.Tensor:
    """What Kaldi does to a frame, as a matrix: minus its mean, minus 0.97 of the sample before (of itself, the first), window."""
    size = len(window)
    without_mean = torch.eye(size, dtype=torch.float64) - 1 / size
    before = torch.diag(torch.ones(size - 1, dtype=torch.float64), -1)
    before[0, 0] = 1
    return torch.diag(window.double()) @ (torch.eye(size, dtype=torch.float64) - _PRE_EMPHASIS * before) @ without_mean
