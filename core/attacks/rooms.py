"""Simulated rooms: where talker and microphones stand, and the impulse responses between them. Knows nothing of attacks.

Early reflections by image sources (pyroomacoustics), the late ones as decaying noise: images up to the end of a long
reverberation in a small room would be hundreds of millions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from core.audio import SAMPLE_RATE_HZ

SPEED_OF_SOUND_M_S = 343.0
_HEIGHT_M = 2.6
DIRECT_AT = 40
"""The sample of a response at which the direct sound arrives: before it stands half of pyroomacoustics' fractional delay."""
_MARGIN_M = 0.1
_EAR_HEIGHT_M = 1.4
_MIN_EARLY_S = 0.03
_FADE_S = 0.005
_MAX_EARLY_SHARE = 0.25
"""Of T60, by when images end: 15 dB down."""
_DECAY_DB = 80.0
"""How far a response is followed."""
_NUM_TRIES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A shoebox with one source and some microphones in it."""

    size_m: tuple[float, float, float]
    t60_s: float
    source_m: tuple[float, float, float]
    microphones_m: tuple[tuple[float, float, float], ...]

    @property
    def volume_m3(self) -> float:
        """Its volume."""
        return math.prod(self.size_m)

    @property
    def absorption(self) -> float:
        """Share of energy that every wall takes, by Eyring's formula: T60 = 0.161 V / (-S ln(1 - a))."""
        width, length, height = self.size_m
        surface_m2 = 2 * (width * length + width * height + length * height)
        return min(0.99, 1 - math.exp(-24 * math.log(10) / SPEED_OF_SOUND_M_S * self.volume_m3 / (surface_m2 * self.t60_s)))


def furnished_room(*, floor_m2: float, t60_s: float, distances_m: tuple[float, ...], rng: np.random.Generator) -> Room:
    """A room of that floor with a source and microphones at the given distances from it, elsewhere by chance.

    Args:
        floor_m2: at least 2.
        t60_s: reverberation time.
        distances_m: of each microphone from the source, at most 1.5 (the diagonal of the smallest room).
        rng: decides proportions (1 to 1.4) and places.
    """
    aspect = rng.uniform(1.0, 1.4)
    size = np.array([math.sqrt(floor_m2 / aspect), math.sqrt(floor_m2 * aspect), _HEIGHT_M])
    low, high = np.full(3, _MARGIN_M), size - _MARGIN_M
    for _ in range(_NUM_TRIES):
        source = np.array([*rng.uniform(low[:2], high[:2]), _EAR_HEIGHT_M + rng.uniform(-0.2, 0.2)])
        turns, rises = rng.uniform(0, 2 * math.pi, len(distances_m)), rng.uniform(-0.3, 0.3, len(distances_m))
        ways = np.stack([np.cos(turns) * np.cos(rises), np.sin(turns) * np.cos(rises), np.sin(rises)], axis=-1)
        microphones = source + ways * np.array(distances_m)[:, None]
        if (microphones > low).all() and (microphones < high).all():
            break
    else:  # across the room, from one corner towards the other
        source = np.array([_MARGIN_M, _MARGIN_M, _EAR_HEIGHT_M])
        way = np.array([size[0] - 2 * _MARGIN_M, size[1] - 2 * _MARGIN_M, 0.0])
        microphones = source + way / np.linalg.norm(way) * np.array(distances_m)[:, None]
    return Room(
        size_m=tuple(size.tolist()),
        t60_s=t60_s,
        source_m=tuple(source.tolist()),
        microphones_m=tuple(map(tuple, microphones.tolist())),
    )


def impulse_responses(room: Room, *, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One response `[time]` at 16 kHz for each microphone; the direct sound arrives at `DIRECT_AT`, at level 1.

    Source: Allen and Berkley (1979) for image sources; Polack (1988) for noise as late reverberation.
    """
    import pyroomacoustics

    early_s = min(max(_MIN_EARLY_S, 2.5e-3 * math.sqrt(room.volume_m3)), _MAX_EARLY_SHARE * room.t60_s)
    reach_m = SPEED_OF_SOUND_M_S * early_s + max(math.dist(room.source_m, place) for place in room.microphones_m)
    box = pyroomacoustics.ShoeBox(
        list(room.size_m),
        fs=SAMPLE_RATE_HZ,
        materials=pyroomacoustics.Material(room.absorption),
        max_order=math.ceil(reach_m / min(room.size_m)) + 1,
        air_absorption=False,
    )
    box.add_source(list(room.source_m))
    box.add_microphone_array(np.array(room.microphones_m).T)
    box.compute_rir()
    responses = []
    for place, (response,) in zip(room.microphones_m, box.rir, strict=True):
        distance_m = math.dist(room.source_m, place)
        # pyroomacoustics' samples lag by half of its filter, `DIRECT_AT`: cutting the way off leaves just that.
        first = round(distance_m / SPEED_OF_SOUND_M_S * SAMPLE_RATE_HZ)
        responses.append(_with_tail(response[first:] * distance_m, room.t60_s, early_s, rng))
    return tuple(responses)


def heard(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Samples `[time]` through a response of `impulse_responses`, aligned on the direct sound, as long as before."""
    return fftconvolve(samples, response)[DIRECT_AT : DIRECT_AT + len(samples)]


def reverberation_time_s(response: np.ndarray, *, from_db: float = -5.0, to_db: float = -25.0) -> float:
    """T60 of a response `[time]` at 16 kHz: the line through its backward integral between two levels, to -60 dB.

    Source: Schroeder (1965); ISO 3382-2 for the levels.
    """
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    level_db = 10 * np.log10(energy / energy[0] + 1e-30)
    part = np.flatnonzero((level_db <= from_db) & (level_db >= to_db))
    slope_db = np.polyfit(part / SAMPLE_RATE_HZ, level_db[part], 1)[0]
    return float(-60.0 / slope_db)


def _with_tail(early: np.ndarray, t60_s: float, early_s: float, rng: np.random.Generator) -> np.ndarray:
    """The images' response up to `early_s`, then noise that goes on from the level there and decays."""
    join, fade = DIRECT_AT + int(early_s * SAMPLE_RATE_HZ), int(_FADE_S * SAMPLE_RATE_HZ)
    length = max(join + fade, int(_DECAY_DB / 60 * t60_s * SAMPLE_RATE_HZ))
    made = np.zeros(length)
    made[: min(length, len(early))] = early[:length]
    decay = 10 ** (-3 * np.arange(length) / SAMPLE_RATE_HZ / t60_s)
    noise = rng.standard_normal(length) * decay
    # The level is taken over the second half of the early part, where reflections are dense.
    half = slice(join // 2, join)
    noise *= math.sqrt(np.square(made[half]).sum() / np.square(decay[half]).sum())
    share = np.clip((np.arange(length) - join + fade) / fade, 0, 1)
    return made * np.sqrt(1 - share) + noise * np.sqrt(share)
