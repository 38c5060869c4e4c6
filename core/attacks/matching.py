"""Makes a spoof like its source in all that is not the attack: level, bandwidth, edge silence, background noise.

A detector that tells a spoof by one of these has learnt a shortcut. Samples are `[time]` at 16 kHz, float64 or float32.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy import signal

from core.audio import SAMPLE_RATE_HZ
from core.quality import ACTIVE_DB, ACTIVE_RANGE_DB, FRAME_SAMPLES, rms_levels_db

FULL_SCALE = 0.999
_NUM_TAPS = 1_025
_BLOCK = 1_024
_BAND_DB = 50.0
"""The band ends where the long-term spectrum stays this far below its maximum, as in `core.quality`."""
_MAX_CUT_DB = 90.0
_MAX_CHANNEL_DB = 15.0
_LOWEST_BIN = 4
"""62 Hz: no voice reaches below, and a source that has been high-passed has nothing there."""
_OCTAVE_BINS = _LOWEST_BIN * 2 ** np.arange(8)
"""From 62 Hz to 8 kHz."""
_LEVEL_RANGE_DB = 20.0
_FADE = SAMPLE_RATE_HZ // 100
_QUIET_SHARE = 0.1
"""Share of the quietest frames whose spectrum is the background's."""


def frame_levels(samples: np.ndarray) -> np.ndarray:
    """Level of each whole 20 ms frame in dB re full scale."""
    return rms_levels_db(_as_tensor(samples)).numpy()


def active_span(samples: np.ndarray) -> tuple[int, int]:
    """First sample of the first frame that holds sound, end of the last; all of them where no frame does."""
    # Not `core.quality.active_frames`, which leaves out offsets and beeps: what was made must come out the same again.
    levels_db = frame_levels(samples)
    active = np.flatnonzero(levels_db > max(ACTIVE_DB, levels_db.max(initial=ACTIVE_DB) - ACTIVE_RANGE_DB))
    return (int(active[0]) * FRAME_SAMPLES, (int(active[-1]) + 1) * FRAME_SAMPLES) if len(active) else (0, len(samples))


def active_level(samples: np.ndarray) -> float:
    """Root mean square over the frames within 20 dB of the loudest, where background noise does not count."""
    levels_db = frame_levels(samples)
    if not len(levels_db):
        return float(np.sqrt(np.square(samples).mean()))
    return float(np.sqrt(np.mean(10 ** (levels_db[levels_db >= levels_db.max() - _LEVEL_RANGE_DB] / 10))))


def with_level_of(made: np.ndarray, source: np.ndarray) -> np.ndarray:
    """`made` at the level that the source has where it holds sound."""
    return made * (active_level(source) / max(active_level(made), 1e-9))


def band_edge_hz(samples: np.ndarray) -> float:
    """Up to where the long-term spectrum of the parts with sound is within 50 dB of its maximum."""
    level_db = _long_term_db(samples)
    return float(np.flatnonzero(level_db > level_db.max() - _BAND_DB).max()) * SAMPLE_RATE_HZ / _BLOCK


def with_band_of(made: np.ndarray, source: np.ndarray) -> np.ndarray:
    """`made` with nothing outside the source's band that the source has not: there its long-term level is the source's at most.

    Nothing is added: what a maker takes away at the top is a trace of it. The mean, a recording's constant offset, becomes the
    source's.
    """
    wanted_db, have_db = _long_term_db(source), _long_term_db(made)
    within = np.flatnonzero(wanted_db > wanted_db.max() - _BAND_DB)
    outside = np.ones(len(wanted_db), dtype=bool)
    outside[max(within.min(), _LOWEST_BIN) : within.max() + 1] = False
    # At equal level within the band, since the levels are matched afterwards.
    offset_db = _mean_db(have_db[~outside]) - _mean_db(wanted_db[~outside])
    change_db = np.where(outside, np.clip(wanted_db + offset_db - have_db, -_MAX_CUT_DB, 0.0), 0.0)
    filtered = _equalised(made, change_db)
    return filtered - filtered.mean() + source.mean()


def with_channel_of(made: np.ndarray, source: np.ndarray) -> np.ndarray:
    """`made`, another voice from another source, with the long-term spectrum of the source in octaves, within 15 dB."""
    change_db = _octave_levels_db(source) - _octave_levels_db(made)
    change_db = np.clip(change_db - change_db.mean(), -_MAX_CHANNEL_DB, _MAX_CHANNEL_DB)
    centres = np.sqrt(_OCTAVE_BINS[:-1] * _OCTAVE_BINS[1:])
    bins = np.arange(_BLOCK // 2 + 1).clip(1)
    return _equalised(made, np.interp(np.log2(bins), np.log2(centres), change_db))


def with_edges_of(made: np.ndarray, source: np.ndarray) -> np.ndarray:
    """`made`, as long as the source, with the source's own samples before its first sound and after its last."""
    first, end = active_span(source)
    weight = np.zeros(len(source))
    weight[first:end] = 1.0
    # The fades lie in the silence.
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_FADE) + 0.5) / _FADE)
    lead, tail = min(_FADE, first), min(_FADE, len(source) - end)
    weight[first - lead : first] = rise[_FADE - lead :]
    weight[end : end + tail] = rise[::-1][:tail]
    return made * weight + source * (1 - weight)


