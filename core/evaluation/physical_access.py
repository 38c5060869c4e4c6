"""The codes of ASVspoof 2019 physical access (replay), as named values and as groups.

Source: ASVspoof 2019 evaluation plan (15 January 2019), physical access, and README.PA.txt of the database (Yamagishi et al. 2019,
doi:10.7488/ds/2555), "Description of the protocols": the environment is a triplet (S, R, D_s), the attack a pair (D_a, Q).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import ProtocolError

Range = tuple[float, float]
"""Lower and upper bound."""

_ROOM_SIZES_M2: dict[str, Range] = {"a": (2, 5), "b": (5, 10), "c": (10, 20)}
_T60S_MS: dict[str, Range] = {"a": (50, 200), "b": (200, 600), "c": (600, 1000)}
_TALKER_DISTANCES_CM: dict[str, Range] = {"a": (10, 50), "b": (50, 100), "c": (100, 150)}
_ATTACKER_DISTANCES_CM: dict[str, Range] = {"A": (10, 50), "B": (50, 100), "C": (100, math.inf)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayDevice:
    """Quality of the loudspeaker that replays."""

    quality: str
    """`perfect`, `high` or `low`."""
    occupied_bandwidth_khz: Range
    lowest_frequency_hz: Range
    """Bounds of the lower end of the occupied bandwidth."""
    linearity_db: Range
    """Power of the linear over the non-linear part, within the occupied bandwidth."""


_DEVICES = {
    "A": ReplayDevice(
        quality="perfect",
        occupied_bandwidth_khz=(math.inf, math.inf),
        lowest_frequency_hz=(0, 0),
        linearity_db=(math.inf, math.inf),
    ),
    "B": ReplayDevice(
        quality="high", occupied_bandwidth_khz=(10, math.inf), lowest_frequency_hz=(0, 600), linearity_db=(100, math.inf)
    ),
    "C": ReplayDevice(quality="low", occupied_bandwidth_khz=(0, 10), lowest_frequency_hz=(600, math.inf), linearity_db=(0, 100)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AcousticEnvironment:
    """Where the recording was made (simulated)."""

    code: str
    room_size_m2: Range
    t60_ms: Range
    """Reverberation time."""
    talker_distance_cm: Range
    """From the talker to the microphone of the speaker verification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAttack:
    """How the replayed speech was got and played."""

    code: str
    attacker_distance_cm: Range
    """From the attacker's microphone to the talker."""
    device: ReplayDevice


def parse_environment(code: str) -> AcousticEnvironment:
    """An environment code such as `abc`: room size, T60, talker's distance.

    Raises:
        ProtocolError: not three letters of a, b, c.
    """
    if len(code) != 3 or not set(code) <= set("abc"):
        raise ProtocolError(f"The environment code is {code!r}; expected three letters of a, b, c (room size, T60, distance).")
    return AcousticEnvironment(
        code=code,
        room_size_m2=_ROOM_SIZES_M2[code[0]],
        t60_ms=_T60S_MS[code[1]],
        talker_distance_cm=_TALKER_DISTANCES_CM[code[2]],
    )


def parse_attack(code: str) -> ReplayAttack:
    """An attack code such as `AB`: attacker's distance, device quality.

    Raises:
        ProtocolError: not two letters of A, B, C.
    """
    if len(code) != 2 or not set(code) <= set("ABC"):
        raise ProtocolError(f"The replay attack code is {code!r}; expected two letters of A, B, C (attacker's distance, device).")
    return ReplayAttack(code=code, attacker_distance_cm=_ATTACKER_DISTANCES_CM[code[0]], device=_DEVICES[code[1]])


GROUPINGS = {
    "room size": "environment",
    "T60": "environment",
    "talker distance": "environment",
    "environment": "environment",
    "attacker distance": "attack",
    "device quality": "attack",
    "attack": "attack",
}
"""What recordings can be grouped by -> the code that tells."""


def group_keys(by: str, *, environments: Iterable[str | None], attacks: Iterable[str | None]) -> list[str]:
    """The group of each recording of a physical-access index, in words, e.g. `5-10 m²` or `perfect`.

    Args:
        by: one of `GROUPINGS`.
        environments: the index's environment codes.
        attacks: the index's attack codes; None for bona fide.

    Returns:
        One key for each recording; `bona fide` where the attack tells and there is none.

    Raises:
        ProtocolError: an unknown grouping, or a code that does not parse.
    """
    if by not in GROUPINGS:
        raise ProtocolError(f"Recordings cannot be grouped by {by!r}; expected one of {', '.join(GROUPINGS)}.")
    codes = environments if GROUPINGS[by] == "environment" else attacks
    cache: dict[str | None, str] = {}
    keys = []
    for code in codes:
        # pandas hands None over as NaN, which equals nothing.
        code = code if isinstance(code, str) else None
        if code not in cache:
            cache[code] = _key(by, code)
        keys.append(cache[code])
    return keys


def _key(by: str, code: str | None) -> str:
    if code is None:
        if GROUPINGS[by] == "attack":
            return "bona fide"
        raise ProtocolError("A recording without an environment code cannot be grouped by it (is this physical access?).")
    if GROUPINGS[by] == "environment":
        environment = parse_environment(code)
        return {
            "room size": _in_words(environment.room_size_m2, "m²"),
            "T60": _in_words(environment.t60_ms, "ms"),
            "talker distance": _in_words(environment.talker_distance_cm, "cm"),
            "environment": code,
        }[by]
    attack = parse_attack(code)
    distance = _in_words(attack.attacker_distance_cm, "cm")
    return {"attacker distance": distance, "device quality": attack.device.quality, "attack": code}[by]


def _in_words(bounds: Range, unit: str) -> str:
    low, high = bounds
    return f"over {low:g} {unit}" if math.isinf(high) else f"{low:g}-{high:g} {unit}"
