"""What the samples are like: level, clipping, silence, bandwidth; and the rule for "enough speech-like signal".

The rule is simple on purpose: it keeps out silence, steady tones and steady noise, not music.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterator

import numpy as np
import scipy.fft
import torch

from core.audio import MIN_DURATION_S, SAMPLE_RATE_HZ
from core.errors import AudioRefusal
from core.records import NARROWBAND_HZ, AudioInfo, SignalQuality
from core.terms import WARNINGS

FRAME_SAMPLES = SAMPLE_RATE_HZ // 50
"""20 ms, about the shortest speech sound."""
ACTIVE_DB = -60.0
"""A frame below this RMS level is silence."""
ACTIVE_RANGE_DB = 35.0
"""A frame this far below the loudest frame is a pause; the dynamic range of speech is about 30 dB."""
MIN_ACTIVE_S = 0.3
"""Less active signal than this is not enough to judge."""
MIN_MODULATION_DB = 3.0
"""Spread (10th to 90th percentile) of the active frames' levels; steady tones and noise stay below 1 dB."""

_MIN_ACTIVE_FRAMES = math.ceil(MIN_ACTIVE_S * SAMPLE_RATE_HZ / FRAME_SAMPLES)

_LOSSY = {"OPUS", "VORBIS", "MP1", "MP2", "AAC", "AMR_NB", "AMRNB", "AMR_WB", "AMRWB", "WMAV1", "WMAV2", "WMAPRO"}
_LOSSY |= {"MP3", "MP3FLOAT", "GSM610", "LIBOPUS", "AMRNB_FIXED", "GSM", "GSM_MS", "AC3", "EAC3"}
_FULL_SCALE = 0.999
_SPECTRUM_BLOCK = 512
_MAX_SPECTRUM_BLOCKS = 96
_HANN = np.hanning(_SPECTRUM_BLOCK + 1)[:-1].astype(np.float32)


def rms_levels_db(samples: torch.Tensor) -> torch.Tensor:
    """RMS level of each whole 20 ms frame as it is, with its offset, dB re full scale.

    Args:
        samples: `[..., time]` at 16 kHz.

    Returns:
        `[..., frame]`, at least -120 dB.
    """
    num_frames = samples.shape[-1] // FRAME_SAMPLES
    frames = samples[..., : num_frames * FRAME_SAMPLES].unflatten(-1, (num_frames, FRAME_SAMPLES))
    power = torch.linalg.vector_norm(frames, dim=-1).square() / FRAME_SAMPLES
    return 10 * torch.log10(power.clamp_min(1e-12))