def with_mean_of(made: np.ndarray, source: np.ndarray, first: int, end: int) -> np.ndarray:
    """`made` with the source's mean, its constant offset; only samples `first` to `end` are moved, rising and falling gently."""
    weight = np.zeros(len(made))
    weight[first:end] = signal.windows.tukey(end - first, 0.2)
    return made + weight * (source.mean() - made.mean()) * len(made) / max(weight.sum(), 1.0)


def between_edges_of(speech: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Speech of any length in the place of the source's: lead, speech without its own edges, tail; cross-faded by 10 ms."""
    first, end = active_span(source)
    own_first, own_end = active_span(speech)
    return spliced(source, speech[own_first:own_end], first, end)


def spliced(source: np.ndarray, part: np.ndarray, first: int, end: int) -> np.ndarray:
    """The source with `part` in the place of its samples `first` to `end`, cross-faded by up to 10 ms at both joins.

    The fades are cut out of the part's own ends, so that the result is longer by exactly what the part is.
    """
    made = np.concatenate([source[:first], part, source[end:]])
    fade = min(_FADE, len(part) // 2, end - first)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(fade, 1))
    if first > 0:
        made[first : first + fade] = part[:fade] * rise + source[first : first + fade] * (1 - rise)
    if end < len(source):
        last = first + len(part)
        made[last - fade : last] = part[len(part) - fade :] * rise[::-1] + source[end - fade : end] * (1 - rise[::-1])
    return made


def background_of(source: np.ndarray, length: int, *, rng: np.random.Generator) -> np.ndarray:
    """Noise `[length]` with spectrum and level of the source's quietest tenth (digital silence gives silence)."""
    num_blocks = len(source) // _BLOCK
    if not num_blocks:
        return np.zeros(length)
    blocks = source[: num_blocks * _BLOCK].reshape(num_blocks, _BLOCK)
    quiet = blocks[np.argsort(np.square(blocks).mean(axis=1))[: max(1, round(_QUIET_SHARE * num_blocks))]]
    window = np.hanning(_BLOCK)
    power = np.square(np.abs(np.fft.rfft(quiet * window))).mean(axis=0) / np.square(window).sum()
    taps = signal.firwin2(_NUM_TAPS, np.fft.rfftfreq(_BLOCK, 1 / SAMPLE_RATE_HZ), np.sqrt(power), fs=SAMPLE_RATE_HZ)
    return signal.fftconvolve(rng.standard_normal(length + _NUM_TAPS - 1), taps, mode="valid")


def _as_tensor(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))


def _long_term_db(samples: np.ndarray) -> np.ndarray:
    """Mean power in dB of the blocks of 64 ms within 35 dB of the loudest, `[513]`, smoothed over 80 Hz."""
    padded = np.pad(samples, (0, -len(samples) % _BLOCK))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, _BLOCK)[:: _BLOCK // 2]
    power = np.square(np.abs(np.fft.rfft(blocks * np.hanning(_BLOCK))))
    total = power.sum(axis=1)
    mean = power[total >= total.max() * 10**-3.5].mean(axis=0)
    return 10 * np.log10(np.convolve(np.pad(mean, 2, mode="edge"), np.full(5, 0.2), mode="valid") + 1e-12)


def _equalised(samples: np.ndarray, change_db: np.ndarray) -> np.ndarray:
    """Samples through a filter of that gain `[513]` and no delay."""
    if not change_db.any():
        return samples
    taps = signal.firwin2(_NUM_TAPS, np.fft.rfftfreq(_BLOCK, 1 / SAMPLE_RATE_HZ), 10 ** (change_db / 20), fs=SAMPLE_RATE_HZ)
    return signal.fftconvolve(samples, taps)[_NUM_TAPS // 2 : _NUM_TAPS // 2 + len(samples)]


def _octave_levels_db(samples: np.ndarray) -> np.ndarray:
    level_db = _long_term_db(samples)
    return np.array([_mean_db(level_db[low : high + 1]) for low, high in pairwise(_OCTAVE_BINS)])


def _mean_db(levels_db: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels_db / 10))))
