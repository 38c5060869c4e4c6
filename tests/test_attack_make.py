"""Every kind of attack on one recording: what is matched, what is kept, what is refused."""

from __future__ import annotations

import hashlib
import math
import shutil

import numpy as np
import pytest
import torch
import torchaudio

from core.attacks import make
from core.attacks.kind_records import PROGRAMS
from core.attacks.kinds import ATTACK_KINDS, PARTIAL_MAKERS, attack_kind
from core.attacks.make import MadeSpoof, make_spoof, spoof_seed
from core.attacks.matching import active_level, active_span, band_edge_hz
from core.attacks.resynthesis import fundamental_hz
from core.errors import AudioRefusal, CoreError
from tests.vowels import F0_HZ, FORMANTS_HZ, long_term_db, strongest_hz, vowel

RATE_HZ = 16_000
HERE = tuple(name for name, kind in ATTACK_KINDS.items() if not kind.unavailable)
QUICK = tuple(name for name in HERE if name != "festival")
"""Festival takes a second for a sentence, and is spoken to as the other engines are."""
COPIES = tuple(name for name in HERE if ATTACK_KINDS[name].family in ("copy synthesis", "neural vocoder"))
KEEP_DURATION = tuple(name for name in HERE if not ATTACK_KINDS[name].needs_text)


def _speech(speech_like, seconds: float = 2.0, *, edges_s: float = 0.3, seed: int = 0) -> np.ndarray:
    """Speech-like sound between two stretches of quiet noise."""
    voice = speech_like(seconds - 2 * edges_s, seed)
    edge = 2e-4 * np.random.default_rng(seed).standard_normal(int(edges_s * RATE_HZ)).astype(np.float32)
    return np.concatenate([edge, voice, edge[::-1]])


def _voice(**options: object) -> torch.Tensor:
    """A made vowel `[1, 32000]` whose level moves by 10 dB, as speech's does; a steady one is refused."""
    samples = vowel(**options)
    return samples * (0.65 + 0.35 * torch.sin(2 * torch.pi * 3 * torch.arange(samples.shape[-1]) / RATE_HZ))


@pytest.fixture(scope="module")
def source(speech_like) -> np.ndarray:
    """Three seconds with edges."""
    return _speech(speech_like, 3.0)


@pytest.fixture(scope="module")
def made(source: np.ndarray) -> dict[str, MadeSpoof]:
    """A spoof of every kind that runs here."""
    return {name: make_spoof(source, name, seed=7, source="r1") for name in HERE}


@pytest.mark.parametrize("name", HERE)
def test_only_the_attack_differs(name: str, source: np.ndarray, made: dict[str, MadeSpoof]) -> None:
    spoof = made[name]
    assert spoof.samples.dtype == np.float32
    assert np.abs(spoof.samples).max() < 1.0
    assert 20 * np.log10(active_level(spoof.samples) / spoof.gain / active_level(source)) == pytest.approx(0, abs=0.5)
    first, end = active_span(source)
    own_first, own_end = active_span(spoof.samples)
    if name in KEEP_DURATION:
        if spoof.text is None:
            assert len(spoof.samples) == len(source)
    else:  # spoken text fits to two frames, or to what the engine's speeds allow
        assert len(spoof.samples) == pytest.approx(len(source), rel=0.06)
    if name != "replay":  # a room fills the pauses, for its bona fide counterpart too
        # A segment's own pause may come to stand at an edge.
        reach = 1_600 if name == "concatenation" else 640
        assert abs(own_first - first) <= reach
        assert abs((len(spoof.samples) - own_end) - (len(source) - end)) <= reach
        assert np.allclose(spoof.samples[: first - 160], spoof.gain * source[: first - 160], atol=1e-6)
        tail = len(source) - end - 160
        assert np.allclose(spoof.samples[-tail:], spoof.gain * source[-tail:], atol=1e-6)
    difference = spoof.samples[: len(source)] - source[: len(spoof.samples)]
    assert np.linalg.norm(difference) > 0.05 * np.linalg.norm(source)


@pytest.mark.parametrize("name", HERE)
def test_the_record_says_how_it_was_made(name: str, made: dict[str, MadeSpoof]) -> None:
    spoof, kind = made[name], ATTACK_KINDS[name]
    assert (spoof.kind, spoof.seed, spoof.source) == (name, 7, "r1")
    assert set(spoof.parameters) == {parameter.name for parameter in kind.parameters}
    duration_s = len(spoof.samples) / RATE_HZ
    if kind.family == "partial":
        assert spoof.made_by in PARTIAL_MAKERS
        assert all(0 < start < end < duration_s for start, end in spoof.spans)
    else:
        assert spoof.spans == ((0.0, duration_s),)
    assert (spoof.text is not None) == kind.needs_text
    assert (spoof.counterpart is not None) == (spoof.environment is not None) == (name == "replay")
    assert spoof.attack == (name if name != "replay" else spoof.attack)


