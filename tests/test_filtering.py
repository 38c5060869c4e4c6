"""Filtering, resampling and joining: what each moves in the spectrum, what it must leave alone."""

from __future__ import annotations

import pytest
import torch

from core.attacks.filtering import MAKERS, concatenation, spectral_filtering, waveform_filtering
from core.attacks.resynthesis import fundamental_hz
from core.audio import SAMPLE_RATE_HZ
from tests.vowels import F0_HZ, long_term_db, strongest_hz, vowel

VOWEL = vowel()
OTHER = vowel(180.0, (450.0, 1_900.0, 3_100.0))


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _median_f0_hz(samples: torch.Tensor) -> float:
    f0 = fundamental_hz(samples)
    return float(f0[f0 > 0].median())


@pytest.fixture(scope="module")
def syllables(speech_like) -> torch.Tensor:
    """`[2, 64000]`: speech-like recordings with pauses and gliding pitch."""
    return torch.stack([torch.from_numpy(speech_like(4.0, seed)) for seed in (0, 1)])


@pytest.mark.parametrize("name", MAKERS)
def test_length_and_level_stay_and_the_generator_decides(name: str, syllables: torch.Tensor) -> None:
    # Of a batch of two, spectral filtering has no choice of partners: one recording alone shows its draw.
    batch = syllables[:1] if name == "spectral_filtering" else syllables
    made, again, other = (MAKERS[name](batch, _seeded(seed)) for seed in (0, 0, 1))
    assert made.shape == batch.shape
    assert made.isfinite().all()
    assert made.square().mean(dim=-1).tolist() == pytest.approx(batch.square().mean(dim=-1).tolist(), rel=1e-3)
    assert torch.equal(made, again)
    assert (made - other).norm() > 0.01 * made.norm()
    assert (made - batch).norm() > 0.05 * batch.norm()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("length", [1_600, 16_000])
def test_silence_and_short_clips_pass(name: str, length: int) -> None:
    made = MAKERS[name](VOWEL[:, :length], _seeded())
    assert made.shape == (1, length)
    assert made.isfinite().all()
    assert torch.equal(MAKERS[name](torch.zeros(2, length), _seeded()), torch.zeros(2, length))


def test_spectral_filtering_brings_the_long_term_spectrum_to_the_other_s_and_keeps_the_pitch() -> None:
    made = spectral_filtering(VOWEL, _seeded(), towards=OTHER)

    def distance_db(first: torch.Tensor, second: torch.Tensor) -> float:
        difference = (long_term_db(first) - long_term_db(second))[:256]  # below 4 kHz, where the formants are
        return float((difference - difference.mean()).abs().mean())

    assert distance_db(made, OTHER) < 0.5 * distance_db(VOWEL, OTHER)
    assert strongest_hz(made, 1_500, 2_300) == pytest.approx(1_900, rel=0.05)
    assert _median_f0_hz(made) == pytest.approx(F0_HZ, rel=0.03)


def test_spectral_filtering_towards_itself_changes_nothing() -> None:
    assert (spectral_filtering(VOWEL, _seeded(), towards=VOWEL) - VOWEL).norm() < 1e-3 * VOWEL.norm()


def test_in_a_batch_each_is_filtered_towards_another() -> None:
    batch = torch.cat([VOWEL, OTHER])
    alone = spectral_filtering(batch, _seeded(), towards=batch.flip(0))
    assert torch.allclose(spectral_filtering(batch, _seeded()), alone, atol=1e-6)


@pytest.mark.parametrize("ratio", [0.85, 1.2])
def test_waveform_filtering_moves_pitch_and_formants_by_the_ratio_and_keeps_the_timing(ratio: float) -> None:
    one = vowel(formants_hz=(1_500.0,))
    made = waveform_filtering(one, _seeded(), ratio=ratio)
    assert _median_f0_hz(made) == pytest.approx(F0_HZ * ratio, rel=0.03)
    assert strongest_hz(made, 900, 2_300) == pytest.approx(1_500 * ratio, rel=0.06)
    # The pause lies between samples 14,000 and 18,000.
    assert made[0, 14_700:17_300].square().mean() < 1e-3 * made[0, 4_000:12_000].square().mean()
    assert made[0, :13_300].square().mean() == pytest.approx(float(made[0, 18_700:].square().mean()), rel=0.1)


def test_a_tone_comes_out_as_one_tone() -> None:
    """Grains that fit in phase leave no beats: the level of a shifted tone stays even."""
    tone = 0.3 * torch.sin(2 * torch.pi * 250 * torch.arange(32_000) / SAMPLE_RATE_HZ).unsqueeze(0)
    made = waveform_filtering(tone, _seeded(), ratio=1.1)[0, 2_000:-2_000]
    levels = made[: len(made) // 400 * 400].view(-1, 400).square().mean(dim=-1).sqrt()
    assert levels.min() > 0.9 * levels.max()
    assert int(torch.fft.rfft(made).abs().argmax()) * SAMPLE_RATE_HZ / len(made) == pytest.approx(275, abs=2)


def test_concatenation_keeps_every_sample_but_at_the_joins_and_changes_the_order() -> None:
    ramp = torch.linspace(0.1, 1.0, 32_000).unsqueeze(0)  # every value once, so that each sample can be traced
    made = concatenation(ramp, _seeded())
    scale = made.max() / ramp.max()
    traced = ((made[0] / scale - 0.1) / 0.9 * 31_999).round().long()
    steps = traced.diff()
    joins = torch.nonzero((steps - 1).abs() > 1).flatten()
    assert (steps == 1).float().mean() > 0.95
    starts = traced[64:-64][:: 32_000 // 8]
    assert not torch.equal(starts, starts.sort().values)
    assert len(joins) > 0


def test_concatenation_cuts_in_the_pauses(syllables: torch.Tensor) -> None:
    """Three syllables a second leave a pause every third of a second: joins there are not heard as steps of level."""
    made = concatenation(syllables, _seeded(), min_segment_s=0.3, max_segment_s=0.65)
    jumps, before = made.diff().abs().amax(dim=-1), syllables.diff().abs().amax(dim=-1)
    assert (jumps <= 1.05 * before).all()


def test_a_recording_too_short_to_cut_comes_back() -> None:
    clip = VOWEL[:, :4_000]
    assert torch.allclose(concatenation(clip, _seeded()), clip, atol=1e-6)
