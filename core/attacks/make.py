"""Makes one spoof of one recording by a named kind of attack, matched to the recording in all that is not the attack."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from core.attacks.kinds import PARTIAL_MAKERS, AttackKind, attack_kind
from core.attacks.makers import made_by
from core.attacks.matching import (
    FULL_SCALE,
    active_span,
    background_of,
    between_edges_of,
    with_band_of,
    with_channel_of,
    with_edges_of,
    with_level_of,
    with_mean_of,
)
from core.attacks.partial import chosen_parts, with_parts_of, with_parts_spoken
from core.attacks.replay import ReplaySettings, replayed
from core.attacks.speaking import spoken_text
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError
from core.quality import QualityMeter

MAX_DURATION_S = 300.0
"""Longer recordings are refused: a phase vocoder's spectrum of an hour takes gigabytes."""
_SAME = 0.01
"""Of the recording's norm: a difference below this is no attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeSpoof:
    """One spoof and how it was made."""

    samples: np.ndarray
    """`[time]` float32 at 16 kHz."""
    kind: str
    parameters: dict[str, float]
    seed: int
    source: str
    """Name of the recording."""
    spans: tuple[tuple[float, float], ...]
    """Spoofed stretches in s: the whole, or the parts of a partial spoof."""
    attack: str
    """The attack's code in a protocol: the kind's name, or ASVspoof 2019's pair for replay."""
    environment: str | None = None
    """ASVspoof 2019's triplet for replay."""
    counterpart: np.ndarray | None = None
    """For replay: the recording as bona fide speech in the same room, `[time]` float32; what it must be compared with."""
    text: str | None = None
    """What was spoken."""
    made_by: str | None = None
    """Kind of the maker of a partial spoof's parts."""
    gain: float = 1.0
    """What samples and counterpart were multiplied by so as to stay below full scale; 1 for almost all recordings."""


