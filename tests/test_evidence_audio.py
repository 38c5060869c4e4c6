"""core.explanation.evidence_audio: the parts add up to the recording, sound as loud as it, and score as they must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_detectors import TONE_HZ, PlantedDetectors, planted, recording_with_tone

from core.explanation import masked_stft
from core.explanation.evidence_audio import counterfactual_score, evidence_audio, only_evidence, without_evidence
from core.explanation.explain import explain, score_samples
from core.explanation.records import ExplanationError, TimeFrequencyBox

__all__ = ["planted"]


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def tone_level(samples: np.ndarray) -> float:
    """Amplitude of the tone in the second in which it sounds, by correlation."""
    part = samples[17_600:27_200].astype(np.float64)
    return 2 * abs(np.mean(part * np.exp(-2j * np.pi * TONE_HZ * np.arange(len(part)) / 16_000)))


def test_parts_under_a_mask_and_its_complement_add_up() -> None:
    samples = torch.from_numpy(recording_with_tone())
    mask = torch.rand(masked_stft.spectrum(samples).shape, generator=torch.Generator().manual_seed(0))
    parts = masked_stft.masked(samples, mask) + masked_stft.masked(samples, 1 - mask)
    np.testing.assert_allclose(parts.numpy(), samples.numpy(), atol=1e-6)
    np.testing.assert_allclose(masked_stft.masked(samples, torch.ones_like(mask)).numpy(), samples.numpy(), atol=1e-6)


def test_the_evidence_is_the_tone(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    found = explain(detector, samples)
    audio = evidence_audio(detector, samples, found, quantile=0.97)
    assert level(audio.only) == pytest.approx(level(samples), rel=0.01)
    assert level(audio.without) == pytest.approx(level(samples), rel=0.01)
    assert tone_level(audio.without) < 0.05 * tone_level(samples)
    # All of it is tone: next to nothing of the noise at the end, and the phase is the original one.
    assert level(audio.only[-5_000:]) < 0.05 * level(samples[-5_000:])
    inside = slice(17_600, 27_200)
    assert np.corrcoef(audio.only[inside], samples[inside])[0, 1] > 0.99
    assert audio.score == pytest.approx(score_samples(detector, samples))
    assert audio.score_only > audio.score_without
    assert audio.score_without == pytest.approx(1.0, abs=0.1 * (audio.score - 1.0))  # the calibration's offset: nothing found
    assert 0 < audio.share_of_cells <= 0.04
    np.testing.assert_array_equal(audio.only, only_evidence(samples, found, 0.97))
    np.testing.assert_array_equal(audio.without, without_evidence(samples, found, 0.97))


def test_a_box_round_the_tone_takes_the_score_away(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    tone = TimeFrequencyBox(start_s=0.95, end_s=1.85, low_hz=2_300, high_hz=2_700)
    there = counterfactual_score(detector, samples, tone)
    assert there.score_before == pytest.approx(score_samples(detector, samples))
    assert there.change < -0.9 * (there.score_before - 1.0)
    elsewhere = counterfactual_score(detector, samples, TimeFrequencyBox(start_s=2.5, end_s=3.4, low_hz=2_300, high_hz=2_700))
    assert abs(elsewhere.change) < 0.3 * abs(there.change)
    all_of_it = counterfactual_score(detector, samples, TimeFrequencyBox(start_s=0, end_s=4, low_hz=0, high_hz=8_000))
    assert (all_of_it.score_after, all_of_it.change) == (None, None)


def test_rows_that_are_no_frequencies_give_moments(planted: PlantedDetectors) -> None:
    samples = recording_with_tone()
    found = explain(planted("find_tone"), samples)
    saliency = np.zeros_like(found.saliency)
    saliency[:30, (found.time_s > 1.0) & (found.time_s < 1.8)] = 1.0
    found = replace(found, saliency=saliency, row_label="Amplitude (of the peak)", rows=np.linspace(-1, 1, 224))
    only = only_evidence(samples, found, 0.5)
    assert level(only[-5_000:]) < 0.01 * level(samples[-5_000:])
    assert np.corrcoef(only[17_600:27_200], samples[17_600:27_200])[0, 1] > 0.999


def test_refusals(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    found = explain(detector, samples)
    with pytest.raises(ExplanationError, match="ends above starts"):
        TimeFrequencyBox(start_s=2, end_s=1, low_hz=0, high_hz=100)
    with pytest.raises(ExplanationError, match="Nothing of the recording"):
        counterfactual_score(detector, samples, TimeFrequencyBox(start_s=5, end_s=6, low_hz=0, high_hz=100))
    with pytest.raises(ExplanationError, match="between 0 and 1"):
        only_evidence(samples, found, 1.5)
    with pytest.raises(ExplanationError, match="not of 3 s"):
        without_evidence(samples[:48_000], found)
    empty = replace(found, saliency=np.zeros_like(found.saliency))
    assert not only_evidence(samples, empty).any()
    np.testing.assert_allclose(without_evidence(samples, empty), samples, atol=1e-5)