@pytest.mark.parametrize("name", QUICK)
def test_the_seed_decides(name: str, source: np.ndarray, made: dict[str, MadeSpoof]) -> None:
    assert np.array_equal(make_spoof(source, name, seed=7).samples, made[name].samples)


@pytest.mark.parametrize("name", QUICK)
def test_an_8_khz_source_keeps_its_band(name: str, source: np.ndarray) -> None:
    telephone = torchaudio.functional.resample(torch.from_numpy(source.copy()), RATE_HZ, 8_000, lowpass_filter_width=64)
    narrow = torchaudio.functional.resample(telephone, 8_000, RATE_HZ, lowpass_filter_width=64).numpy()
    spoof = make_spoof(narrow, name, seed=7)
    assert band_edge_hz(spoof.samples) < band_edge_hz(narrow) + 150
    for each in [spoof.samples] if spoof.counterpart is None else [spoof.samples, spoof.counterpart]:
        power = np.square(np.abs(np.fft.rfft(each)))
        above = int(4_300 / RATE_HZ * 2 * len(power))
        assert power[above:].sum() < 1e-4 * power.sum()


@pytest.mark.parametrize("name", QUICK)
def test_a_clip_of_one_second(name: str, speech_like) -> None:
    clip = speech_like(1.0, 3)
    spoof = make_spoof(clip, name, seed=1, parameters={"max_segment_s": 0.25} if name == "concatenation" else None)
    assert np.isfinite(spoof.samples).all()
    assert name not in KEEP_DURATION or len(spoof.samples) == len(clip)


def test_a_clip_too_short_to_cut_is_no_concatenation(speech_like) -> None:
    with pytest.raises(CoreError, match=r"0\.\d\d s of speech is too short to be cut and joined; more than 0\.95 s"):
        make_spoof(speech_like(0.9, 3), "concatenation", seed=1, parameters={"max_segment_s": 0.8})


@pytest.mark.parametrize("name", ["griffin_lim", "replay", "partial", "concatenation"])
@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(32_000), "silent"),
        (np.full(32_000, 1e-5), "silent"),
        (0.1 * np.sin(np.arange(32_000) / 5), "no_speech"),
        (0.1 * np.random.default_rng(0).standard_normal(4_000), "too_short"),
        (np.zeros(0), "too_short"),
    ],
)
def test_what_is_no_speech_is_refused(name: str, samples: np.ndarray, code: str) -> None:
    with pytest.raises(AudioRefusal) as refusal:
        make_spoof(samples, name, seed=0)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((1, 32_000)), r"shape \(1, 32000\); expected \[time\]"),
        (np.full(32_000, np.nan), "NaN or infinite"),
        (np.zeros(301 * RATE_HZ), "301 s long; at most 300 s"),
    ],
)
def test_damaged_samples_are_refused(samples: np.ndarray, words: str) -> None:
    with pytest.raises(CoreError, match=words):
        make_spoof(samples, "griffin_lim", seed=0)


def test_what_changes_nothing_is_no_spoof(source: np.ndarray) -> None:
    with pytest.raises(CoreError, match=r"Formant shift changes nothing with Formants 1; move"):
        make_spoof(source, "formant_shift", seed=0, parameters={"formant_ratio": 1.0})
    with pytest.raises(CoreError, match="The seed is -1"):
        make_spoof(source, "formant_shift", seed=-1)


