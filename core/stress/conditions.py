"""The conditions of a stress test: name, title, family, order within a line. Applying one is delegated; no torch at import."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.errors import CoreError

Family = Literal["silence", "gain", "band", "phone", "codec", "noise", "room", "speed"]
FAMILY_TITLES: dict[Family, str] = {
    "silence": "Edge silence",
    "gain": "Gain and clipping",
    "band": "Bandwidth",
    "phone": "Telephone",
    "codec": "Lossy coding",
    "noise": "Added noise",
    "room": "Room",
    "speed": "Speed",
}
"""In the order in which they are shown."""
Setting = tuple[tuple[str, float | str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that happens to recordings."""

    name: str
    """Key in files, e.g. `noise_white_10db`."""
    title: str
    """For people, e.g. `White noise, 10 dB SNR`."""
    family: Family
    line: str
    """Conditions of one line differ in strength alone, e.g. `White noise`: along it the smallest change that flips is found."""
    severity: float
    """Rises within a line; the physical quantity where there is one. 0 for the clean recording."""
    summary: str
    """One sentence: what is done."""
    by: str = ""
    """Who does it, a key of `core.stress.changes.CHANGES`."""
    setting: Setting = ()
    """Its arguments."""


CLEAN = Condition(name="clean", title="As it is", family="silence", line="", severity=0.0, summary="The recording, not changed.")


def _bands() -> tuple[Condition, ...]:
    def one(name: str, title: str, severity: float, summary: str, **setting: float) -> Condition:
        return _condition("band", "Bandwidth", name, title, severity, summary, "band", **setting)

    return (
        one("band_6k", "Resampled to 12 kHz", 1, "Through 12,000 samples a second: nothing above 6 kHz.", rate_hz=12_000),
        one("band_4k", "Resampled to 8 kHz", 2, "Through 8,000 samples a second: nothing above 4 kHz.", rate_hz=8_000),
        one(
            "band_phone",
            "Telephone band",
            3,
            "Through 8,000 samples a second and a filter from 300 to 3,400 Hz.",
            rate_hz=8_000,
            low_hz=300,
            high_hz=3_400,
        ),
    )


def _condition(
    family: Family, line: str, name: str, title: str, severity: float, summary: str, by: str, **setting: float | str
) -> Condition:
    return Condition(
        name=name,
        title=title,
        family=family,
        line=line,
        severity=float(severity),
        summary=summary,
        by=by,
        setting=tuple(setting.items()),
    )


def _edges() -> tuple[Condition, ...]:
    def one(name: str, title: str, summary: str, how: str) -> Condition:
        return _condition("silence", title, name, title, 1, summary, "edges", how=how)

    return (
        one("trim_silence", "Edge silence trimmed", "Everything before the first and after the last sound is cut off.", "trim"),
        one("swap_silence", "Edge silence swapped", "What stands before the first and after the last sound change places.", "swap"),
        one("zero_silence", "Edges digitally silent", "Before the first and after the last sound the samples are 0.", "zero"),
        one("pad_silence", "Half a second of room tone", "0.5 s of faint noise (-70 dBFS) at both ends.", "pad"),
    )


def _gains() -> tuple[Condition, ...]:
    loud = "so that this share of the samples goes beyond full scale and is cut off"
    return (
        _condition("gain", "Quieter", "gain_down_10db", "10 dB quieter", 10, "Every sample times 0.32.", "gain", gain_db=-10),
        _condition("gain", "Quieter", "gain_down_20db", "20 dB quieter", 20, "Every sample times 0.1.", "gain", gain_db=-20),
        _condition(
            "gain", "Louder", "gain_up_6db", "6 dB louder", 6, "Every sample times 2, cut off at full scale.", "gain", gain_db=6
        ),
        _condition(
            "gain", "Louder", "gain_up_12db", "12 dB louder", 12, "Every sample times 4, cut off at full scale.", "gain", gain_db=12
        ),
        _condition("gain", "Clipping", "clip_1pct", "1 % clipped", 1, f"Made louder, {loud}; then back.", "clip", share=0.01),
        _condition("gain", "Clipping", "clip_10pct", "10 % clipped", 10, f"Made louder, {loud}; then back.", "clip", share=0.1),
    )


def _phones() -> tuple[Condition, ...]:
    def one(line: str, name: str, title: str, severity: float, summary: str, codec: str, **setting: float) -> Condition:
        return _condition("phone", line, name, title, severity, summary, "codec", codec=codec, **setting)

    line = "through a line of 300 to 3,400 Hz at 8 kHz"
    return (
        one("G.711", "phone_g711_alaw", "Land line, G.711 A-law", 1, f"64 kbit/s, {line} (Europe).", "pcm_alaw"),
        one("G.711", "phone_g711_ulaw", "Land line, G.711 mu-law", 1, f"64 kbit/s, {line} (North America, Japan).", "pcm_mulaw"),
        one(
            "Mobile",
            "phone_amr_12k",
            "Mobile, AMR 12.2 kbit/s",
            1,
            f"AMR narrow-band at 12.2 kbit/s, {line}.",
            "amr_nb",
            bit_rate=12_200,
        ),
        one("Mobile", "phone_gsm", "Mobile, GSM full rate", 2, f"GSM 06.10 at 13 kbit/s, {line}.", "gsm"),
        one(
            "Mobile",
            "phone_amr_5k",
            "Mobile, AMR 4.75 kbit/s",
            3,
            f"AMR narrow-band at 4.75 kbit/s, {line}.",
            "amr_nb",
            bit_rate=4_750,
        ),
    )


