"""training.augment: channels are seeded, finite and do something; masks blank bands; a telephone does what a telephone does."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from training.augment import augment_samples, mask_image, telephone_line


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def speech(speech_like: Callable[..., np.ndarray]) -> torch.Tensor:
    """`[24, 64000]`."""
    return torch.from_numpy(np.stack([speech_like(4.0, i) for i in range(24)]))


@pytest.fixture(scope="module")
def augmented(speech: torch.Tensor) -> torch.Tensor:
    return augment_samples(speech, generator(1))


def test_augmentation_is_seeded_and_finite(speech: torch.Tensor, augmented: torch.Tensor) -> None:
    assert augmented.shape == speech.shape
    assert augmented.dtype == torch.float32
    assert torch.isfinite(augmented).all()
    assert augmented.abs().max() < 1.03  # 8-bit mu-law rounds full scale up to 1.022
    assert torch.equal(augment_samples(speech, generator(1)), augmented)
    other = augment_samples(speech, generator(2))
    assert all(not torch.allclose(a, b) for a, b in zip(augmented, other, strict=True))


def test_what_went_in_is_left_alone(speech: torch.Tensor) -> None:
    before = speech.clone()
    augment_samples(speech, generator(3))
    assert torch.equal(speech, before)


def test_each_recording_gets_a_channel_of_its_own(speech: torch.Tensor) -> None:
    same = augment_samples(speech[:1].repeat(8, 1), generator(0))
    assert all(not torch.allclose(same[i], same[j], atol=1e-3) for i in range(8) for j in range(i))


def test_speech_is_still_speech(speech: torch.Tensor, augmented: torch.Tensor) -> None:
    """The envelope over 50 ms stays: rooms and noise blur it, and no more."""

    def envelope(samples: torch.Tensor) -> torch.Tensor:
        level = samples.unflatten(-1, (-1, 800)).square().mean(-1).sqrt()
        return (level - level.mean(-1, keepdim=True)) / level.std(-1, keepdim=True)

    similarity = (envelope(speech) * envelope(augmented)).mean(-1)
    assert similarity.median() > 0.85
    assert similarity.min() > 0.3


@pytest.mark.parametrize("samples", [torch.zeros(2, 64_000), torch.ones(2, 64_000), 1e-7 * torch.ones(2, 64_000)])
def test_degenerate_sounds_stay_finite(samples: torch.Tensor) -> None:
    for seed in range(6):
        assert torch.isfinite(augment_samples(samples, generator(seed))).all()


@pytest.mark.parametrize("num_channels", [1, 3])
def test_masks_blank_whole_bands_in_every_channel(num_channels: int) -> None:
    image = 1 + torch.rand(16, num_channels, 224, 224, generator=generator(0))
    masked = mask_image(image, generator(1))
    blank = masked == 0
    assert torch.equal(masked[~blank], image[~blank])
    assert torch.equal(blank, blank[:, :1].expand_as(blank)), "the same bands in all channels"
    rows, columns = blank[:, 0].all(dim=2), blank[:, 0].all(dim=1)
    assert torch.equal(blank[:, 0], rows[:, :, None] | columns[:, None, :])
    for bands in (rows, columns):
        assert 0 < bands.sum(dim=1).max() <= 2 * 33
        assert len({tuple(each.tolist()) for each in bands}) > 10, "different in each image"
    assert torch.equal(mask_image(image, generator(1)), masked)
    assert not torch.equal(mask_image(image, generator(2)), masked)


def test_no_masks_change_nothing() -> None:
    image = torch.rand(2, 1, 224, 224, generator=generator(0))
    assert torch.equal(mask_image(image, generator(0), num_masks=0), image)


def test_a_telephone_line_passes_speech_and_stops_the_rest() -> None:
    time_s = torch.arange(32_000) / 16_000
    for tone_hz, low, high in ((1_000, 0.9, 1.1), (6_000, 0.0, 0.02), (60, 0.0, 0.1)):
        passed = telephone_line(0.3 * torch.sin(2 * torch.pi * tone_hz * time_s))
        assert low <= passed[4_000:-4_000].abs().max() / 0.3 <= high


def test_a_telephone_line_adds_the_noise_of_eight_bits() -> None:
    time_s = torch.arange(32_000) / 16_000
    tone = 0.3 * torch.sin(2 * torch.pi * 1_000 * time_s)
    passed = telephone_line(tone)
    assert passed.shape == tone.shape
    middle = passed[8_000:24_000].double()
    basis = torch.stack([torch.sin(2 * math.pi * 1_000 * time_s), torch.cos(2 * math.pi * 1_000 * time_s)], dim=1)[
        8_000:24_000
    ].double()
    fitted = basis @ torch.linalg.lstsq(basis, middle[:, None]).solution
    ratio_db = 10 * torch.log10(fitted.square().mean() / (middle[:, None] - fitted).square().mean())
    assert 30 < ratio_db < 45, "mu-law gives about 38 dB at any level"
