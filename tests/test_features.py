"""core.features: what a tone, a gain and a hand-made waveform look like in a feature image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.errors import DetectorError
from core.features import (
    FEATURE_KINDS,
    HOP_SAMPLES,
    IMAGE_SIZE,
    WINDOW_SAMPLES,
    FeatureConfig,
    build_front_end,
    decibels,
    standardise,
)


def image_of(kind: str, samples: torch.Tensor) -> torch.Tensor:
    """Image `[224, 224]` of samples `[64000]`."""
    with torch.inference_mode():
        return build_front_end(FeatureConfig(kind=kind))(samples[None])[0, 0]


def tone(frequency_hz: float) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * frequency_hz * torch.arange(WINDOW_SAMPLES, dtype=torch.float64) / 16_000).float()


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_shape_axes_and_finiteness(kind: str, speech_like) -> None:
    front_end = build_front_end(FeatureConfig(kind=kind))
    windows = torch.stack([torch.from_numpy(speech_like(4.0)), torch.zeros(WINDOW_SAMPLES), torch.ones(WINDOW_SAMPLES)])
    image = front_end(windows)
    assert image.shape == (3, 1, 224, 224)
    assert image.dtype == torch.float32
    assert torch.isfinite(image).all()
    axes = front_end.axes()
    assert len(axes.time_s) == len(axes.rows) == 224
    assert list(axes.rows) == sorted(set(axes.rows))
    assert (axes.time_s[0], axes.time_s[-1]) == pytest.approx((0.0, 4.0), abs=0.02)
    assert np.allclose(np.diff(axes.time_s), HOP_SAMPLES / 16_000)


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(kind: str, speech_like) -> None:
    windows = torch.stack([torch.from_numpy(speech_like(4.0, seed)) for seed in range(3)])
    together = build_front_end(FeatureConfig(kind=kind))(windows)
    for window, image in zip(windows, together, strict=True):
        assert torch.allclose(image_of(kind, window), image[0], atol=1e-4)


@pytest.mark.parametrize("kind", FEATURE_KINDS)
@pytest.mark.parametrize("gain", [0.1, 0.01])
def test_loudness_is_no_cue(kind: str, gain: float, speech_like) -> None:
    samples = torch.from_numpy(speech_like(4.0))
    assert torch.allclose(image_of(kind, gain * samples), image_of(kind, samples), atol=2e-3)


@pytest.mark.parametrize("kind", ["log_spectrogram", "mel"])
@pytest.mark.parametrize("frequency_hz", [1_000.0, 300.0, 5_000.0])
def test_a_tone_lies_in_the_row_that_the_axes_name(kind: str, frequency_hz: float) -> None:
    rows = np.array(build_front_end(FeatureConfig(kind=kind)).axes().rows)
    image = image_of(kind, tone(frequency_hz))
    expected = int(np.abs(rows - frequency_hz).argmin())
    assert set(image[:, 5:-5].argmax(dim=0).tolist()) == {expected}


def test_rows_of_the_spectrogram_by_hand() -> None:
    rows = build_front_end(FeatureConfig()).axes().rows
    assert (rows[0], rows[1], rows[32], rows[-1]) == (0.0, 31.25, 1_000.0, 6_968.75)


def test_rows_of_the_mel_spectrogram_are_the_filters_own_centres() -> None:
    front_end = build_front_end(FeatureConfig(kind="mel"))
    # Bank [bin, band]: the centre of mass of each triangle, where it spans enough bins to have one.
    bank = front_end.transform.mel_scale.fb.double()
    frequencies_hz = torch.linspace(0, 8_000, len(bank), dtype=torch.float64)
    centres = (bank * frequencies_hz[:, None]).sum(dim=0) / bank.sum(dim=0)
    assert np.allclose(front_end.axes().rows[100:], centres[100:], rtol=0.01)


def test_a_click_lies_in_the_column_that_the_axes_name() -> None:
    samples = 1e-4 * torch.randn(WINDOW_SAMPLES, generator=torch.Generator().manual_seed(0))
    samples[32_000] = 1.0
    for kind in ("log_spectrogram", "mel", "waveform"):
        times = np.array(build_front_end(FeatureConfig(kind=kind)).axes().time_s)
        column = int(image_of(kind, samples).mean(dim=0).argmax())
        assert abs(times[column] - 2.0) <= 0.5 * HOP_SAMPLES / 16_000 + 1e-9


def test_spectrogram_levels_by_hand() -> None:
    # Two halves 20 dB apart: before standardising, the tone's row differs by 20 dB between them.
    samples = tone(1_000.0)
    samples[32_000:] *= 0.1
    power = build_front_end(FeatureConfig()).transform(samples[None])[:, :IMAGE_SIZE]
    level_db = decibels(power, 80.0)[0, 32]
    assert float(level_db[50] - level_db[170]) == pytest.approx(20.0, abs=0.01)


def test_decibels_by_hand() -> None:
    power = torch.tensor([[[1.0, 0.1], [1e-4, 0.0]]])
    assert torch.allclose(decibels(power, 30.0), torch.tensor([[[0.0, -10.0], [-30.0, -30.0]]]))


def test_standardise_by_hand() -> None:
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    deviation = math.sqrt(5 / 3)  # of 1, 2, 3, 4 with n - 1
    assert torch.allclose(standardise(image), (image - 2.5) / deviation)
    assert torch.equal(standardise(torch.full((1, 2, 2), 7.0)), torch.zeros(1, 2, 2))


def test_cepstra_are_standardised_over_time(speech_like) -> None:
    for kind in ("lfcc", "mfcc"):
        image = image_of(kind, torch.from_numpy(speech_like(4.0)))
        assert torch.allclose(image.mean(dim=1), torch.zeros(224), atol=1e-4)
        assert torch.allclose(image.std(dim=1), torch.ones(224), atol=1e-3)


def test_waveform_is_drawn_exactly() -> None:
    samples = torch.zeros(WINDOW_SAMPLES)
    samples[0] = 0.5  # column 0 reaches from 0 to the peak: rows 112 to 223, and 111 touches 0
    samples[10 * HOP_SAMPLES : 11 * HOP_SAMPLES : 2] = -0.25  # column 10 reaches from half the negative peak to 0
    image = image_of("waveform", samples)
    # Row i is centred on (2 i + 1) / 224 - 1. Half a row (1 / 224) is added to either side of what is drawn.
    expected = torch.zeros(224, 224)
    expected[111:113] = 1.0  # 0 lies on the border of rows 111 and 112
    expected[111:, 0] = 1.0
    expected[55:113, 10] = 1.0  # -1/2 lies on the border of rows 55 and 56
    assert torch.equal(image, expected)


def test_waveform_fills_to_both_peaks() -> None:
    image = image_of("waveform", torch.tensor([0.3, -0.3]).repeat(WINDOW_SAMPLES // 2))
    assert torch.equal(image, torch.ones(224, 224))


@pytest.mark.parametrize("fields", [{"kind": "cqt"}, {"dynamic_range_db": 10.0}, {"dynamic_range_db": 200.0}])
def test_unknown_configurations_are_refused(fields: dict) -> None:
    with pytest.raises(DetectorError, match="expected"):
        FeatureConfig(**fields)