def _codecs() -> tuple[Condition, ...]:
    def one(line: str, name: str, codec: str, kbit: int) -> Condition:
        return _condition(
            "codec",
            line,
            name,
            f"{line} {kbit} kbit/s",
            1_000 / kbit,
            f"Encoded as {line} at {kbit} kbit/s (mono, 16 kHz) and decoded.",
            "codec",
            codec=codec,
            bit_rate=1_000 * kbit,
        )

    rates = {"MP3": (64, 32, 16), "AAC": (64, 32, 16), "Opus": (32, 16, 8)}
    return tuple(one(line, f"{line.lower()}_{kbit}k", line.lower(), kbit) for line, kbits in rates.items() for kbit in kbits)


def _noises() -> tuple[Condition, ...]:
    def one(kind: str, line: str, summary: str, snr_db: int) -> Condition:
        title, name = f"{line}, {snr_db} dB SNR", f"noise_{kind}_{snr_db}db"
        summary = f"{summary}, {snr_db} dB below the level of the speech (its active parts)."
        return _condition("noise", line, name, title, -snr_db, summary, "noise", kind=kind, snr_db=snr_db)

    babble = "Babble-like noise: eight streams of noise shaped like speech, in syllables"
    return (
        *(one("white", "White noise", "White noise", snr_db) for snr_db in (30, 20, 10, 5)),
        *(one("babble", "Babble", babble, snr_db) for snr_db in (20, 10, 5, 0)),
    )


def _rooms() -> tuple[Condition, ...]:
    def one(name: str, title: str, floor_m2: float, t60_s: float, distance_m: float) -> Condition:
        summary = f"Heard {distance_m:g} m away in a simulated room of {floor_m2:g} m2 with a reverberation time of {t60_s:g} s."
        return _condition(
            "room", "Room", name, title, t60_s, summary, "room", floor_m2=floor_m2, t60_s=t60_s, distance_m=distance_m
        )

    return (
        one("room_small", "Small room, T60 0.2 s", 8, 0.2, 0.5),
        one("room_medium", "Living room, T60 0.5 s", 20, 0.5, 1.0),
        one("room_large", "Hall, T60 1 s", 80, 1.0, 1.5),
    )


def _speeds() -> tuple[Condition, ...]:
    def one(factor: float) -> Condition:
        line, percent = "Faster" if factor > 1 else "Slower", abs(round(100 * (factor - 1)))
        summary = f"Played {percent} % {line.lower()}; pitch and formants move along."
        name = f"speed_{factor:g}"
        return _condition("speed", line, name, f"{percent} % {line.lower()}", percent, summary, "speed", factor=factor)

    return tuple(one(factor) for factor in (0.95, 0.9, 1.05, 1.1))


CONDITIONS: Mapping[str, Condition] = {
    condition.name: condition
    for conditions in (_edges(), _gains(), _bands(), _phones(), _codecs(), _noises(), _rooms(), _speeds())
    for condition in conditions
}
"""The default set, by name, in the order in which they are shown."""


def conditions_named(names: list[str] | tuple[str, ...]) -> tuple[Condition, ...]:
    """The conditions of these names or families, in the order of `CONDITIONS`.

    Raises:
        CoreError: a name that is neither.
    """
    unknown = next((name for name in names if name not in CONDITIONS and name not in FAMILY_TITLES), None)
    if unknown is not None:
        raise CoreError(f"There is no condition {unknown!r}; expected one of {', '.join((*FAMILY_TITLES, *CONDITIONS))}.")
    return tuple(condition for condition in CONDITIONS.values() if condition.name in names or condition.family in names)


def apply_condition(samples: np.ndarray, condition: Condition, *, seed: int = 0) -> np.ndarray:
    """A recording under a condition.

    Args:
        samples: `[time]` float32 at 16 kHz.
        condition: `CLEAN`, or one of `CONDITIONS`.
        seed: of the noise or the room; the same seed gives the same samples.

    Returns:
        `[time]` float32, as long as what came and in step with it, but for trimmed or padded edges and speed.

    Raises:
        CoreError: samples that are not one channel of finite numbers, or no samples at all.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise CoreError(f"expected samples [time] that are finite; got shape {list(samples.shape)}")
    if not condition.by:
        return samples
    from core.stress.changes import CHANGES

    changed = CHANGES[condition.by](samples, np.random.default_rng([seed, _number_of(condition)]), **_arguments(condition))
    return np.ascontiguousarray(changed, dtype=np.float32)


def unavailable(condition: Condition) -> str | None:
    """Why a condition cannot be made on this machine, in one sentence; None where it can."""
    if condition.by != "codec":
        return None
    from core.stress.codecs import missing_codec

    return missing_codec(str(_arguments(condition)["codec"]))


def recording_seed(seed: int, recording: str) -> int:
    """A seed of a recording's own, from that of the test and its name or hash."""
    return int.from_bytes(hashlib.sha256(f"{seed} {recording}".encode()).digest()[:6], "big")


def _arguments(condition: Condition) -> dict[str, Any]:
    return dict(condition.setting)


def _number_of(condition: Condition) -> int:
    # Lines share their noise and rooms: 10 dB is the same noise as 20 dB, only louder.
    return int.from_bytes(hashlib.sha256(f"{condition.family} {condition.line}".encode()).digest()[:4], "big")
