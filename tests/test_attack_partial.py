"""Partial spoofs: the parts lie where they are said to, all else is the recording, and joins are quiet."""

from __future__ import annotations

import numpy as np
import pytest

from core.attacks.kinds import ATTACK_KINDS
from core.attacks.make import make_spoof
from core.attacks.matching import active_level
from core.attacks.partial import chosen_parts, with_parts_of, with_parts_spoken
from core.errors import AudioRefusal

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speech(speech_like) -> np.ndarray:
    """Four seconds: three syllables a second, with pauses."""
    return speech_like(4.0, 1).astype(np.float64)


@pytest.mark.parametrize("num_parts", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_parts_are_apart_about_as_long_as_asked_and_hold_speech(num_parts: int, seed: int, speech: np.ndarray) -> None:
    parts = chosen_parts(speech, num_parts=num_parts, part_s=0.5, rng=np.random.default_rng(seed))
    assert len(parts) == num_parts
    edges = [edge for part in parts for edge in part]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= len(speech)
    for first, end in parts:
        assert 0.2 < (end - first) / RATE_HZ < 0.8
        assert np.square(speech[first:end]).mean() > 0.1 * np.square(speech).mean()


@pytest.mark.parametrize("seed", range(5))
def test_parts_begin_and_end_in_the_pauses(seed: int, speech: np.ndarray) -> None:
    """Syllables of a third of a second leave a pause within reach of every edge: at least 15 dB below the speech."""
    ((first, end),) = chosen_parts(speech, num_parts=1, part_s=0.8, rng=np.random.default_rng(seed))
    for edge in (first, end):
        around = speech[max(0, edge - 160) : edge + 160]
        assert np.square(around).mean() < 10**-1.5 * np.square(speech).mean()


def test_a_short_recording_gets_shorter_and_fewer_parts(speech_like) -> None:
    parts = chosen_parts(speech_like(1.0, 2), num_parts=4, part_s=2.0, rng=np.random.default_rng(0))
    assert 1 <= len(parts) <= 3
    assert sum(end - first for first, end in parts) < 0.9 * RATE_HZ
    with pytest.raises(AudioRefusal, match=r"needs at least 0\.33 s"):
        chosen_parts(speech_like(0.2, 2), num_parts=1, part_s=1.0, rng=np.random.default_rng(0))


def test_outside_the_parts_every_sample_is_the_recording_s(speech: np.ndarray) -> None:
    made = np.random.default_rng(0).standard_normal(len(speech))
    parts = [(8_000, 20_000), (40_000, 50_000)]
    partial = with_parts_of(speech, made, parts)
    assert partial.spans == ((0.5, 1.25), (2.5, 3.125))
    inside = np.zeros(len(speech), dtype=bool)
    for first, end in parts:
        inside[first:end] = True
    assert np.array_equal(partial.samples[~inside], speech[~inside])
    for first, end in parts:
        middle = slice(first + 160, end - 160)
        # The level and the constant offset alone are changed.
        correlation = np.corrcoef(partial.samples[middle], made[middle])[0, 1]
        assert correlation == pytest.approx(1.0)
        assert active_level(partial.samples[first:end]) == pytest.approx(active_level(speech[first:end]), rel=0.05)


def test_spoken_parts_move_what_follows(speech: np.ndarray) -> None:
    words = [0.1 * np.random.default_rng(seed).standard_normal(num) for seed, num in ((0, 8_000), (1, 3_200))]
    partial = with_parts_spoken(speech, words, [(16_000, 20_000), (40_000, 44_800)])
    assert len(partial.samples) == len(speech) + 4_000 - 1_600
    assert partial.spans == ((1.0, 1.5), (2.75, 2.95))
    assert np.array_equal(partial.samples[:16_000], speech[:16_000])
    assert np.array_equal(partial.samples[24_000:44_000], speech[20_000:40_000])
    assert np.array_equal(partial.samples[47_200:], speech[44_800:])


@pytest.mark.parametrize("made_by", ["lpc_copy", "world_conversion", "espeak-ng"])
def test_a_made_partial_spoof_differs_within_its_spans_alone(made_by: str, speech: np.ndarray) -> None:
    if reason := ATTACK_KINDS[made_by].unavailable:
        pytest.skip(reason)
    spoof = make_spoof(speech, "partial", seed=5, parameters={"made_by": made_by, "num_parts": 2, "part_s": 0.5})
    assert spoof.made_by == made_by
    assert len(spoof.spans) == 2
    before = round(spoof.spans[0][0] * RATE_HZ)
    after = len(spoof.samples) - round(spoof.spans[-1][1] * RATE_HZ)
    assert np.allclose(spoof.samples[:before], spoof.gain * speech[:before], atol=1e-6)
    assert np.allclose(spoof.samples[-after:], spoof.gain * speech[-after:], atol=1e-6)
    if len(spoof.samples) == len(speech):
        between = slice(round(spoof.spans[0][1] * RATE_HZ), round(spoof.spans[1][0] * RATE_HZ))
        assert np.allclose(spoof.samples[between], spoof.gain * speech[between], atol=1e-6)
        for start_s, end_s in spoof.spans:
            span = slice(round(start_s * RATE_HZ) + 160, round(end_s * RATE_HZ) - 160)
            assert np.linalg.norm(spoof.samples[span] - speech[span]) > 0.1 * np.linalg.norm(speech[span])


def test_a_given_text_is_said_once(speech: np.ndarray) -> None:
    if reason := ATTACK_KINDS["espeak-ng"].unavailable:
        pytest.skip(reason)
    values = {"made_by": "espeak-ng", "num_parts": 3}
    spoof = make_spoof(speech, "partial", seed=5, parameters=values, text="No, I did not agree.")
    assert spoof.text == "No, I did not agree."
    assert len(spoof.spans) == 1
