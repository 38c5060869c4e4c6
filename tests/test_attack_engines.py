"""Speech engines: voices, speeds and texts are the asked ones; what is missing is told."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from core.attacks import speech_engines
from core.attacks.kind_records import PROGRAMS
from core.attacks.kinds import ATTACK_KINDS, ESPEAK_VOICES, FLITE_VOICES
from core.attacks.matching import active_span
from core.attacks.speaking import spoken_text
from core.attacks.speech_engines import Side, random_sentence, random_text, speak
from core.errors import CoreError

VOICES = {"espeak-ng": "en-us", "flite": "slt", "festival": "kal_diphone"}
INSTALLED = [engine for engine, program in PROGRAMS.items() if shutil.which(program)]
needs_engines = pytest.mark.skipif(len(INSTALLED) < 3, reason="needs espeak-ng, flite and festival")


@needs_engines
@pytest.mark.parametrize("engine", PROGRAMS)
def test_a_slower_voice_takes_longer_by_the_ratio(engine: str) -> None:
    lengths = []
    for speed in (1.0, 0.8):
        samples, rate_hz = speak(Side(engine, VOICES[engine], "The driver opened the old bridge."), speed=speed)
        assert samples.dtype == np.float32
        assert rate_hz in (16_000, 22_050)
        lengths.append(len(samples) / rate_hz)
    assert lengths[1] / lengths[0] == pytest.approx(1.25, rel=0.12)


@needs_engines
def test_all_offered_voices_are_there() -> None:
    speech_engines.check_flite_voices(FLITE_VOICES)
    spoken = [speak(Side("espeak-ng", voice, "The old dog is dancing near the farm."))[0] for voice in ESPEAK_VOICES]
    assert all(len(samples) > 2_000 for samples in spoken)
    assert len({samples.tobytes() for samples in spoken}) == len(ESPEAK_VOICES)


@needs_engines
@pytest.mark.parametrize("engine", PROGRAMS)
def test_an_unknown_voice_is_told(engine: str) -> None:
    with pytest.raises(CoreError, match="nosuchvoice"):
        speak(Side(engine, "nosuchvoice", "Good morning."))


@pytest.mark.parametrize("engine", PROGRAMS)
def test_a_missing_program_is_told(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(CoreError, match=f"{engine} is not installed"):
        speak(Side(engine, VOICES[engine], "Good morning."))


def test_an_engine_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(subprocess, "run", hanging)
    with pytest.raises(CoreError, match="did not finish within 60 s"):
        speak(Side("espeak-ng", "en-us", "Good morning."))


@pytest.mark.parametrize(("text", "words"), [("", "holds no word"), (" ?! ", "holds no word"), ("word " * 500, "2,500 characters")])
def test_texts_that_cannot_be_said_are_refused(text: str, words: str) -> None:
    with pytest.raises(CoreError, match=words):
        speak(Side("espeak-ng", "en-us", text))


def test_drawn_texts_are_sentences_of_about_the_length() -> None:
    """15 characters a second: at the least a subject and a verb, and never off by more than half a sentence."""
    rng = np.random.default_rng(0)
    assert random_sentence(rng).endswith(".")
    for duration_s in (0.5, 1.0, 2.0, 4.0, 9.0, 30.0):
        for _ in range(20):
            text = random_text(duration_s, rng)
            sentences = text.removesuffix(".").split(". ")
            assert all(len(sentence.split()) >= 3 for sentence in sentences), text
            assert abs(len(text) - 15 * duration_s) < max(16, 0.3 * 15 * duration_s), (duration_s, text)


@pytest.mark.skipif("espeak-ng" not in INSTALLED, reason="needs espeak-ng")
@pytest.mark.parametrize("duration_s", [1.0, 2.5, 6.0])
def test_drawn_speech_has_the_duration(duration_s: float) -> None:
    kind = ATTACK_KINDS["espeak-ng"]
    values = kind.settled({"voice": "en-us"}, seed=0)
    spoken = spoken_text(kind, values, text=None, duration_s=duration_s, keeps_speed=False, rng=np.random.default_rng(1))
    first, end = active_span(spoken.samples)
    assert (end - first) / 16_000 == pytest.approx(duration_s, rel=0.08)
    assert kind.parameter("speed").low <= spoken.speed <= kind.parameter("speed").high
    kept = spoken_text(kind, values, text=None, duration_s=duration_s, keeps_speed=True, rng=np.random.default_rng(1))
    assert (kept.speed, kept.text) == (1.0, spoken.text)


def test_neither_text_nor_duration_is_refused() -> None:
    kind = ATTACK_KINDS["espeak-ng"]
    with pytest.raises(CoreError, match="needs a text"):
        spoken_text(kind, kind.settled(None, seed=0), text=None, duration_s=None, keeps_speed=True, rng=np.random.default_rng(0))
