"""What is done to a recording under each kind of condition, on arrays. Which strengths are tried is in `conditions`.

All functions take samples `[time]` at 16 kHz and a source of randomness, which those without chance leave alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from scipy import signal

from core.quality import FRAME_SAMPLES, active_frames
from core.resample import SAMPLE_RATE_HZ
from core.stress.codecs import phone_band, round_trip

_ROOM_TONE_DB = -70.0
_PAD_S = 0.5
_NUM_TALKERS = 8
_SYLLABLES_HZ = 4.0
"""Speech rises and falls mostly three to five times a second (Houtgast and Steeneken 1985)."""
_NUM_PLACES = 8
"""Places of source and microphone that are simulated for each room."""


def sound_span(samples: np.ndarray) -> tuple[int, int]:
    """The first sample of the first active 20 ms frame and the one after the last; the whole where no frame is active."""
    active = torch.nonzero(active_frames(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)))).flatten()
    if not len(active):
        return 0, len(samples)
    last = int(active[-1]) + 1
    is_to_end = last == len(samples) // FRAME_SAMPLES and len(samples) - last * FRAME_SAMPLES < FRAME_SAMPLES
    return int(active[0]) * FRAME_SAMPLES, len(samples) if is_to_end else last * FRAME_SAMPLES


def change_edges(samples: np.ndarray, rng: np.random.Generator, *, how: str) -> np.ndarray:
    """What stands before the first and after the last sound: `trim`, `swap`, `zero`, or `pad` both ends with room tone."""
    first, last = sound_span(samples)
    if how == "trim":
        return samples[first:last]
    if how == "swap":
        return np.concatenate([samples[last:], samples[first:last], samples[:first]])
    if how == "zero":
        changed = np.zeros_like(samples)
        changed[first:last] = samples[first:last]
        return changed
    tone = 10 ** (_ROOM_TONE_DB / 20) * rng.standard_normal((2, int(_PAD_S * SAMPLE_RATE_HZ)))
    return np.concatenate([tone[0], samples, tone[1]])


def change_gain(samples: np.ndarray, rng: np.random.Generator, *, gain_db: float) -> np.ndarray:
    """Louder or quieter, cut off at full scale."""
    return np.clip(samples * 10 ** (gain_db / 20), -1.0, 1.0)


def clip_peaks(samples: np.ndarray, rng: np.random.Generator, *, share: float) -> np.ndarray:
    """Cut off at the level that this share of the samples goes beyond."""
    level = np.quantile(np.abs(samples), 1 - share)
    return np.clip(samples, -level, level)


def limit_band(samples: np.ndarray, rng: np.random.Generator, *, rate_hz: int, low_hz: float = 0, high_hz: float = 0) -> np.ndarray:
    """Down to a lower rate and up again; with `low_hz`, through the telephone band too."""
    ratio = Fraction(int(rate_hz), SAMPLE_RATE_HZ)
    low = signal.resample_poly(samples, ratio.numerator, ratio.denominator)
    low = phone_band(low, rate_hz) if low_hz else low
    return signal.resample_poly(low, ratio.denominator, ratio.numerator)[: len(samples)]


def add_noise(samples: np.ndarray, rng: np.random.Generator, *, kind: str, snr_db: float) -> np.ndarray:
    """White or babble-like noise at a level below that of the active frames (all of the recording where none is active)."""
    noise = rng.standard_normal(len(samples)) if kind == "white" else babble(len(samples), rng)
    noise_power = max(np.mean(np.square(noise)), 1e-12)
    return samples + noise * np.sqrt(active_power(samples) / noise_power) * 10 ** (-snr_db / 20)


def active_power(samples: np.ndarray) -> float:
    """Mean square of the active 20 ms frames of `[time]`; of all samples where none is active."""
    active = active_frames(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))).numpy()
    frames = samples[: len(active) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return float(np.mean(np.square(frames[active] if active.any() else samples, dtype=np.float64)))


def babble(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """`[time]`: eight streams of noise with the long-term spectrum of speech, each rising and falling by itself at syllable rate.

    Source: the long-term spectrum follows Byrne et al. (1994): flat to 500 Hz, then 9 dB less per octave. Streams in the
    manner of the ICRA noises (Dreschler et al. 2001).
    """
    shape = signal.butter(2, _SYLLABLES_HZ, "lowpass", fs=SAMPLE_RATE_HZ / 160, output="sos")
    num_slow = num_samples // 160 + 200
    streams = rng.standard_normal((_NUM_TALKERS, num_samples))
    slow = signal.sosfilt(shape, rng.standard_normal((_NUM_TALKERS, num_slow)), axis=-1)[:, 100:]
    envelope = np.square(np.clip(slow / slow.std(axis=-1, keepdims=True), 0, None))
    at = np.arange(num_samples) / 160
    loud = np.stack([np.interp(at, np.arange(envelope.shape[1]), one) for one in envelope])
    spectrum = np.fft.rfft((streams * loud).sum(axis=0))
    frequency_hz = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ)
    slope_db = -9.0 * np.log2(np.maximum(frequency_hz, 500) / 500)
    # Below 100 Hz speech has next to nothing.
    slope_db -= 12.0 * np.log2(100 / np.clip(frequency_hz, 10, 100))
    return np.fft.irfft(spectrum * 10 ** (slope_db / 20), num_samples)


def put_in_room(samples: np.ndarray, rng: np.random.Generator, *, floor_m2: float, t60_s: float, distance_m: float) -> np.ndarray:
    """Heard in a simulated room, at the level that it had, the direct sound in step."""
    from core.attacks.rooms import heard

    there = heard(samples, _response(floor_m2, t60_s, distance_m, int(rng.integers(_NUM_PLACES))))
    return there * np.sqrt(np.mean(np.square(samples)) / max(np.mean(np.square(there)), 1e-12))


def change_speed(samples: np.ndarray, rng: np.random.Generator, *, factor: float) -> np.ndarray:
    """Played faster (above 1) or slower; pitch moves along."""
    ratio = Fraction(factor).limit_denominator(100)
    return signal.resample_poly(samples, ratio.denominator, ratio.numerator)


def code(samples: np.ndarray, rng: np.random.Generator, *, codec: str, bit_rate: int = 0) -> np.ndarray:
    """Encoded and decoded."""
    return round_trip(samples, codec=codec, bit_rate=bit_rate)


CHANGES: Mapping[str, Callable[..., np.ndarray]] = {
    "edges": change_edges,
    "gain": change_gain,
    "clip": clip_peaks,
    "band": limit_band,
    "codec": code,
    "noise": add_noise,
    "room": put_in_room,
    "speed": change_speed,
}
"""`Condition.by` -> what it does."""


@lru_cache(maxsize=64)
def _response(floor_m2: float, t60_s: float, distance_m: float, place: int) -> np.ndarray:
    from core.attacks.rooms import furnished_room, impulse_responses

    rng = np.random.default_rng(place)
    room = furnished_room(floor_m2=floor_m2, t60_s=t60_s, distances_m=(distance_m,), rng=rng)
    return impulse_responses(room, rng=rng)[0]
