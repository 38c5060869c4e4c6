"""What a detector makes of trivial features: each is changed, nothing else is, and the shift of the scores is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import signal

from core.checkpoints import Detector
from core.detect import Scorer
from core.errors import AudioRefusal, CoreError
from core.evaluation.resampling import bootstrap_mean
from core.recording_start import read_start
from core.resample import SAMPLE_RATE_HZ
from core.shortcuts.records import InterventionEffect
from core.stress.changes import change_edges, change_gain, code, limit_band, sound_span
from core.stress.conditions import recording_seed
from core.stress.scoring import Judgement, judge_all

MIN_SHIFT = 0.1
"""Of the spread of the clean scores: a smaller shift hardly moves a verdict."""
MAX_RECORDINGS = 300
_MIN_EACH = 5
_DC = 0.02
_TILT_DB = 3.0

Change = Callable[[np.ndarray, np.random.Generator, np.ndarray], np.ndarray]
"""From samples `[time]`, a source of randomness, and a recording of the other class (any other where labels are not known)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """One trivial feature, changed."""

    name: str
    title: str
    """Begins a sentence, e.g. `Cutting off edge silence`."""
    feature: str
    """Key of `core.shortcuts.features.FEATURES`."""
    change: Change


def give_edges_of(samples: np.ndarray, rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    """The samples with what another recording has before its first and after its last sound in place of their own."""
    first, last = sound_span(samples)
    other_first, other_last = sound_span(other)
    return np.concatenate([other[:other_first], samples[first:last], other[other_last:]])


def tilt(samples: np.ndarray, *, db_per_octave: float) -> np.ndarray:
    """The spectrum turned about 1 kHz, between 100 and 8,000 Hz; the level stays."""
    spectrum, frequency_hz = np.fft.rfft(samples), np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    turned = np.fft.irfft(spectrum * 10 ** (db_per_octave * np.log2(frequency_hz.clip(100, None) / 1_000) / 20), len(samples))
    return turned * np.sqrt(np.mean(np.square(samples)) / max(np.mean(np.square(turned)), 1e-12))


def at_other_rate(samples: np.ndarray) -> np.ndarray:
    """Through 44,100 samples a second and back: nothing but the traces of two resamplers."""
    return signal.resample_poly(signal.resample_poly(samples, 441, 160), 160, 441)[: len(samples)]


def _silent(samples: np.ndarray, *, seconds: float) -> np.ndarray:
    edge = np.zeros(int(seconds * SAMPLE_RATE_HZ))
    return np.concatenate([edge, samples, edge])


def _first_half(samples: np.ndarray) -> np.ndarray:
    return samples[: max(len(samples) // 2, min(len(samples), SAMPLE_RATE_HZ))]


INTERVENTIONS: Mapping[str, Intervention] = {
    name: Intervention(name=name, title=title, feature=feature, change=change)
    for name, title, feature, change in (
        ("trim_edges", "Cutting off edge silence", "leading_silence", lambda x, rng, _: change_edges(x, rng, how="trim")),
        ("other_edges", "Taking over the edges of a recording of the other class", "leading_silence", give_edges_of),
        (
            "silent_edges",
            "Putting half a second of silence before and after",
            "trailing_silence",
            lambda x, _, __: _silent(x, seconds=0.5),
        ),
        (
            "zero_edges",
            "Putting zeros in place of edge silence",
            "digital_silence",
            lambda x, rng, _: change_edges(x, rng, how="zero"),
        ),
        ("first_half", "Keeping the first half only", "duration", lambda x, _, __: _first_half(x)),
        ("twice", "Playing it twice in a row", "duration", lambda x, _, __: np.concatenate([x, x])),
        ("quieter", "Making it 10 dB quieter", "loudness", lambda x, rng, _: change_gain(x, rng, gain_db=-10)),
        ("louder", "Making it 6 dB louder", "loudness", lambda x, rng, _: change_gain(x, rng, gain_db=6)),
        ("narrower", "Taking away what is above 6 kHz", "bandwidth", lambda x, rng, _: limit_band(x, rng, rate_hz=12_000)),
        (
            "tilt_up",
            "Brightening the spectrum by 3 dB per octave",
            "spectral_tilt",
            lambda x, _, __: tilt(x, db_per_octave=_TILT_DB),
        ),
        (
            "tilt_down",
            "Darkening the spectrum by 3 dB per octave",
            "spectral_tilt",
            lambda x, _, __: tilt(x, db_per_octave=-_TILT_DB),
        ),
        ("dc", "Adding a DC offset of 2 % of full scale", "dc_offset", lambda x, _, __: x + _DC),
        ("mp3", "Coding as MP3 at 64 kbit/s", "codec", lambda x, rng, _: code(x, rng, codec="mp3", bit_rate=64_000)),
        ("opus", "Coding as Opus at 32 kbit/s", "codec", lambda x, rng, _: code(x, rng, codec="opus", bit_rate=32_000)),
        ("resampled", "Resampling to 44.1 kHz and back", "sample_rate", lambda x, _, __: at_other_rate(x)),
    )
}
"""By name, in the order in which they are shown."""


def audit_detector(
    detector: Detector,
    recordings: pd.DataFrame,
    *,
    seed: int = 0,
    num_resamples: int = 1_000,
    max_recordings: int = MAX_RECORDINGS,
    scorer: Scorer | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[InterventionEffect, ...]:
    """How a detector's scores shift when a trivial feature is changed.

    Args:
        detector: which one.
        recordings: `path`, and where known `label`.
        seed: of the recordings drawn, of donors and of resamples.
        num_resamples: of the bootstrap, over recordings.
        max_recordings: more are not looked at; they are drawn evenly from both classes.
        scorer: the detector, opened already.
        on_progress: told how many recordings are done, of how many.

    Returns:
        For each intervention an effect on bona fide speech, on spoofs and on all; on all alone where labels are not known.

    Raises:
        CoreError: fewer than five recordings can be judged.
    """
    scorer, rng = scorer or Scorer(detector), np.random.default_rng(seed)
    drawn = _drawn(recordings, max_recordings, rng)
    labels = list(drawn["label"]) if "label" in drawn else [None] * len(drawn)
    samples = [_read(path) for path in drawn["path"]]
    readable = [i for i, one in enumerate(samples) if one is not None]
    rows: list[tuple[object, list[Judgement]]] = []
    for num, i in enumerate(readable, start=1):
        own = np.random.default_rng(recording_seed(seed, str(i)))
        donors = [j for j in readable if j != i and (pd.isna(labels[i]) or labels[j] != labels[i])] or [i]
        other = samples[int(own.choice(donors))]
        changed = [np.asarray(one.change(samples[i], own, other), dtype=np.float32) for one in INTERVENTIONS.values()]
        rows.append((labels[i], judge_all(scorer, [samples[i], *changed])))
        if on_progress is not None:
            on_progress(num, len(readable))
    judged = [(label, of_one) for label, of_one in rows if of_one[0].score is not None]
    if len(judged) < _MIN_EACH:
        raise CoreError(f"{len(judged)} of {len(drawn)} recordings can be judged as they are; {_MIN_EACH} are needed.")
    return _effects(detector, judged, seed=seed, num_resamples=num_resamples)


def _effects(
    detector: Detector, judged: list[tuple[object, list[Judgement]]], *, seed: int, num_resamples: int
) -> tuple[InterventionEffect, ...]:
    spread = float(np.std([of_one[0].score for _, of_one in judged]))
    rows = {"all": judged} | {name: [row for row in judged if row[0] == name] for name in ("bona fide", "spoof")}
    return tuple(
        _effect(detector, intervention, place, label, of_label, spread, seed=seed, num_resamples=num_resamples)
        for place, intervention in enumerate(INTERVENTIONS.values(), start=1)
        for label, of_label in rows.items()
        if len(of_label) >= _MIN_EACH
    )


def _effect(
    detector: Detector,
    intervention: Intervention,
    place: int,
    label: str,
    judged: list[tuple[object, list[Judgement]]],
    spread: float,
    *,
    seed: int,
    num_resamples: int,
) -> InterventionEffect:
    pairs = [(of_one[0], of_one[place]) for _, of_one in judged if of_one[place].score is not None]
    shifts = np.array([after.score - before.score for before, after in pairs])
    if not len(shifts):
        shifts = np.zeros(1)
    interval = bootstrap_mean(shifts, num_resamples=num_resamples, seed=seed)
    flipped = None
    if detector.manifest.thresholds is not None and pairs:
        flipped = sum(before.verdict is not after.verdict for before, after in pairs) / len(pairs)
    is_sensitive = bool((interval.low > 0 or interval.high < 0) and abs(interval.value) >= MIN_SHIFT * spread)
    effect = InterventionEffect(
        name=intervention.name,
        title=intervention.title,
        feature=intervention.feature,
        label=label,
        shift=interval.value,
        low=interval.low,
        high=interval.high,
        spread=spread,
        share_flipped=flipped,
        num=len(pairs),
        num_refused=len(judged) - len(pairs),
        is_sensitive=is_sensitive,
        finding="",
    )
    return _with_finding(effect, "nats" if detector.manifest.calibration else "units of the score")


def _with_finding(effect: InterventionEffect, unit: str) -> InterventionEffect:
    whose = "all scores" if effect.label == "all" else f"scores of {effect.label} recordings"
    interval = f"{effect.low:+.2f} to {effect.high:+.2f}"
    if not effect.num:
        finding = f"{effect.title}: every recording was refused afterwards."
    elif effect.is_sensitive:
        way = "towards spoof" if effect.shift > 0 else "towards bona fide"
        share = f", {100 * abs(effect.shift) / effect.spread:.0f} % of their spread" if effect.spread else ""
        finding = f"{effect.title} moves {whose} {way}: {effect.shift:+.2f} {unit} ({interval}){share}."
    elif max(abs(effect.low), abs(effect.high)) <= MIN_SHIFT * effect.spread:
        finding = f"{effect.title} hardly moves {whose}: {effect.shift:+.2f} {unit} ({interval})."
    elif effect.low > 0 or effect.high < 0:
        finding = f"{effect.title} moves {whose} a little: {effect.shift:+.2f} {unit} ({interval})."
    else:
        finding = f"{effect.title} may move {whose}, or that was chance: {effect.shift:+.2f} {unit} ({interval})."
    if effect.share_flipped is not None:
        finding += f" {100 * effect.share_flipped:.0f} % of the verdicts change."
    return dataclasses.replace(effect, finding=finding)


def _drawn(recordings: pd.DataFrame, most: int, rng: np.random.Generator) -> pd.DataFrame:
    """At most so many rows, half of each class where both are there; in the order of the table."""
    if len(recordings) <= most:
        return recordings
    label = recordings["label"].astype(object).where(recordings["label"].notna(), "") if "label" in recordings else None
    if label is None or label.nunique() < 2:
        return recordings.iloc[np.sort(rng.choice(len(recordings), most, replace=False))]
    places = [np.flatnonzero((label == name).to_numpy()) for name in sorted(label.unique())]
    chosen = [rng.choice(of_one, min(len(of_one), most // len(places)), replace=False) for of_one in places]
    return recordings.iloc[np.sort(np.concatenate(chosen))]


def _read(path: str) -> np.ndarray | None:
    try:
        return read_start(path)
    except AudioRefusal:
        return None
