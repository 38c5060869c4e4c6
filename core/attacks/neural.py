"""The small neural vocoder: from a mel spectrogram and a fundamental to speech, by a network that we train ourselves.

`neural_vocoder` is a maker as in `core.attacks.resynthesis`. Training lives in `training.vocoder`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torchaudio
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from core.attacks.kind_records import SHIPPED_VOCODER, VOCODER_FILES, missing_vocoder
from core.attacks.levels import at_level_of
from core.attacks.neural_source import PITCH_HOP, bridged_hz, fine_fundamental_hz, pulses
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError

WEIGHTS_FILE, MANIFEST_FILE = VOCODER_FILES
SCHEMA_VERSION = 1
MEL_FFT, MEL_HOP = 1_024, 256
_FFT, _HOP = 512, 128
"""The made frames are half as long as the analysed: pulses bring the harmonics, so that the filter only needs envelopes."""
_FLOOR = 1e-3
_LEVEL = 0.05
"""Root mean square of what the network hears, -26 dB of full scale: the middle of the training recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderConfig:
    """The network's shape; saved beside its weights."""

    num_mels: int = 80
    """Mel bands over 0 to 8 kHz."""
    width: int = 160
    """Channels between the blocks."""
    num_blocks: int = 6
    """ConvNeXt blocks, one frame every 16 ms."""
    expansion: int = 3
    """A block's inner channels over `width`."""
    num_corrections: int = 4
    """How often the made speech's mel spectrogram is brought to the wanted one."""

    def __post_init__(self) -> None:
        if min(self.num_mels, self.width, self.num_blocks, self.expansion) < 1 or self.num_corrections < 0:
            raise CoreError(f"every number of a vocoder's shape must be at least 1 (corrections: 0), not {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """What the vocoder keeps of recordings."""

    log_mel: torch.Tensor
    """Natural log of mel magnitudes, `[batch, 1 + time // 256, mel]`."""
    f0_hz: torch.Tensor
    """Without gaps, `[batch, 1 + time // 80]`."""
    voiced: torch.Tensor
    """1 where the fundamental was measured, else 0, as `f0_hz`."""
    length: int
    """Samples of each recording."""


class NeuralVocoder(nn.Module):
    """A filter for pulses and a filter for noise, each frame's by a network that sees its neighbourhood.

    ConvNeXt blocks at frame rate feed an inverse STFT, as in Vocos, but phases are not made from nothing: the spectrum
    of pulses at the fundamental is multiplied by a magnitude and turned by a phase, that of noise by a magnitude.

    Source: Siuzdak (2023), "Vocos"; the source is that of Wang, Takaki and Yamagishi (2019), "Neural source-filter
    waveform models", in the form of Li et al. (2023), "HiFTNet".
    """

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embed = nn.Conv1d(config.num_mels + 2, width, 7, padding=3)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[_Block(width, config.expansion, config.num_blocks) for _ in range(config.num_blocks)])
        self.last_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * 3 * (_FFT // 2 + 1))
        nn.init.zeros_(self.head.weight)  # at first the mel spectrogram alone shapes pulses and noise, half and half
        nn.init.zeros_(self.head.bias)
        bank = mel_bank(config.num_mels)
        self.register_buffer("_widths", bank.sum(dim=0).log(), persistent=False)
        self.register_buffer("_bank", bank, persistent=False)
        self.register_buffer("_spread", _spread(bank, _FFT // 2 + 1), persistent=False)
        self.register_buffer("_fine_spread", _spread(bank, MEL_FFT // 2 + 1), persistent=False)
        self.register_buffer("_window", torch.hann_window(_FFT), persistent=False)
        self.register_buffer("_mel_window", torch.hann_window(MEL_FFT), persistent=False)

    def filters(self, voice: Voice) -> tuple[torch.Tensor, torch.Tensor]:
        """The complex gain of pulses and the gain of noise, each `[batch, bin, 1 + time // 128]`."""
        position = torch.arange(voice.log_mel.shape[1], device=voice.log_mel.device) * (MEL_HOP / PITCH_HOP)
        nearest = position.round().long().clamp_max(voice.f0_hz.shape[1] - 1)
        pitch = torch.stack([voice.f0_hz[:, nearest].log2() - 7.2, voice.voiced[:, nearest]], dim=-1)
        hidden = torch.cat([voice.log_mel / 2 + 0.5, pitch], dim=-1)
        hidden = self.norm(self.embed(hidden.transpose(1, 2)).transpose(1, 2))
        hidden = self.last_norm(self.blocks(hidden))
        # Two made frames for each analysed one.
        made = self.head(hidden).unflatten(-1, (2, 3, -1)).flatten(1, 2)
        made = made[:, : 1 + voice.length // _HOP]
        envelope = self._envelope(voice.log_mel, made.shape[1])
        pulse, turn, noise = made.unbind(dim=2)
        gain = (envelope + pulse).clamp_max(6.0).exp()
        return torch.polar(gain, turn).transpose(1, 2), (envelope + noise).clamp_max(6.0).exp().transpose(1, 2)

    def excite(self, voice: Voice, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Spectra of pulses and of noise, `[batch, bin, 1 + time // 128]`, power 1; all that is random."""
        phase = torch.rand(len(voice.f0_hz), 1, device=voice.f0_hz.device, generator=generator)
        pulse = pulses(voice.f0_hz, voice.length, phase=phase)
        noise = torch.randn(pulse.shape, device=pulse.device, generator=generator)
        return self._stft(pulse), self._stft(noise)

    def forward(self, voice: Voice, generator: torch.Generator, *, num_takes: int = 1) -> torch.Tensor:
        """Speech `[take, batch, time]`; takes differ in the noise and in the pulses' first phase only."""
        pulse_gain, noise_gain = self.filters(voice)
        takes = []
        for _ in range(num_takes):
            pulse, noise = self.excite(voice, generator)
            spectrum = pulse * pulse_gain + noise * noise_gain
            made = torch.istft(spectrum, _FFT, _HOP, window=self._window, length=voice.length)
            for _ in range(self.config.num_corrections):
                made = self._corrected(made, voice)
            takes.append(made)
        return torch.stack(takes)

    def _corrected(self, made: torch.Tensor, voice: Voice) -> torch.Tensor:
        """`made` filtered frame by frame so that its mel magnitudes come near the wanted ones, by 26 dB at most."""
        spectrum = torch.stft(made, MEL_FFT, MEL_HOP, window=self._mel_window, return_complex=True)
        # Not abs(), which has no gradient at 0.
        level = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt().transpose(1, 2) @ self._bank
        change = (voice.log_mel - level.clamp_min(_FLOOR).log()).clamp(-3.0, 3.0) @ self._fine_spread
        return torch.istft(spectrum * change.exp().transpose(1, 2), MEL_FFT, MEL_HOP, window=self._mel_window, length=voice.length)

    def _stft(self, samples: torch.Tensor) -> torch.Tensor:
        return torch.stft(samples, _FFT, _HOP, window=self._window, return_complex=True)

    def _envelope(self, log_mel: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Log gain `[batch, frame, bin]` that would give sources of power 1 the mel magnitudes, and half to each."""
        # Power 1 through a Hann window of 1,024 samples has a mean squared magnitude of 3/8 * 1,024 in each bin.
        level = (log_mel - self._widths - 0.5 * torch.log(torch.tensor(0.375 * MEL_FFT * 2))) @ self._spread
        between = 0.5 * (level + torch.cat([level[:, 1:], level[:, -1:]], dim=1))
        return torch.stack([level, between], dim=2).flatten(1, 2)[:, :num_frames]


class _Block(nn.Module):
    """A ConvNeXt block over `[batch, frame, channel]`. Source: Liu et al. (2022)."""

    def __init__(self, width: int, expansion: int, num_blocks: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1 / num_blocks))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        mixed = self.norm(self.mix(hidden.transpose(1, 2)).transpose(1, 2))
        return hidden + self.scale * self.narrow(nn.functional.gelu(self.widen(mixed)))


def mel_bank(num_mels: int) -> torch.Tensor:
    """Triangular filters `[bin, mel]` over the 513 bins, 0 to 8 kHz."""
    return torchaudio.functional.melscale_fbanks(MEL_FFT // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, num_mels, SAMPLE_RATE_HZ)


def log_mel_of(samples: torch.Tensor, num_mels: int) -> torch.Tensor:
    """Natural log of mel magnitudes, `[batch, 1 + time // 256, mel]`."""
    window = torch.hann_window(MEL_FFT, device=samples.device)
    spectrum = torch.stft(samples, MEL_FFT, MEL_HOP, window=window, return_complex=True).abs()
    return (spectrum.transpose(1, 2) @ mel_bank(num_mels).to(samples)).clamp_min(_FLOOR).log()


def voice_of(samples: torch.Tensor, config: VocoderConfig) -> Voice:
    """What the vocoder keeps of samples `[batch, time]`, at least 1,024 long."""
    f0, voiced = bridged_hz(fine_fundamental_hz(samples))
    return Voice(log_mel=log_mel_of(samples, config.num_mels), f0_hz=f0, voiced=voiced, length=samples.shape[-1])


def neural_vocoder(samples: torch.Tensor, generator: torch.Generator, *, folder: Path = SHIPPED_VOCODER) -> torch.Tensor:
    """Speech made anew from its mel spectrogram and its fundamental by the shipped network.

    Args:
        samples: `[batch, time]`, at least 1,024 samples.
        generator: for the noise and the pulses' first phase.
        folder: where the vocoder lies.

    Raises:
        CoreError: no vocoder there, or a damaged one; samples too short.

    Source: as `NeuralVocoder`.
    """
    return spoken_again(load_vocoder(folder).to(samples.device), samples, generator)


@torch.inference_mode()
def spoken_again(network: NeuralVocoder, samples: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """As `neural_vocoder`, by a given network."""
    if samples.shape[-1] < MEL_FFT:
        raise CoreError(f"the vocoder needs at least {MEL_FFT:,} samples (64 ms) and got {samples.shape[-1]:,}")
    level = samples.square().mean(dim=-1, keepdim=True).sqrt()
    made = network(voice_of(samples * (_LEVEL / level.clamp_min(1e-6)), network.config), generator)[0]
    return at_level_of(made, samples)


def load_vocoder(folder: Path = SHIPPED_VOCODER) -> NeuralVocoder:
    """The network in a folder, in evaluation mode, on the CPU; kept in memory as long as its files stay the same.

    Raises:
        CoreError: missing, damaged or of another version.
    """
    if reason := missing_vocoder(folder):
        raise CoreError(reason)
    return _loaded(folder, *((folder / name).stat().st_mtime_ns for name in VOCODER_FILES))


@lru_cache(maxsize=2)
def _loaded(folder: Path, *_changed: int) -> NeuralVocoder:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise CoreError(f"{folder} has schema version {manifest['schema_version']}; this program reads {SCHEMA_VERSION}.")
        network = NeuralVocoder(VocoderConfig(**manifest["config"]))
        network.load_state_dict({name: part.float() for name, part in load_file(folder / WEIGHTS_FILE).items()})
    except (ValueError, KeyError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        raise CoreError(f"{folder} does not hold a vocoder of this program ({error}); train it again or restore it.") from None
    return network.eval().requires_grad_(False)


def _spread(bank: torch.Tensor, num_bins: int) -> torch.Tensor:
    """`[mel, bin]`: straight lines between the bands' centres, at `num_bins` bins over 0 to 8 kHz."""
    places = torch.arange(len(bank), dtype=torch.float32).unsqueeze(1)
    centres = (bank * places).sum(dim=0) / bank.sum(dim=0) * (num_bins - 1) / (len(bank) - 1)
    bins = torch.arange(num_bins, dtype=torch.float32)
    right = torch.searchsorted(centres, bins).clamp(1, len(centres) - 1)
    share = ((bins - centres[right - 1]) / (centres[right] - centres[right - 1])).clamp(0.0, 1.0)
    spread = torch.zeros(len(centres), num_bins)
    spread[right - 1, torch.arange(num_bins)] = 1 - share
    spread[right, torch.arange(num_bins)] += share
    return spread
