"""Partial spoofs: where in a recording parts are made anew, and how they are spliced in. Makes no speech itself.

Source: Zhang et al. (2021), "An initial investigation for detecting partially spoofed audio" (PartialSpoof), whose parts are
found by voice activity and joined by overlap-add at points of best fit; here parts begin and end where it is quietest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.attacks.matching import active_level, active_span, frame_levels, spliced, with_band_of, with_channel_of
from core.audio import SAMPLE_RATE_HZ
from core.errors import AudioRefusal
from core.quality import ACTIVE_RANGE_DB, FRAME_SAMPLES

MIN_PART_S = 0.2
_SEARCH_S = 0.12
"""How far an edge moves to a quieter place."""
_MAX_SHARE = 0.6
"""Of the speech that parts take together."""
_MIN_SPEECH_SHARE = 0.5
"""Frames of a part that hold sound: a made pause is no spoof."""
_NUM_TRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSpoof:
    """A recording with made parts."""

    samples: np.ndarray
    """`[time]` at 16 kHz."""
    spans: tuple[tuple[float, float], ...]
    """Where the made parts are in it, in s."""


def chosen_parts(samples: np.ndarray, *, num_parts: int, part_s: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """First and end sample of each part, in order, at quiet places within the speech.

    Args:
        samples: `[time]`.
        num_parts: wanted; fewer come back where the speech is too short for them.
        part_s: about how long; shorter where all parts together would take more than 60 % of the speech.
        rng: decides the places.

    Raises:
        AudioRefusal: the speech is too short for one part.
    """
    first, end = active_span(samples)
    speech_s = (end - first) / SAMPLE_RATE_HZ
    num = min(num_parts, int(_MAX_SHARE * speech_s / MIN_PART_S))
    if num < 1:
        needed_s = MIN_PART_S / _MAX_SHARE
        raise AudioRefusal("too_short", f"{speech_s:.2f} s of speech; a partial spoof needs at least {needed_s:.2f} s.")
    length = int(min(part_s, _MAX_SHARE * speech_s / num) * SAMPLE_RATE_HZ)
    levels = frame_levels(samples)
    section = (end - first) // num
    return [_part(levels, first + i * section, first + (i + 1) * section, length, rng) for i in range(num)]


def with_parts_of(samples: np.ndarray, made: np.ndarray, parts: list[tuple[int, int]]) -> PartialSpoof:
    """The recording with those parts taken from a made copy of the same length, each at the level that stood there."""
    mixed = samples.copy()
    for first, end in parts:
        mixed = spliced(mixed, _levelled(made[first:end], samples[first:end]), first, end)
    return PartialSpoof(samples=mixed, spans=tuple((first / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ) for first, end in parts))


def with_parts_spoken(samples: np.ndarray, spoken: list[np.ndarray], parts: list[tuple[int, int]]) -> PartialSpoof:
    """The recording with each part replaced by other speech of any length, at the level that stood there."""
    mixed, spans, moved = samples.copy(), [], 0
    for (first, end), speech in zip(parts, spoken, strict=True):
        own_first, own_end = active_span(speech)
        part = _levelled(with_band_of(with_channel_of(speech[own_first:own_end], samples), samples), samples[first:end])
        mixed = spliced(mixed, part, first + moved, end + moved)
        spans.append(((first + moved) / SAMPLE_RATE_HZ, (first + moved + len(part)) / SAMPLE_RATE_HZ))
        moved += len(part) - (end - first)
    return PartialSpoof(samples=mixed, spans=tuple(spans))


def _part(levels: np.ndarray, first: int, end: int, length: int, rng: np.random.Generator) -> tuple[int, int]:
    """A part of about that length within samples `first` to `end`: the best of some drawn ones, its edges moved to quiet frames."""
    room = max(0, end - first - length)
    active = levels > levels.max() - ACTIVE_RANGE_DB
    candidates = []
    for start in first + (rng.uniform(size=_NUM_TRIES) * (room + 1)).astype(int):
        left, right = _quietest(levels, int(start), first, end), _quietest(levels, int(start) + length, first, end)
        if right - left < MIN_PART_S / 2 * SAMPLE_RATE_HZ:
            continue
        frames = slice(left // FRAME_SAMPLES, right // FRAME_SAMPLES)
        if active[frames].mean() >= _MIN_SPEECH_SHARE:
            return left, right
        candidates.append((active[frames].mean(), left, right))
    return max(candidates)[1:] if candidates else (first, min(end, first + length))


def _quietest(levels: np.ndarray, at: int, first: int, end: int) -> int:
    """The middle of the quietest frame near sample `at`, within `first` to `end`."""
    reach = int(_SEARCH_S * SAMPLE_RATE_HZ)
    low = max(first, at - reach) // FRAME_SAMPLES
    high = max(low + 1, min(end, at + reach) // FRAME_SAMPLES)
    frame = low + int(levels[low:high].argmin()) if low < len(levels) else len(levels) - 1
    return min(max(frame * FRAME_SAMPLES + FRAME_SAMPLES // 2, first), end)


def _levelled(part: np.ndarray, replaced: np.ndarray) -> np.ndarray:
    """The part at the level, and with the constant offset, of what stood in its place."""
    part = part - part.mean()
    return part * (active_level(replaced) / max(active_level(part), 1e-9)) + replaced.mean()
