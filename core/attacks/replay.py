"""Replay attacks as ASVspoof 2019's physical access simulates them: recorded, played by a loudspeaker, recorded again.

The attacker's microphone stands near the talker, the loudspeaker then takes the talker's place before the microphone of
the speaker verification. Bona fide speech is heard by that microphone in the same room: only the replay differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from core.attacks.kinds import LOUDSPEAKERS, RECORDERS
from core.attacks.rooms import Room, furnished_room, heard, impulse_responses
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError
from core.evaluation.physical_access import parse_attack, parse_environment

_OVERSAMPLING = 3
"""Squares and cubes of a band of 8 kHz reach 24 kHz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Where it happens and with what."""

    room_m2: float
    t60_ms: float
    talker_cm: float
    """From the talker, and later the loudspeaker, to the microphone of the speaker verification."""
    attacker_cm: float
    """From the talker to the attacker's microphone."""
    loudspeaker: str
    """One of `LOUDSPEAKERS`."""
    recorder: str
    """One of `RECORDERS`."""

    def __post_init__(self) -> None:
        if self.loudspeaker not in LOUDSPEAKERS or self.recorder not in RECORDERS:
            raise CoreError(
                f"The loudspeaker is {self.loudspeaker!r} and the recorder {self.recorder!r}; "
                f"expected {', '.join(LOUDSPEAKERS)} and {', '.join(RECORDERS)}."
            )

    @property
    def environment(self) -> str:
        """ASVspoof 2019's environment code, e.g. `abc`."""
        sizes, t60s, distances = (
            [getattr(parse_environment(letter * 3), field) for letter in "abc"]
            for field in ("room_size_m2", "t60_ms", "talker_distance_cm")
        )
        values = ((self.room_m2, sizes), (self.t60_ms, t60s), (self.talker_cm, distances))
        return "".join("abc"[_place_in(value, bounds)] for value, bounds in values)

    @property
    def attack(self) -> str:
        """ASVspoof 2019's attack code, e.g. `BC`."""
        distances = [parse_attack(letter * 2).attacker_distance_cm for letter in "ABC"]
        return "ABC"[_place_in(self.attacker_cm, distances)] + "ABC"[LOUDSPEAKERS.index(self.loudspeaker)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the microphone of the speaker verification hears, each `[time]` as long as the source."""

    spoof: np.ndarray
    bona_fide: np.ndarray
    room: Room


def replayed(samples: np.ndarray, settings: ReplaySettings, *, seed: int) -> Replay:
    """The replay of a recording, and the recording as bona fide speech in the same room.

    Args:
        samples: `[time]` at 16 kHz.
        settings: room, distances, devices.
        seed: decides proportions of the room, places, late reverberation and the copy of each device.

    Source: ASVspoof 2019 evaluation plan, physical access; Kinnunen et al. (2017) for replay devices.
    """
    rng = np.random.default_rng(seed)
    room = furnished_room(
        floor_m2=settings.room_m2,
        t60_s=settings.t60_ms / 1_000,
        distances_m=(settings.talker_cm / 100, settings.attacker_cm / 100),
        rng=rng,
    )
    to_verification, to_attacker = impulse_responses(room, rng=rng)
    stolen = recorded(heard(samples, to_attacker), settings.recorder, rng=rng)
    played = played_by(stolen, settings.loudspeaker, rng=rng)
    return Replay(spoof=heard(played, to_verification), bona_fide=heard(samples, to_verification), room=room)


def played_by(samples: np.ndarray, loudspeaker: str, *, rng: np.random.Generator) -> np.ndarray:
    """Samples `[time]` out of a loudspeaker of that quality.

    `perfect` changes nothing. `high` starts at 60 to 200 Hz, is even within 2 dB and linear to 100 dB. `low` is a
    telephone's: from 600 to 900 Hz up to 5 to 7 kHz, uneven by 5 dB, its non-linear part 20 to 35 dB down. These are the
    bounds of `core.evaluation.physical_access`.
    """
    if loudspeaker == "perfect":
        return samples
    if loudspeaker == "high":
        return _uneven(_high_passed(samples, rng.uniform(60, 200)), 2.0, rng)
    bent = distorted(samples, linearity_db=rng.uniform(20, 35))
    band = _low_passed(_high_passed(bent, rng.uniform(600, 900), order=4), rng.uniform(5_000, 7_000))
    return _uneven(band, 5.0, rng)


def recorded(samples: np.ndarray, recorder: str, *, rng: np.random.Generator) -> np.ndarray:
    """Samples `[time]` through the attacker's microphone: `flat` changes nothing, `phone` starts at 150 to 300 Hz, is uneven by
    4 dB and has noise 35 to 45 dB below the speech."""
    if recorder == "flat":
        return samples
    made = _uneven(_high_passed(samples, rng.uniform(150, 300)), 4.0, rng)
    level = np.sqrt(np.mean(np.square(made)))
    return made + level * 10 ** (-rng.uniform(35, 45) / 20) * rng.standard_normal(len(made))


def distorted(samples: np.ndarray, *, linearity_db: float) -> np.ndarray:
    """Samples `[time]` with a second- and third-order part added, what is linear in it taken off.

    Args:
        samples: at 16 kHz.
        linearity_db: power of the linear over the non-linear part.
    """
    fine = signal.resample_poly(samples, _OVERSAMPLING, 1)
    fine = fine / max(np.abs(fine).max(), 1e-9)
    bent = signal.resample_poly(0.5 * np.square(fine) + fine**3, 1, _OVERSAMPLING)[: len(samples)]
    bent = bent - bent.mean()
    power = np.square(samples).sum()
    bent = bent - samples * (bent @ samples) / max(power, 1e-12)
    return samples + bent * np.sqrt(power / max(np.square(bent).sum(), 1e-12)) * 10 ** (-linearity_db / 20)


def _place_in(value: float, bounds: list[tuple[float, float]]) -> int:
    """The first interval that holds the value."""
    for place, (low, high) in enumerate(bounds):
        if low <= value <= high:
            return place
    raise CoreError(f"{value:g} lies in none of ASVspoof 2019's intervals {bounds}.")


def _high_passed(samples: np.ndarray, edge_hz: float, *, order: int = 2) -> np.ndarray:
    return signal.sosfilt(signal.butter(order, edge_hz, "highpass", fs=SAMPLE_RATE_HZ, output="sos"), samples)


def _low_passed(samples: np.ndarray, edge_hz: float) -> np.ndarray:
    return signal.sosfilt(signal.butter(4, edge_hz, "lowpass", fs=SAMPLE_RATE_HZ, output="sos"), samples)


def _uneven(samples: np.ndarray, limit_db: float, rng: np.random.Generator) -> np.ndarray:
    """Through a minimum-phase filter whose gain wanders within the limit, a drawn value for each third of an octave."""
    frequencies = np.fft.rfftfreq(1_024, 1 / SAMPLE_RATE_HZ)
    thirds = 50 * 2 ** (np.arange(23) / 3)
    gain_db = np.interp(np.log2(frequencies.clip(50)), np.log2(thirds), rng.uniform(-limit_db, limit_db, len(thirds)))
    cepstrum = np.fft.irfft(gain_db * np.log(10) / 20)
    cepstrum[1:512] *= 2
    cepstrum[513:] = 0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:512]
    return signal.fftconvolve(samples, response)[: len(samples)]
