"""Front ends: modules from samples `[batch, 64000]` to feature images `[batch, channel, 224, 224]`, and their axes.

Row 0 is the lowest frequency (or amplitude). Levels are standardised per image, so that loudness is no cue.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchaudio

from core.detector_config import (
    HOP_SAMPLES,
    IMAGE_SIZE,
    WHISPER_HOP_SAMPLES,
    WHISPER_MELS,
    WINDOW_SAMPLES,
    FeatureConfig,
    FeatureKind,
)
from core.records import SAMPLE_RATE_HZ

_FFT_SAMPLES = {
    # 257 bins of 31.25 Hz; the lowest 224 (0 to 6,969 Hz) are the image. What is left out above 7 kHz is mostly the
    # transition band of whichever resampler made the file: a trace of its history, not of speech.
    "log_spectrogram": 512,
    # 224 mel bands are 8 Hz apart at the bottom; 2,048 points give bins as narrow as that.
    "mel": 2_048,
    "mfcc": 2_048,
    # 224 linear bands of 36 Hz need bins clearly narrower than that.
    "lfcc": 1_024,
}


# Window in samples, FFT points, and every how many bins a row is taken, for the channels of `multi_resolution`.
_RESOLUTIONS = ((512, 512, 1), (160, 512, 1), (1_024, 1_024, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAxes:
    """What the rows and columns of a feature image mean."""

    time_s: tuple[float, ...]
    """Time at the centre of each column."""
    rows: tuple[float, ...]
    """Value at the centre of each row, rising."""
    row_label: str
    """Name and unit of the rows, e.g. `Frequency (Hz)`."""


class LogSpectrogram(torch.nn.Module):
    """Power spectrogram in dB, standardised per image.

    Args:
        config: the feature configuration.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.dynamic_range_db = config.dynamic_range_db
        num_fft = _FFT_SAMPLES["log_spectrogram"]
        self.transform = torchaudio.transforms.Spectrogram(n_fft=num_fft, hop_length=HOP_SAMPLES, power=2.0)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[batch, 64000]` to `[batch, 1, 224, 224]`."""
        power = self.transform(samples)[:, :IMAGE_SIZE]
        return standardise(decibels(power, self.dynamic_range_db)).unsqueeze(1)

    def axes(self) -> ImageAxes:
        """Rows are FFT bins, in Hz."""
        bin_hz = SAMPLE_RATE_HZ / self.transform.n_fft
        return ImageAxes(time_s=_frame_times_s(), rows=tuple(i * bin_hz for i in range(IMAGE_SIZE)), row_label="Frequency (Hz)")


class MultiResolution(torch.nn.Module):
    """Three log spectrograms of one grid (31.25 Hz by 17.9 ms) as the channels of an image: windows of 32, 10 and 64 ms.

    The short window shows pitch pulses and clicks, the long one single harmonics; each channel is standardised by itself.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.dynamic_range_db = config.dynamic_range_db
        self.transforms = torch.nn.ModuleList(
            torchaudio.transforms.Spectrogram(n_fft=num_fft, win_length=window, hop_length=HOP_SAMPLES, power=2.0)
            for window, num_fft, _ in _RESOLUTIONS
        )

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[batch, 64000]` to `[batch, 3, 224, 224]`."""
        channels = []
        for transform, (_, _, step) in zip(self.transforms, _RESOLUTIONS, strict=True):
            power = transform(samples)[:, : IMAGE_SIZE * step : step]
            channels.append(standardise(decibels(power, self.dynamic_range_db)))
        return torch.stack(channels, dim=1)

    def axes(self) -> ImageAxes:
        """Rows are FFT bins, in Hz, as in `LogSpectrogram`."""
        bin_hz = SAMPLE_RATE_HZ / _RESOLUTIONS[0][1]
        return ImageAxes(time_s=_frame_times_s(), rows=tuple(i * bin_hz for i in range(IMAGE_SIZE)), row_label="Frequency (Hz)")


class MelSpectrogram(torch.nn.Module):
    """Mel spectrogram in dB, standardised per image; 224 HTK mel bands over 0 to 8 kHz."""

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.dynamic_range_db = config.dynamic_range_db
        self.transform = torchaudio.transforms.MelSpectrogram(SAMPLE_RATE_HZ, **_mel_options())

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[batch, 64000]` to `[batch, 1, 224, 224]`."""
        return standardise(decibels(self.transform(samples), self.dynamic_range_db)).unsqueeze(1)

    def axes(self) -> ImageAxes:
        """Rows are mel bands, by their centre in Hz."""
        # HTK mel (O'Shaughnessy 1987): m = 2595 log10(1 + f / 700); centres are evenly spaced in m.
        top_mel = 2595.0 * torch.log10(torch.tensor(1 + SAMPLE_RATE_HZ / 2 / 700.0))
        mels = torch.linspace(0, float(top_mel), IMAGE_SIZE + 2, dtype=torch.float64)[1:-1]
        return ImageAxes(
            time_s=_frame_times_s(), rows=tuple((700 * (10 ** (mels / 2595) - 1)).tolist()), row_label="Frequency (Hz)"
        )