def spoof_seed(seed: int, source: str, kind: str) -> int:
    """The seed of one spoof in a set.

    Args:
        seed: of the set.
        source: the recording's SHA-256 (`core.audio.sha256_of`), so that its place and name do not matter.
        kind: of attack.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}|{source}|{kind}".encode()).digest()[:7])


def make_spoof(
    samples: np.ndarray,
    kind: str,
    *,
    seed: int,
    parameters: Mapping[str, float | str] | None = None,
    text: str | None = None,
    other: np.ndarray | None = None,
    source: str = "recording",
) -> MadeSpoof:
    """One spoof; level, bandwidth, duration (but for spoken text) and edge silence are the source's.

    Args:
        samples: `[time]` at 16 kHz, bona fide speech.
        kind: a name of `core.attacks.kinds.ATTACK_KINDS`.
        seed: decides everything random; same seed, same samples.
        parameters: by name; what is not given is drawn by the seed, or the default.
        text: for text-to-speech; by default drawn sentences of about the source's duration.
        other: another speaker's recording `[time]`, for kinds that take one.
        source: the recording's name, for the record.

    Raises:
        CoreError: the kind is unknown or cannot run here, a parameter is out of range, or nothing would be changed.
        AudioRefusal: the recording is silent, steady, or too short or long.
    """
    attack = attack_kind(kind)
    if attack.unavailable:
        raise CoreError(attack.unavailable)
    if seed < 0:
        raise CoreError(f"The seed is {seed}; expected 0 or more.")
    samples = _checked(samples)
    values = attack.settled(parameters, seed=seed)
    record = {"kind": kind, "parameters": values, "seed": seed, "source": source, "attack": kind}
    if attack.family == "replay":
        return _replay(samples, values, record)
    if attack.family == "partial":
        return _partial(samples, values, record, text=text, other=other)
    if attack.needs_text:
        return _spoken(samples, attack, values, record, text=text, keeps_speed="speed" in (parameters or {}))
    made = _copied(samples, attack, values, seed=seed, other=other)
    return _finished(made, record, spans=((0.0, len(made) / SAMPLE_RATE_HZ),))


def _copied(
    samples: np.ndarray, kind: AttackKind, values: Mapping[str, float], *, seed: int, other: np.ndarray | None
) -> np.ndarray:
    """A copy or conversion `[time]`, matched; the maker may not touch the edges of a recording that it only cuts and joins."""
    first, end = active_span(samples) if kind.family == "concatenation" else (0, len(samples))
    generator = torch.Generator().manual_seed(seed)
    towards = None if other is None else torch.from_numpy(np.asarray(other, dtype=np.float32)).unsqueeze(0)
    tensor = torch.from_numpy(samples[first:end].astype(np.float32)).unsqueeze(0)
    core = made_by(kind, tensor, generator, values, towards=towards)[0].double().numpy()
    made = samples.copy()
    made[first:end] = core
    made = with_edges_of(with_level_of(with_band_of(made, samples), samples), samples)
    made = with_mean_of(made, samples, *active_span(samples))
    if np.linalg.norm(made - samples) < _SAME * np.linalg.norm(samples):
        raise CoreError(_unchanged(kind, values, (end - first) / SAMPLE_RATE_HZ))
    return made


def _unchanged(kind: AttackKind, values: Mapping[str, float], speech_s: float) -> str:
    if kind.family == "concatenation":
        needed_s = values["max_segment_s"] + values["min_segment_s"]
        return f"{speech_s:.2f} s of speech is too short to be cut and joined; more than {needed_s:.2f} s is needed."
    return f"{kind.title} changes nothing with {kind.in_words(values)}; move a parameter away from no change."


def _spoken(
    samples: np.ndarray, kind: AttackKind, values: dict[str, float], record: dict, *, text: str | None, keeps_speed: bool
) -> MadeSpoof:
    rng = np.random.default_rng([record["seed"], 11])
    first, end = active_span(samples)
    wanted_s = None if text is not None and text.strip() else (end - first) / SAMPLE_RATE_HZ
    speech = spoken_text(kind, values, text=text, duration_s=wanted_s, keeps_speed=keeps_speed, rng=rng)
    values["speed"] = speech.speed
    voice = with_level_of(with_band_of(with_channel_of(speech.samples, samples), samples), samples)
    own_first, own_end = active_span(voice)
    voice = voice[own_first:own_end]
    # An engine's pauses are digital silence; the recording's own background goes through them.
    made = between_edges_of(voice + background_of(samples, len(voice), rng=rng), samples)
    made = with_mean_of(made, samples, first, len(made) - (len(samples) - end))
    return _finished(made, record, text=speech.text, spans=((0.0, len(made) / SAMPLE_RATE_HZ),))


def _replay(samples: np.ndarray, values: Mapping[str, float], record: dict) -> MadeSpoof:
    kind = attack_kind("replay")
    choices = {name: kind.parameter(name).choices[int(values[name])] for name in ("loudspeaker", "recorder")}
    settings = ReplaySettings(**{**values, **choices})
    heard = replayed(samples, settings, seed=record["seed"])
    spoof, bona_fide = (
        with_mean_of(with_level_of(with_band_of(each, samples), samples), samples, 0, len(samples))
        for each in (heard.spoof, heard.bona_fide)
    )
    return _finished(
        spoof,
        record | {"attack": settings.attack},
        counterpart=bona_fide,
        environment=settings.environment,
        spans=((0.0, len(spoof) / SAMPLE_RATE_HZ),),
    )


def _partial(
    samples: np.ndarray, values: dict[str, float], record: dict, *, text: str | None, other: np.ndarray | None
) -> MadeSpoof:
    seed = record["seed"]
    inner = attack_kind(PARTIAL_MAKERS[int(values["made_by"])])
    if inner.unavailable:
        raise CoreError(inner.unavailable)
    rng = np.random.default_rng([seed, 13])
    inner_values = inner.settled(None, seed=seed)
    parts = chosen_parts(samples, num_parts=int(values["num_parts"]), part_s=values["part_s"], rng=rng)
    said = None
    if inner.needs_text:
        # A text that is given is said once: in the first part.
        parts = parts[:1] if text else parts
        spoken = [
            spoken_text(
                inner,
                inner_values,
                text=text,
                duration_s=None if text else (end - first) / SAMPLE_RATE_HZ,
                keeps_speed=False,
                rng=rng,
            )
            for first, end in parts
        ]
        said = " ".join(speech.text for speech in spoken)
        partial = with_parts_spoken(samples, [speech.samples for speech in spoken], parts)
    else:
        partial = with_parts_of(samples, _copied(samples, inner, inner_values, seed=seed, other=other), parts)
    return _finished(partial.samples, record, made_by=inner.name, text=said, spans=partial.spans)


def _finished(made: np.ndarray, record: dict, *, counterpart: np.ndarray | None = None, **more) -> MadeSpoof:
    """The record, with all below full scale."""
    together = [made] if counterpart is None else [made, counterpart]
    if not all(np.isfinite(each).all() for each in together):
        raise CoreError(f"{record['kind']} made samples that are no numbers; the recording may be damaged.")
    gain = min(1.0, FULL_SCALE / max(max(np.abs(each).max() for each in together), 1e-9))
    made, *counterparts = [(each * gain).astype(np.float32) for each in together]
    return MadeSpoof(samples=made, counterpart=counterparts[0] if counterparts else None, gain=float(gain), **record, **more)


def _checked(samples: np.ndarray) -> np.ndarray:
    """The recording as float64 `[time]`, found fit to be attacked."""
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1:
        raise CoreError(f"The samples have the shape {samples.shape}; expected [time], one channel.")
    if not np.isfinite(samples).all():
        raise CoreError("The samples hold NaN or infinite values; export the recording again.")
    if len(samples) > MAX_DURATION_S * SAMPLE_RATE_HZ:
        length_s = len(samples) / SAMPLE_RATE_HZ
        raise CoreError(
            f"The recording is {length_s:.0f} s long; at most {MAX_DURATION_S:.0f} s are attacked at once. Cut it first."
        )
    meter = QualityMeter()
    meter.update(torch.from_numpy(samples.astype(np.float32)))
    meter.check()
    return samples
