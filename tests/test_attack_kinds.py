"""Kinds of attack: parameters are checked and drawn, and what is missing is told with how to install it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.attacks import kind_records
from core.attacks.kind_records import PROGRAMS, missing_vocoder
from core.attacks.kinds import ATTACK_KINDS, ESPEAK_VOICES, PARTIAL_MAKERS, attack_kind, value_words
from core.errors import CoreError


def test_names_are_keys_and_fit_into_a_protocol() -> None:
    for name, kind in ATTACK_KINDS.items():
        assert name == kind.name
        assert name.split() == [name]
        assert "__" not in name
        assert kind.summary.endswith(".")
    assert set(PARTIAL_MAKERS) <= set(ATTACK_KINDS)


@pytest.mark.parametrize("name", ATTACK_KINDS)
def test_defaults_and_draws_lie_in_range(name: str) -> None:
    kind = ATTACK_KINDS[name]
    for parameter in kind.parameters:
        assert parameter.low <= parameter.default <= parameter.high
        if parameter.choices:
            assert (parameter.low, parameter.high) == (0, len(parameter.choices) - 1)
    for seed in range(50):
        for key, value in kind.settled(None, seed=seed).items():
            parameter = kind.parameter(key)
            assert parameter.low <= value <= parameter.high
            assert not parameter.drawn or any(low - 1e-9 <= value <= high + 1e-9 for low, high in parameter.drawn)


def test_a_higher_voice_is_drawn_with_higher_formants() -> None:
    drawn = [ATTACK_KINDS["world_conversion"].settled(None, seed=seed) for seed in range(100)]
    assert all((each["pitch_semitones"] > 0) == (each["formant_ratio"] > 1) for each in drawn)
    assert 30 < sum(each["pitch_semitones"] > 0 for each in drawn) < 70


def test_the_seed_decides_and_a_given_value_changes_no_other_draw() -> None:
    kind = ATTACK_KINDS["replay"]
    drawn, again = kind.settled(None, seed=4), kind.settled(None, seed=4)
    assert drawn == again != kind.settled(None, seed=5)
    assert kind.settled({"t60_ms": 300}, seed=4) == drawn | {"t60_ms": 300.0}


def test_choices_are_given_by_name_or_index() -> None:
    kind = ATTACK_KINDS["replay"]
    assert kind.settled({"loudspeaker": "low"}, seed=0)["loudspeaker"] == 2.0
    assert kind.settled({"loudspeaker": 2}, seed=0)["loudspeaker"] == 2.0
    assert value_words(kind.parameter("loudspeaker"), 2.0) == "low"
    assert value_words(kind.parameter("t60_ms"), 300.0) == "300 ms"


def test_only_voices_that_speak_english_are_drawn() -> None:
    drawn = {ESPEAK_VOICES[int(ATTACK_KINDS["espeak-ng"].settled(None, seed=seed)["voice"])] for seed in range(200)}
    assert all(voice.startswith("en") for voice in drawn)
    assert len(drawn) == 10


def test_a_partial_spoof_s_maker_is_drawn_among_those_that_are_always_there() -> None:
    drawn = {PARTIAL_MAKERS[int(ATTACK_KINDS["partial"].settled(None, seed=seed)["made_by"])] for seed in range(200)}
    assert drawn == set(PARTIAL_MAKERS[:8])
    assert not drawn & {"neural_vocoder", *PROGRAMS}


def test_counts_are_whole() -> None:
    assert ATTACK_KINDS["spectral_filtering"].settled({"smoothing_frames": 4}, seed=0)["smoothing_frames"] % 2 == 1
    assert ATTACK_KINDS["sinusoidal"].settled({"num_peaks": 20.4}, seed=0)["num_peaks"] == 20.0


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("replay", {"t60": 300}, "no parameter 't60'; it has: room_m2, t60_ms"),
        ("replay", {"t60_ms": 3_000}, "is 3000; expected 50 to 1000 ms"),
        ("replay", {"t60_ms": "long"}, "is 'long'; expected a number"),
        ("replay", {"loudspeaker": "huge"}, "is 'huge'; expected one of perfect, high, low"),
        ("world_copy", {"pitch": 1}, "it has: none"),
        ("pitch_shift", {"pitch_semitones": float("nan")}, "is nan; expected -12 to 12 semitones"),
    ],
)
def test_wrong_parameters_are_refused(kind: str, given: dict, words: str) -> None:
    with pytest.raises(CoreError, match=words):
        attack_kind(kind).settled(given, seed=0)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CoreError, match="no kind of attack 'vocoder'; expected one of griffin_lim, "):
        attack_kind("vocoder")


@pytest.mark.parametrize("engine", PROGRAMS)
def test_a_missing_engine_is_told_with_how_to_install_it(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: "/usr/bin/x")
    assert ATTACK_KINDS[engine].unavailable is None
    monkeypatch.setattr(shutil, "which", lambda program: None if program == PROGRAMS[engine] else "/usr/bin/x")
    assert f"`apt-get install {engine}`" in ATTACK_KINDS[engine].unavailable


def test_a_missing_package_or_vocoder_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pyroomacoustics; install it with `pip install -r requirements.txt`" in ATTACK_KINDS["replay"].unavailable
    monkeypatch.setattr(kind_records, "SHIPPED_VOCODER", tmp_path)
    assert "python -m training vocoder" in ATTACK_KINDS["neural_vocoder"].unavailable
    for name in kind_records.VOCODER_FILES:
        (tmp_path / name).touch()
    assert missing_vocoder(tmp_path) is None
    assert ATTACK_KINDS["neural_vocoder"].unavailable is None


def test_the_table_loads_without_pytorch() -> None:
    code = "import sys, core.attacks.kinds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0