class WhisperMel(torch.nn.Module):
    """The log-mel image that Whisper was trained on: 80 Slaney bands, 25 ms every 10 ms, log10, a floor 8 below the maximum.

    Source: Radford et al. (2022), section 2.2, and the audio constants of their code.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.transform = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE_HZ, n_fft=400, hop_length=WHISPER_HOP_SAMPLES, n_mels=WHISPER_MELS, norm="slaney", mel_scale="slaney"
        )

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[batch, time]` to `[batch, 1, 80, time // 160]`."""
        level = self.transform(samples)[..., :-1].clamp_min(1e-10).log10()
        level = torch.maximum(level, level.amax(dim=(-2, -1), keepdim=True) - 8.0)
        return ((level + 4.0) / 4.0).unsqueeze(1)

    def axes(self) -> ImageAxes:
        """Rows are mel bands, by their centre in Hz."""
        edges_hz = torchaudio.functional.functional._mel_to_hz(
            torch.linspace(0, torchaudio.functional.functional._hz_to_mel(SAMPLE_RATE_HZ / 2, "slaney"), WHISPER_MELS + 2), "slaney"
        )
        time_s = tuple(i * WHISPER_HOP_SAMPLES / SAMPLE_RATE_HZ for i in range(WINDOW_SAMPLES // WHISPER_HOP_SAMPLES))
        return ImageAxes(time_s=time_s, rows=tuple(edges_hz[1:-1].tolist()), row_label="Frequency (Hz)")


class Cepstrum(torch.nn.Module):
    """MFCC or LFCC, 224 coefficients, each standardised over time (cepstral mean and variance normalisation)."""

    # Samples are brought to an RMS of 1 first: torchaudio adds 1e-6 before its logarithm, which a quiet recording would feel.

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        if config.kind == "mfcc":
            self.transform = torchaudio.transforms.MFCC(SAMPLE_RATE_HZ, n_mfcc=IMAGE_SIZE, log_mels=True, melkwargs=_mel_options())
        else:
            options = {"n_fft": _FFT_SAMPLES["lfcc"], "hop_length": HOP_SAMPLES}
            self.transform = torchaudio.transforms.LFCC(
                SAMPLE_RATE_HZ, n_filter=IMAGE_SIZE, n_lfcc=IMAGE_SIZE, log_lf=True, speckwargs=options
            )

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[batch, 64000]` to `[batch, 1, 224, 224]`."""
        level = samples.square().mean(dim=-1, keepdim=True).sqrt()
        cepstrum = self.transform(samples / level.clamp_min(1e-6))
        mean, deviation = cepstrum.mean(dim=-1, keepdim=True), cepstrum.std(dim=-1, keepdim=True)
        return ((cepstrum - mean) / deviation.clamp_min(1e-5)).unsqueeze(1)

    def axes(self) -> ImageAxes:
        """Rows are coefficient numbers."""
        return ImageAxes(time_s=_frame_times_s(), rows=tuple(float(i) for i in range(IMAGE_SIZE)), row_label="Coefficient")


class WaveformImage(torch.nn.Module):
    """The waveform drawn into an image: each column is filled from the minimum to the maximum of its samples.

    The peak is scaled to full height. 64,000 samples are 223.8 columns of 286; the last column is padded.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        centres = (torch.arange(IMAGE_SIZE) + 0.5) / IMAGE_SIZE * 2 - 1
        self.register_buffer("centres", centres.view(1, -1, 1), persistent=False)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[batch, 64000]` to `[batch, 1, 224, 224]`, 1 inside the envelope and 0 outside."""
        samples = samples / samples.abs().amax(dim=-1, keepdim=True).clamp_min(1e-6)
        padded = torch.nn.functional.pad(samples, (0, IMAGE_SIZE * HOP_SAMPLES - samples.shape[-1]))
        columns = padded.unflatten(-1, (IMAGE_SIZE, HOP_SAMPLES))
        low, high = columns.amin(dim=-1).unsqueeze(1), columns.amax(dim=-1).unsqueeze(1)
        # Half a row to either side, so that a flat line is one row thick.
        half_row = 1.0 / IMAGE_SIZE
        return ((self.centres >= low - half_row) & (self.centres <= high + half_row)).to(samples.dtype).unsqueeze(1)

    def axes(self) -> ImageAxes:
        """Rows are amplitudes relative to the peak."""
        time_s = tuple((i + 0.5) * HOP_SAMPLES / SAMPLE_RATE_HZ for i in range(IMAGE_SIZE))
        return ImageAxes(time_s=time_s, rows=tuple(self.centres.flatten().tolist()), row_label="Amplitude (of the peak)")


_FRONT_ENDS: dict[FeatureKind, type[torch.nn.Module]] = {
    "log_spectrogram": LogSpectrogram,
    "multi_resolution": MultiResolution,
    "mel": MelSpectrogram,
    "lfcc": Cepstrum,
    "mfcc": Cepstrum,
    "waveform": WaveformImage,
    "whisper_mel": WhisperMel,
}


def build_front_end(config: FeatureConfig) -> torch.nn.Module:
    """The front end of a configuration: a module with `forward` as above and `axes()`."""
    return _FRONT_ENDS[config.kind](config).eval()


def decibels(power: torch.Tensor, dynamic_range_db: float) -> torch.Tensor:
    """`10 log10` of power `[batch, frequency, time]`, floored `dynamic_range_db` below each image's maximum."""
    level_db = 10 * torch.log10(power.clamp_min(1e-12))
    return torch.maximum(level_db, level_db.amax(dim=(-2, -1), keepdim=True) - dynamic_range_db)


def standardise(image: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit standard deviation over the last two dimensions."""
    deviation, mean = torch.std_mean(image, dim=(-2, -1), keepdim=True)
    return (image - mean) / deviation.clamp_min(1e-5)


def _frame_times_s() -> tuple[float, ...]:
    return tuple(i * HOP_SAMPLES / SAMPLE_RATE_HZ for i in range(IMAGE_SIZE))


def _mel_options() -> dict[str, int]:
    return {"n_fft": _FFT_SAMPLES["mel"], "hop_length": HOP_SAMPLES, "n_mels": IMAGE_SIZE}
