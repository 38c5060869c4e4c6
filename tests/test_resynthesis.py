"""Copy synthesis: what each maker keeps of the speech, and what it must not leave alone."""

from __future__ import annotations

import pytest
import torch
import torchaudio

from core.attacks.resynthesis import MAKERS, fundamental_hz, griffin_lim, mel_inversion, source_filter
from core.audio import SAMPLE_RATE_HZ

F0_HZ = 125.0
FORMANTS_HZ = (700.0, 1_220.0, 2_600.0)
AROUND_HZ = ((450, 950), (950, 1_600), (2_000, 3_200))


@pytest.fixture(scope="module")
def vowel() -> torch.Tensor:
    """`[1, 32000]`: two seconds of pulses through three resonances, with a pause in the middle."""
    samples = torch.zeros(32_000)
    samples[:: int(SAMPLE_RATE_HZ / F0_HZ)] = 1.0
    samples += 0.002 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    for formant_hz in FORMANTS_HZ:
        radius = torch.exp(torch.tensor(-torch.pi * 80.0 / SAMPLE_RATE_HZ))
        turn = torch.cos(torch.tensor(2 * torch.pi * formant_hz / SAMPLE_RATE_HZ))
        feedback = torch.stack([torch.ones(()), -2 * radius * turn, radius**2])
        samples = torchaudio.functional.lfilter(samples, feedback, torch.tensor([1.0, 0.0, 0.0]), clamp=False)
    samples[14_000:18_000] *= 1e-3
    return (0.3 * samples / samples.abs().max()).unsqueeze(0)


def _made(name: str, samples: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return MAKERS[name](samples, torch.Generator().manual_seed(seed))


def _magnitudes(samples: torch.Tensor) -> torch.Tensor:
    return torchaudio.functional.spectrogram(samples, 0, torch.hann_window(1_024), 1_024, 256, 1_024, 1.0, False)


def _distance(made: torch.Tensor, samples: torch.Tensor) -> float:
    """Spectral convergence: the norm of the difference of magnitudes over the norm of the magnitudes."""
    wanted = _magnitudes(samples)
    return float((_magnitudes(made) - wanted).norm() / wanted.norm())


def _formants_hz(samples: torch.Tensor) -> list[float]:
    """Where the long-term spectrum, smoothed over two harmonics, is strongest around each formant."""
    level = _magnitudes(samples).square().mean(dim=(0, 2)).log()
    smooth = torch.nn.functional.avg_pool1d(level.view(1, 1, -1), 17, stride=1, padding=8, count_include_pad=False).flatten()
    bins = [(int(low * 1_024 / SAMPLE_RATE_HZ), int(high * 1_024 / SAMPLE_RATE_HZ)) for low, high in AROUND_HZ]
    return [(low + int(smooth[low:high].argmax())) * SAMPLE_RATE_HZ / 1_024 for low, high in bins]


@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_keeps_length_level_and_fundamental_but_is_another_signal(name: str, vowel: torch.Tensor) -> None:
    made = _made(name, vowel)
    assert made.shape == vowel.shape
    assert made.isfinite().all()
    assert float(made.square().mean()) == pytest.approx(float(vowel.square().mean()), rel=1e-3)
    assert (made - vowel).norm() > 0.05 * vowel.norm()
    f0 = fundamental_hz(made)
    assert float(f0[f0 > 0].median()) == pytest.approx(F0_HZ, rel=0.03)
    assert torch.equal(made, _made(name, vowel))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("length", [1_600, 16_000])
def test_silence_and_short_clips_pass_through_every_maker(name: str, length: int, vowel: torch.Tensor) -> None:
    assert _made(name, vowel[:, :length]).shape == (1, length)
    assert torch.equal(_made(name, torch.zeros(2, length)), torch.zeros(2, length))


def test_griffin_lim_keeps_the_magnitudes_and_more_iterations_keep_them_better(vowel: torch.Tensor) -> None:
    few, many = (griffin_lim(vowel, torch.Generator().manual_seed(0), num_iterations=num) for num in (2, 60))
    assert _distance(many, vowel) < 0.15
    assert _distance(many, vowel) < _distance(few, vowel)
    correlation = (many * vowel).sum() / many.norm() / vowel.norm()
    assert abs(correlation) < 0.9, "the phase is the original's"


def test_mel_smoothing_keeps_the_phase_and_fewer_bands_lose_more(vowel: torch.Tensor) -> None:
    few, many = (mel_inversion(vowel, torch.Generator(), num_mels=num, phase="original") for num in (20, 120))
    assert (many * vowel).sum() / many.norm() / vowel.norm() > 0.9
    assert _distance(many, vowel) < _distance(few, vowel)


@pytest.mark.parametrize("name", ["lpc_copy", "cepstral_copy"])
def test_the_source_filter_copies_keep_the_formants(name: str, vowel: torch.Tensor) -> None:
    assert _formants_hz(vowel) == pytest.approx(FORMANTS_HZ, rel=0.1)
    assert _formants_hz(_made(name, vowel)) == pytest.approx(FORMANTS_HZ, rel=0.1)


def test_noise_takes_over_above_the_maximum_voiced_frequency(vowel: torch.Tensor) -> None:
    """Between harmonics there is a valley where pulses excite, and none where noise does."""
    made = source_filter(vowel, torch.Generator().manual_seed(0), voiced_up_to_hz=3_000.0)
    level = _magnitudes(made[:, :14_000]).square().mean(dim=(0, 2))
    bin_hz = SAMPLE_RATE_HZ / 1_024

    def depth_db(low_hz: float, high_hz: float) -> float:
        harmonics = torch.arange(low_hz, high_hz, F0_HZ)
        on, between = level[(harmonics / bin_hz).round().long()], level[((harmonics + F0_HZ / 2) / bin_hz).round().long()]
        return float(10 * torch.log10(on.mean() / between.mean()))

    assert depth_db(1_000, 2_500) > 10
    assert depth_db(4_000, 7_000) < 5


def test_unvoiced_sound_has_no_fundamental() -> None:
    noise = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    assert (fundamental_hz(noise) > 0).float().mean() < 0.02
    assert (fundamental_hz(torch.zeros(1, 16_000)) == 0).all()
