"""WORLD: a copy keeps pitch and formants, a conversion moves them by what is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.attacks.resynthesis import fundamental_hz
from core.attacks.world import MAKERS, analysed, world_conversion, world_copy
from tests.vowels import F0_HZ, FORMANTS_HZ, long_term_db, strongest_hz, vowel

VOWEL = vowel()


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _median_f0_hz(samples: torch.Tensor) -> float:
    f0 = fundamental_hz(samples)
    return float(f0[f0 > 0].median())


@pytest.mark.parametrize("name", MAKERS)
def test_length_and_level_stay_and_the_generator_decides(name: str) -> None:
    batch = torch.cat([VOWEL, 0.1 * VOWEL.flip(-1)])
    made, again, other = (MAKERS[name](batch, _seeded(seed)) for seed in (0, 0, 1))
    assert made.shape == batch.shape
    assert made.dtype == torch.float32
    assert made.square().mean(dim=-1).tolist() == pytest.approx(batch.square().mean(dim=-1).tolist(), rel=1e-3)
    assert torch.equal(made, again)
    assert (made - other).norm() > 0.01 * made.norm()
    assert (made - batch).norm() > 0.05 * batch.norm()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("length", [320, 1_600, 16_000])
def test_silence_and_short_clips_pass(name: str, length: int) -> None:
    made = MAKERS[name](VOWEL[:, :length], _seeded())
    assert made.shape == (1, length)
    assert made.isfinite().all()
    assert torch.equal(MAKERS[name](torch.zeros(2, length), _seeded()), torch.zeros(2, length))


@pytest.mark.parametrize("pitch", ["dio", "harvest"])
def test_a_copy_keeps_fundamental_and_formants(pitch: str) -> None:
    made = world_copy(VOWEL, _seeded(), pitch=pitch)
    assert _median_f0_hz(made) == pytest.approx(F0_HZ, rel=0.03)
    for formant_hz in FORMANTS_HZ:  # to a harmonic
        assert strongest_hz(made, 0.75 * formant_hz, 1.3 * formant_hz) == pytest.approx(
            strongest_hz(VOWEL, 0.75 * formant_hz, 1.3 * formant_hz), abs=F0_HZ
        )
    # Below 6 kHz, over a range of 40 dB; CheapTrick fills the valleys between formants a little.
    assert (long_term_db(made) - long_term_db(VOWEL))[:384].abs().mean() < 3.0


@pytest.mark.parametrize(("pitch_ratio", "formant_ratio"), [(1.28, 1.0), (0.8, 1.0), (1.0, 1.2), (1.28, 0.85)])
def test_a_conversion_moves_pitch_and_formants_apart_from_each_other(pitch_ratio: float, formant_ratio: float) -> None:
    # One formant, so that no neighbour gets into its way; new periods of whole samples, which `fundamental_hz` needs here.
    one = vowel(formants_hz=(1_500.0,))
    made = world_conversion(one, _seeded(), pitch_ratio=pitch_ratio, formant_ratio=formant_ratio)
    assert _median_f0_hz(made) == pytest.approx(F0_HZ * pitch_ratio, rel=0.03)
    assert strongest_hz(made, 900, 2_300) == pytest.approx(1_500 * formant_ratio, rel=0.06)


def test_drawn_conversions_move_pitch_by_two_to_seven_semitones_either_way() -> None:
    made = world_conversion(VOWEL.repeat(8, 1), _seeded(3))
    moved = np.array([12 * np.log2(_median_f0_hz(each.unsqueeze(0)) / F0_HZ) for each in made])
    assert (np.abs(moved) > 1.7).all()
    assert (np.abs(moved) < 7.3).all()
    assert (moved > 0).any()
    assert (moved < 0).any()


def test_analysis_finds_the_known_pitch_and_none_in_noise() -> None:
    voice = analysed(VOWEL[0].double().numpy())
    assert voice.f0_hz.shape == (401,)
    assert np.median(voice.f0_hz[voice.f0_hz > 0]) == pytest.approx(F0_HZ, rel=0.01)
    assert voice.envelope.shape == voice.aperiodicity.shape == (401, 513)
    noise = torch.randn(32_000, generator=_seeded()).double().numpy()
    assert (analysed(noise).f0_hz > 0).mean() < 0.2
