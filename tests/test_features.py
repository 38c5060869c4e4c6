"""core.features: what a tone, a gain and a hand-made waveform look like in a feature image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.detector_config import FEATURE_KINDS, HOP_SAMPLES, IMAGE_SIZE, WINDOW_SAMPLES, FeatureConfig
from core.errors import DetectorError
from core.features import build_front_end, decibels, standardise


def channels_of(kind: str, samples: torch.Tensor) -> torch.Tensor:
    """Image `[channel, 224, 224]` of samples `[64000]`."""
    with torch.inference_mode():
        return build_front_end(FeatureConfig(kind=kind))(samples[None])[0]


def image_of(kind: str, samples: torch.Tensor) -> torch.Tensor:
    """Its first channel, `[224, 224]`."""
    return channels_of(kind, samples)[0]


def tone(frequency_hz: float) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * frequency_hz * torch.arange(WINDOW_SAMPLES, dtype=torch.float64) / 16_000).float()


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_shape_axes_and_finiteness(kind: str, speech_like) -> None:
    front_end = build_front_end(FeatureConfig(kind=kind))
    windows = torch.stack([torch.from_numpy(speech_like(4.0)), torch.zeros(WINDOW_SAMPLES), torch.ones(WINDOW_SAMPLES)])
    image = front_end(windows)
    channels, rows, columns = FeatureConfig(kind=kind).image_shape
    assert image.shape == (3, channels, rows, columns)
    assert (rows, columns) == ((80, 400) if kind == "whisper_mel" else (224, 224))
    assert image.shape[1] == (3 if kind == "multi_resolution" else 1)
    assert image.dtype == torch.float32
    assert torch.isfinite(image).all()
    axes = front_end.axes()
    assert (len(axes.rows), len(axes.time_s)) == (rows, columns)
    assert list(axes.rows) == sorted(set(axes.rows))
    assert (axes.time_s[0], axes.time_s[-1]) == pytest.approx((0.0, 4.0), abs=0.02)
    assert np.allclose(np.diff(axes.time_s), 0.01 if kind == "whisper_mel" else HOP_SAMPLES / 16_000)


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(kind: str, speech_like) -> None:
    windows = torch.stack([torch.from_numpy(speech_like(4.0, seed)) for seed in range(3)])
    together = build_front_end(FeatureConfig(kind=kind))(windows)
    for window, image in zip(windows, together, strict=True):
        assert torch.allclose(channels_of(kind, window), image, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in FEATURE_KINDS if kind != "whisper_mel"])
@pytest.mark.parametrize("gain", [0.1, 0.01])
def test_loudness_is_no_cue(kind: str, gain: float, speech_like) -> None:
    samples = torch.from_numpy(speech_like(4.0))
    assert torch.allclose(channels_of(kind, gain * samples), channels_of(kind, samples), atol=2e-3)


def test_whispers_image_keeps_the_level_as_it_was_trained() -> None:
    samples = 0.1 * torch.randn(WINDOW_SAMPLES, generator=torch.Generator().manual_seed(0))
    louder, softer = channels_of("whisper_mel", samples), channels_of("whisper_mel", 0.1 * samples)
    assert torch.allclose(louder - softer, torch.tensor(0.5), atol=1e-3)  # 20 dB are 2 in log10 of power, divided by 4


@pytest.mark.parametrize("kind", ["log_spectrogram", "multi_resolution", "mel"])
@pytest.mark.parametrize("frequency_hz", [1_000.0, 300.0, 5_000.0])
def test_a_tone_lies_in_the_row_that_the_axes_name(kind: str, frequency_hz: float) -> None:
    rows = np.array(build_front_end(FeatureConfig(kind=kind)).axes().rows)
    expected = int(np.abs(rows - frequency_hz).argmin())
    for image in channels_of(kind, tone(frequency_hz)):
        assert set(image[:, 5:-5].argmax(dim=0).tolist()) == {expected}


@pytest.mark.parametrize("kind", ["log_spectrogram", "multi_resolution"])
def test_rows_of_the_spectrogram_by_hand(kind: str) -> None:
    rows = build_front_end(FeatureConfig(kind=kind)).axes().rows
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
    for kind in ("log_spectrogram", "multi_resolution", "mel", "waveform"):
        times = np.array(build_front_end(FeatureConfig(kind=kind)).axes().time_s)
        for image in channels_of(kind, samples):
            column = int(image.mean(dim=0).argmax())
            assert abs(times[column] - 2.0) <= 0.5 * HOP_SAMPLES / 16_000 + 1e-9


def test_the_first_of_several_resolutions_is_the_plain_spectrogram(speech_like) -> None:
    samples = torch.from_numpy(speech_like(4.0))
    assert torch.equal(channels_of("multi_resolution", samples)[0], image_of("log_spectrogram", samples))


def test_channels_against_numpy(speech_like) -> None:
    """Frame by frame: Hann windows of 32, 10 and 64 ms about one centre, every row 31.25 Hz above the last."""
    samples = speech_like(4.0).astype(np.float64)
    columns = range(10, 214)
    for image, window, num_fft in zip(
        channels_of("multi_resolution", torch.from_numpy(samples).float()), (512, 160, 1_024), (512, 512, 1_024)
    ):
        weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        starts = [column * HOP_SAMPLES - window // 2 for column in columns]
        frames = np.stack([samples[start : start + window] * weights for start in starts])
        power = np.abs(np.fft.rfft(frames, num_fft)[:, :: num_fft // 512][:, :224].T) ** 2
        level_db = 10 * np.log10(power)
        ours = image[:, columns.start : columns.stop].double().numpy()
        # Both are the level in dB but for one gain and one offset (standardising), where the floor of -80 dB does not cut.
        heard = level_db > level_db.max() - 70
        gain, offset = np.polyfit(level_db[heard], ours[heard], 1)
        assert np.abs(gain * level_db[heard] + offset - ours[heard]).max() < 2e-3


def test_the_short_window_parts_clicks_and_the_long_one_parts_harmonics() -> None:
    clicks = 1e-4 * torch.randn(WINDOW_SAMPLES, generator=torch.Generator().manual_seed(0))
    clicks[100 * HOP_SAMPLES] = clicks[101 * HOP_SAMPLES] = 1.0  # 17.9 ms apart
    harmonics = tone(1_000.0) + tone(1_062.5)  # two rows apart
    # How far the dip between two peaks lies below them, in standard deviations of the image: between frames there is none of
    # the grid, so what the window spreads is seen in the frame after the second click.
    medium, short, long = channels_of("multi_resolution", clicks)
    after = [float(image[:, 102].mean()) for image in (medium, short, long)]
    assert after[2] > after[0] + 1  # 64 ms reach over it, 32 ms and 10 ms do not
    assert after[2] > after[1] + 1
    medium, short, long = channels_of("multi_resolution", harmonics)
    dips = [
        float(image[32, 50:170].mean() + image[34, 50:170].mean() - 2 * image[33, 50:170].mean()) for image in (medium, short, long)
    ]
    assert dips[2] > dips[0] > dips[1]


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