@pytest.mark.parametrize("engine", PROGRAMS)
def test_a_missing_engine_is_told(engine: str, source: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(CoreError, match=f"apt-get install {engine}"):
        make_spoof(source, engine, seed=0)
    with pytest.raises(CoreError, match=f"apt-get install {engine}"):
        make_spoof(source, "partial", seed=0, parameters={"made_by": engine})


@pytest.mark.parametrize("name", COPIES)
def test_copies_keep_the_fundamental(name: str) -> None:
    voice = _voice()
    spoof = torch.from_numpy(make_spoof(voice[0].numpy(), name, seed=0).samples).unsqueeze(0)
    f0 = fundamental_hz(spoof)
    assert float(f0[f0 > 0].median()) == pytest.approx(F0_HZ, rel=0.03)


@pytest.mark.parametrize("name", ["lpc_copy", "cepstral_copy", "world_copy"])
def test_vocoder_copies_keep_the_formants(name: str) -> None:
    voice = _voice()
    spoof = torch.from_numpy(make_spoof(voice[0].numpy(), name, seed=0).samples).unsqueeze(0)
    for formant_hz in FORMANTS_HZ:
        found = strongest_hz(spoof, 0.75 * formant_hz, 1.3 * formant_hz)
        assert found == pytest.approx(strongest_hz(voice, 0.75 * formant_hz, 1.3 * formant_hz), abs=F0_HZ)


@pytest.mark.parametrize(("pitch_ratio", "formant_ratio"), [(1.28, 1.0), (0.8, 1.15)])
def test_parameters_reach_the_makers(pitch_ratio: float, formant_ratio: float) -> None:
    # New periods of whole samples, which `fundamental_hz` needs here.
    semitones = 12 * math.log2(pitch_ratio)
    voice = _voice(formants_hz=(1_500.0,))[0].numpy()
    values = {"pitch_semitones": semitones, "formant_ratio": formant_ratio}
    spoof = make_spoof(voice, "world_conversion", seed=0, parameters=values)
    assert spoof.parameters == values
    samples = torch.from_numpy(spoof.samples).unsqueeze(0)
    f0 = fundamental_hz(samples)
    assert float(f0[f0 > 0].median()) == pytest.approx(F0_HZ * pitch_ratio, rel=0.03)
    assert strongest_hz(samples, 900, 2_300) == pytest.approx(1_500 * formant_ratio, rel=0.06)


def test_griffin_lim_keeps_the_magnitude_within_a_seventh() -> None:
    """Spectral convergence, the norm of the difference over the norm; the phase is another."""
    voice = _voice()
    spoof = torch.from_numpy(make_spoof(voice[0].numpy(), "griffin_lim", seed=0, parameters={"num_iterations": 60}).samples)

    def magnitude(samples: torch.Tensor) -> torch.Tensor:
        return torch.stft(samples, 1_024, 256, window=torch.hann_window(1_024), return_complex=True).abs()

    wanted = magnitude(voice[0])
    assert float((magnitude(spoof) - wanted).norm() / wanted.norm()) < 1 / 7
    assert abs(float(spoof @ voice[0])) < 0.9 * float(spoof.norm() * voice.norm())


def test_spectral_filtering_goes_towards_the_other_speaker() -> None:
    voice, other = _voice()[0].numpy(), vowel(180.0, (450.0, 1_900.0, 3_100.0))
    alone = make_spoof(voice, "spectral_filtering", seed=0)
    towards = make_spoof(voice, "spectral_filtering", seed=0, other=other[0].numpy())

    def distance_db(spoof: MadeSpoof) -> float:
        difference = (long_term_db(torch.from_numpy(spoof.samples).unsqueeze(0)) - long_term_db(other))[:256]
        return float((difference - difference.mean()).abs().mean())

    assert distance_db(towards) < 0.6 * distance_db(alone)


def test_a_replay_and_its_counterpart_share_room_length_and_level(source: np.ndarray, made: dict[str, MadeSpoof]) -> None:
    if "replay" not in made:
        pytest.skip("needs pyroomacoustics")
    spoof = make_spoof(source, "replay", seed=2, parameters={"t60_ms": 800, "room_m2": 15, "talker_cm": 150, "loudspeaker": "low"})
    assert spoof.attack[1] == "C"
    assert spoof.environment == "ccc"
    assert len(spoof.counterpart) == len(spoof.samples) == len(source)
    assert active_level(spoof.counterpart) == pytest.approx(active_level(spoof.samples), rel=0.02)
    end = active_span(source)[1]
    tails = [np.square(each[end : end + 1_600]).mean() for each in (spoof.counterpart, source)]
    assert tails[0] > 10 * tails[1], "the room is heard after the last sound"


def test_loud_recordings_are_turned_down_not_clipped(source: np.ndarray) -> None:
    loud = source / np.abs(source).max()
    spoof = make_spoof(loud, "lpc_copy", seed=0)
    assert np.abs(spoof.samples).max() <= 0.9991
    assert active_level(spoof.samples) / spoof.gain == pytest.approx(active_level(loud), rel=0.03)


def test_the_seed_of_a_spoof_follows_from_set_source_and_kind() -> None:
    """By hand: the first seven bytes of a SHA-256."""
    assert spoof_seed(3, "abc", "lpc_copy") == int(hashlib.sha256(b"3|abc|lpc_copy").hexdigest()[:14], 16)
    assert len({spoof_seed(s, source, kind) for s in (0, 1) for source in "ab" for kind in ("x", "y")}) == 8
    torch.Generator().manual_seed(spoof_seed(3, "abc", "lpc_copy"))


def test_spoken_words_are_the_given_ones(source: np.ndarray) -> None:
    engine = next((name for name in PROGRAMS if name in HERE), None)
    if engine is None:
        pytest.skip("needs a speech engine")
    short, long = (make_spoof(source, engine, seed=0, text=text) for text in ("Good morning.", "Good morning to all of you. " * 3))
    assert short.text == "Good morning."
    assert len(long.samples) > 2 * len(short.samples)
    slow = make_spoof(source, engine, seed=0, text="Good morning.", parameters={"speed": 0.7, "voice": short.parameters["voice"]})
    assert len(slow.samples) > 1.1 * len(short.samples)
    with pytest.raises(CoreError, match="holds no word"):
        make_spoof(source, engine, seed=0, text=" ... ")


def test_every_plain_kind_has_a_maker(source: np.ndarray) -> None:
    for name in ("replay", "partial", "espeak-ng"):
        with pytest.raises(CoreError, match="makes no copy of a recording"):
            make.made_by(attack_kind(name), torch.zeros(1, 10), torch.Generator(), {})