def frame_levels_db(samples: torch.Tensor) -> torch.Tensor:
    """As `rms_levels_db`, but about the mean of all frames: a recorder's offset is no sound.

    Trained detectors and stored results depend on `rms_levels_db`, without this.
    """
    samples = samples[..., : samples.shape[-1] // FRAME_SAMPLES * FRAME_SAMPLES]
    return rms_levels_db(samples - samples.mean(dim=-1, keepdim=True) if samples.shape[-1] else samples)


class QualityMeter:
    """Accumulates the quality of one channel block by block, in memory of 4 bytes per 20 ms.

    Computes with NumPy, whose calls on short arrays cost a fraction of torch's.

    `update` takes blocks `[time]`; `result` gives the record; `check` raises when the channel cannot be judged.
    """

    def __init__(self) -> None:
        self._levels = array("f")  # one piece that grows: small arrays among the freed blocks would keep these from the system
        self._spectrum = np.zeros(_SPECTRUM_BLOCK // 2 + 1)
        self._peak = 0.0
        self._num_clipped = 0
        self._num_samples = 0

    def update(self, samples: torch.Tensor) -> None:
        """Takes the next block `[time]`."""
        self._levels.frombytes(frame_levels_db(samples).numpy().tobytes())
        values = samples.numpy()
        self._num_samples += len(values)
        self._peak = max(self._peak, float(values.max(initial=0)), -float(values.min(initial=0)))
        if self._peak >= _FULL_SCALE:
            self._num_clipped += int((np.abs(values) >= _FULL_SCALE).sum())
        num_blocks = len(values) // _SPECTRUM_BLOCK
        if num_blocks:
            blocks = values[: num_blocks * _SPECTRUM_BLOCK].reshape(num_blocks, _SPECTRUM_BLOCK)
            spectra = scipy.fft.rfft(blocks[:: max(1, num_blocks // _MAX_SPECTRUM_BLOCKS)] * _HANN)
            self._spectrum += (spectra.real**2 + spectra.imag**2).sum(axis=0)

    @property
    def duration_s(self) -> float:
        """Length of what came in."""
        return self._num_samples / SAMPLE_RATE_HZ

    def result(self) -> SignalQuality:
        """The measurements on all blocks so far."""
        levels = np.array(self._levels, dtype=np.float32)
        active = levels[_is_speech_like(levels)]
        level_db = 10 * math.log10(float((10 ** (active / 10)).mean())) if len(active) else -120.0
        return SignalQuality(
            level_db=level_db,
            peak_db=20 * math.log10(max(self._peak, 1e-6)),
            clipped_share=self._num_clipped / max(1, self._num_samples),
            silence_share=1.0 - len(active) / max(1, len(levels)),
            bandwidth_hz=self._bandwidth_hz(),
        )

    def check(self) -> None:
        """Raises when this channel cannot be judged.

        Raises:
            AudioRefusal: `too_short`, `silent` or `no_speech`.
        """
        if self.duration_s < MIN_DURATION_S:
            raise AudioRefusal("too_short", f"{self.duration_s:.2f} s of audio; at least {MIN_DURATION_S} s is needed.")
        levels = np.array(self._levels, dtype=np.float32)
        if levels.max() < ACTIVE_DB:
            raise AudioRefusal("silent", f"Silent: nothing is louder than {ACTIVE_DB:.0f} dBFS.")
        active = levels[_is_speech_like(levels)]
        active_s = len(active) * FRAME_SAMPLES / SAMPLE_RATE_HZ
        if active_s < MIN_ACTIVE_S:
            raise AudioRefusal("no_speech", f"Only {active_s:.2f} s of sound; at least {MIN_ACTIVE_S} s is needed.")
        if (spread_db := _spread_db(active)) < MIN_MODULATION_DB:
            raise AudioRefusal(
                "no_speech",
                f"A steady sound, not speech: its level varies by {spread_db:.1f} dB, "
                f"speech by more than {MIN_MODULATION_DB:.0f} dB.",
            )

    def _bandwidth_hz(self) -> float:
        if self._spectrum.max() <= 0:
            return 0.0
        above = np.flatnonzero(self._spectrum > 1e-5 * self._spectrum.max())  # -50 dB
        return float(above[-1]) * SAMPLE_RATE_HZ / _SPECTRUM_BLOCK


def warnings_for(
    quality: SignalQuality, info: AudioInfo, *, duration_s: float, of_reading: Collection[str] = ()
) -> tuple[str, ...]:
    """Codes of `WARNINGS` that apply, in the order of that table, but `unfamiliar`, which the detector says.

    Args:
        quality: of the channel.
        info: what the file declares.
        duration_s: length of what was decoded.
        of_reading: codes of `AudioReader.warnings`.
    """
    bits_per_s = 8 * info.size_bytes / max(duration_s, 0.1) / max(1, info.num_channels)
    applies = {
        "narrowband": quality.bandwidth_hz < 4_300 or info.sample_rate_hz <= NARROWBAND_HZ,
        "clipped": quality.clipped_share > 0.001,
        "much_silence": quality.silence_share > 0.6,
        "compressed": info.codec.upper() in _LOSSY and bits_per_s < 24_000,
        "short": duration_s < 2.0,
        "quiet": quality.level_db < -45.0,
    }
    return tuple(code for code in WARNINGS if applies.get(code) or code in of_reading)


def _is_active(levels: np.ndarray) -> np.ndarray:
    """Which frames are sound, neither silent nor far below the loudest.

    A beep or a knock, too short to be judged, is left out where what lies below is enough and no steady noise.
    """
    layers = list(_layers(levels))
    is_enough = layers[0].sum() >= _MIN_ACTIVE_FRAMES
    return layers[0] if is_enough else next((layer for layer in layers[1:] if _is_modulated(levels[layer])), layers[0])


def _is_speech_like(levels: np.ndarray) -> np.ndarray:
    """As `_is_active`, but a longer steady sound is left out as well."""
    return next((layer for layer in _layers(levels) if _is_modulated(levels[layer])), _is_active(levels))


def _is_modulated(active: np.ndarray) -> bool:
    return len(active) >= _MIN_ACTIVE_FRAMES and _spread_db(active) >= MIN_MODULATION_DB


def _layers(levels: np.ndarray) -> Iterator[np.ndarray]:
    """Which frames lie within `ACTIVE_RANGE_DB` of the loudest; then of the loudest of those below, and so on down to silence."""
    below = math.inf
    while True:
        highest = levels.max(initial=ACTIVE_DB, where=levels < below)
        above = max(ACTIVE_DB, highest - ACTIVE_RANGE_DB)
        yield (levels > above) & (levels < below)
        if above == ACTIVE_DB:
            return
        below = above


def _spread_db(active: np.ndarray) -> float:
    """Distance of the 10th and the 90th percentile; np.quantile takes ten times as long on so few."""
    lowest_db, highest_db = np.interp((0.1, 0.9), np.linspace(0, 1, len(active)), np.sort(active))
    return float(highest_db - lowest_db)


def active_frames(samples: torch.Tensor) -> torch.Tensor:
    """Which whole 20 ms frames of `[time]` hold sound, bool `[frame]`: neither silent nor far below the loudest."""
    return torch.from_numpy(_is_active(frame_levels_db(samples).numpy()))


def has_sound(window: torch.Tensor) -> bool:
    """Whether a window `[time]` holds at least `MIN_ACTIVE_S` of active frames."""
    return int(active_frames(window).sum()) * FRAME_SAMPLES >= MIN_ACTIVE_S * SAMPLE_RATE_HZ
