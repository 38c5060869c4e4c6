"""Pitch shift and formant shift: each moves what it is asked to and leaves the other where it was."""

from __future__ import annotations

import pytest
import torch

from core.attacks.filtering import waveform_filtering
from core.attacks.resynthesis import fundamental_hz
from core.attacks.shifting import MAKERS, formant_shift, pitch_shift
from tests.vowels import F0_HZ, FORMANTS_HZ, long_term_db, strongest_hz, vowel

VOWEL = vowel()


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _median_f0_hz(samples: torch.Tensor) -> float:
    f0 = fundamental_hz(samples)
    return float(f0[f0 > 0].median())


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("length", [1_600, 16_000])
def test_silence_and_short_clips_pass(name: str, length: int) -> None:
    made = MAKERS[name](VOWEL[:, :length], _seeded())
    assert made.shape == (1, length)
    assert made.isfinite().all()
    assert torch.equal(MAKERS[name](torch.zeros(2, length), _seeded()), torch.zeros(2, length))


@pytest.mark.parametrize("semitones", [-7.0, -3.0, 4.0, 7.0])
def test_pitch_shift_moves_the_fundamental_by_the_ratio_and_keeps_the_formants_and_the_timing(semitones: float) -> None:
    made = pitch_shift(VOWEL, _seeded(), semitones=semitones)
    assert _median_f0_hz(made) == pytest.approx(F0_HZ * 2 ** (semitones / 12), rel=0.02)
    assert strongest_hz(made, 500, 950) == pytest.approx(FORMANTS_HZ[0], rel=0.15)
    assert strongest_hz(made, 2_000, 3_200) == pytest.approx(FORMANTS_HZ[2], rel=0.06)
    # The pause lies between samples 14,000 and 18,000.
    assert made[0, 15_000:17_000].square().mean() < 1e-2 * made[0, 4_000:12_000].square().mean()
    assert float(made.square().mean()) == pytest.approx(float(VOWEL.square().mean()), rel=1e-3)


def test_without_the_envelopes_put_back_the_formants_would_move() -> None:
    """What tells pitch shift from plain resampling, which moves a formant at 1,500 Hz to 1,890 Hz."""
    one = vowel(formants_hz=(1_500.0,))
    assert strongest_hz(waveform_filtering(one, _seeded(), ratio=2 ** (4 / 12)), 900, 2_300) > 1_780
    assert strongest_hz(pitch_shift(one, _seeded(), semitones=4.0), 900, 2_300) == pytest.approx(1_500, rel=0.06)


@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_formant_shift_moves_the_formants_by_the_ratio_and_keeps_the_fundamental(ratio: float) -> None:
    one = vowel(formants_hz=(1_500.0,))
    made = formant_shift(one, _seeded(), ratio=ratio)
    assert strongest_hz(made, 900, 2_300) == pytest.approx(1_500 * ratio, abs=0.65 * F0_HZ)  # to a harmonic
    assert _median_f0_hz(made) == pytest.approx(F0_HZ, rel=0.01)


def test_no_shift_changes_nothing() -> None:
    assert (formant_shift(VOWEL, _seeded(), ratio=1.0) - VOWEL).norm() < 1e-3 * VOWEL.norm()
    assert (long_term_db(pitch_shift(VOWEL, _seeded(), semitones=0.0)) - long_term_db(VOWEL)).abs().max() < 1.0


def test_a_lowered_voice_keeps_the_band() -> None:
    """White noise has the same level just below 8 kHz before and after; resampling alone would end at 5.3 kHz."""
    noise = 0.1 * torch.randn(1, 32_000, generator=_seeded())
    change = long_term_db(pitch_shift(noise, _seeded(), semitones=-7.0)) - long_term_db(noise)
    assert change[350:500].abs().max() < 3.0
