"""Matching: what is brought to the source's, and by how much it may be off."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torchaudio
from scipy import signal

from core.attacks.matching import (
    active_level,
    active_span,
    background_of,
    band_edge_hz,
    between_edges_of,
    spliced,
    with_band_of,
    with_channel_of,
    with_edges_of,
    with_level_of,
    with_mean_of,
)
from core.quality import QualityMeter

RATE_HZ = 16_000


def _noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))


def _narrow(samples: np.ndarray, cutoff_hz: int = 4_000) -> np.ndarray:
    down = torchaudio.functional.resample(torch.from_numpy(samples), RATE_HZ, 2 * cutoff_hz, lowpass_filter_width=64)
    return torchaudio.functional.resample(down, 2 * cutoff_hz, RATE_HZ, lowpass_filter_width=64).numpy()[: len(samples)]


def _with_edges(seconds: float, lead_s: float, tail_s: float, seed: int = 0) -> np.ndarray:
    samples = _noise(seconds, seed=seed)
    quiet = _noise(seconds, 1e-4, seed + 100)
    samples[: int(lead_s * RATE_HZ)] = quiet[: int(lead_s * RATE_HZ)]
    samples[len(samples) - int(tail_s * RATE_HZ) :] = quiet[len(samples) - int(tail_s * RATE_HZ) :]
    return samples


def test_the_level_is_that_of_the_loud_frames() -> None:
    """By hand: half at 0.2, half 34 dB below: 0.2, not the root mean square of all, 0.14."""
    samples = np.concatenate([np.full(RATE_HZ, 0.2), np.full(RATE_HZ, 0.004)])
    assert active_level(samples) == pytest.approx(0.2, rel=1e-3)
    assert active_level(with_level_of(3.7 * samples[:RATE_HZ], samples)) == pytest.approx(0.2, rel=1e-3)


def test_the_active_span_is_whole_frames() -> None:
    assert active_span(_with_edges(2.0, 0.5, 0.3)) == (8_000, 27_200)
    assert active_span(np.zeros(1_000)) == (0, 1_000)


def test_the_band_ends_where_the_quality_meter_says() -> None:
    narrow = _narrow(_noise(3.0))
    meter = QualityMeter()
    meter.update(torch.from_numpy(narrow).float())
    assert band_edge_hz(narrow) == pytest.approx(meter.result().bandwidth_hz, abs=150)
    assert 3_900 < band_edge_hz(narrow) < 4_200
    assert band_edge_hz(_noise(1.0)) == 8_000


def test_nothing_is_left_above_the_source_s_band_and_all_below() -> None:
    source, made = _narrow(_noise(2.0)), _noise(2.0, seed=1)
    matched = with_band_of(made, source)
    power, before = (np.square(np.abs(np.fft.rfft(each))) for each in (matched, made))
    hertz = np.fft.rfftfreq(len(made), 1 / RATE_HZ)
    assert 10 * np.log10(power[hertz > 4_300].sum() / before[hertz > 4_300].sum()) < -50
    assert 10 * np.log10(power[hertz < 3_700].sum() / before[hertz < 3_700].sum()) == pytest.approx(0, abs=0.2)


def test_a_wide_source_changes_nothing_and_nothing_is_added_at_the_top() -> None:
    wide, narrow = _noise(1.0), _narrow(_noise(1.0, seed=1))
    matched = with_band_of(narrow, wide)
    assert np.linalg.norm(matched - narrow) < 0.05 * np.linalg.norm(narrow)


def test_rumble_and_offset_that_the_source_has_not_are_taken_away() -> None:
    """A recording high-passed at 100 Hz against one with a hum at 20 Hz and an offset as strong as the speech."""
    high_pass = signal.butter(8, 100, "highpass", fs=RATE_HZ, output="sos")
    source, voice = signal.sosfilt(high_pass, _noise(2.0)), signal.sosfilt(high_pass, _noise(2.0, seed=1))
    hum = 0.1 + 0.1 * np.sin(2 * np.pi * 20 * np.arange(2 * RATE_HZ) / RATE_HZ)
    matched = with_band_of(voice + hum, source)
    assert matched.mean() == pytest.approx(source.mean(), abs=1e-9)
    power = np.square(np.abs(np.fft.rfft(matched[2_000:-2_000] - matched.mean())))
    assert power[:120].sum() < 1e-3 * power.sum()
    assert np.linalg.norm((matched - voice)[2_000:-2_000]) < 0.1 * np.linalg.norm(voice)


def test_the_channel_is_brought_to_the_source_s_in_octaves() -> None:
    """A slope of up to 6 dB per octave taken on: both long-term spectra agree within 2 dB afterwards."""
    steep = signal.lfilter([1.0], [1.0, -0.95], _noise(3.0))
    even = _noise(3.0, seed=1)
    made = with_channel_of(even, steep)

    def octaves_db(samples: np.ndarray) -> np.ndarray:
        power = np.square(np.abs(np.fft.rfft(samples)))
        edges = (125 * 2 ** np.arange(7) * len(samples) / RATE_HZ).astype(int)
        levels = 10 * np.log10([power[low:high].mean() for low, high in pairwise(edges)])
        return levels - levels.mean()

    assert np.abs(octaves_db(even) - octaves_db(steep)).max() > 8
    assert np.abs(octaves_db(made) - octaves_db(steep)).max() < 2


def test_the_mean_is_moved_within_the_span_alone() -> None:
    source, made = _noise(1.0) + 0.01, _noise(1.0, seed=1)
    moved = with_mean_of(made, source, 4_000, 12_000)
    assert moved.mean() == pytest.approx(source.mean(), abs=1e-12)
    assert np.array_equal(moved[:4_000], made[:4_000])
    assert np.array_equal(moved[12_000:], made[12_000:])


def test_edges_are_the_source_s_own_samples() -> None:
    source, made = _with_edges(2.0, 0.4, 0.6), _noise(2.0, seed=5)
    matched = with_edges_of(made, source)
    first, end = active_span(source)
    assert np.array_equal(matched[: first - 160], source[: first - 160])
    assert np.array_equal(matched[end + 160 :], source[end + 160 :])
    assert np.array_equal(matched[first:end], made[first:end])
    assert active_span(matched)[0] in (first, first - 320)


def test_without_edge_silence_all_is_the_made() -> None:
    made = _noise(1.0, seed=2)
    assert np.array_equal(with_edges_of(made, _noise(1.0)), made)


def test_other_speech_goes_between_the_edges() -> None:
    source, speech = _with_edges(2.0, 0.4, 0.6), _with_edges(3.0, 0.1, 0.1, seed=7)
    made = between_edges_of(speech, source)
    assert len(made) == int((0.4 + 2.8 + 0.6) * RATE_HZ)
    assert np.array_equal(made[:6_400], source[:6_400])
    assert np.array_equal(made[-9_000:], source[-9_000:])


def test_a_splice_fades_between_the_two_and_is_long_by_the_difference() -> None:
    source, part = np.full(1_000, 1.0), np.full(500, 3.0)
    made = spliced(source, part, 200, 600)
    assert len(made) == 1_100
    assert (made[:200] == 1.0).all()
    assert (made[360:540] == 3.0).all()
    assert (made[700:] == 1.0).all()
    assert np.abs(np.diff(made)).max() < 0.03  # 160 samples from 1 to 3
    assert np.array_equal(spliced(source, source[200:600], 200, 600), source)


def test_the_background_is_that_of_the_quiet_parts() -> None:
    """Low-passed noise in the pauses: its level and its slope come back."""
    quiet = np.convolve(_noise(2.0, 0.001, 3), np.ones(4) / 4, mode="same")
    source = np.concatenate([quiet[:16_000], _noise(3.0), quiet[16_000:]])
    made = background_of(source, 32_000, rng=np.random.default_rng(0))
    assert len(made) == 32_000
    assert np.sqrt(np.square(made).mean()) == pytest.approx(np.sqrt(np.square(quiet).mean()), rel=0.25)
    power = np.square(np.abs(np.fft.rfft(made)))
    assert power[:8_000].sum() > 5 * power[8_000:].sum()
    assert not background_of(np.concatenate([np.zeros(16_000), _noise(1.0)]), 100, rng=np.random.default_rng(0)).any()
