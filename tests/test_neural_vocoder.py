"""The neural vocoder: its pulses, its fundamental, what copies keep even before training, and what is said when it is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import pyworld
import torch
import torchaudio
from safetensors.torch import save_file
from vowels import vowel

from core.attacks.kind_records import SHIPPED_VOCODER, missing_vocoder
from core.attacks.neural import (
    SCHEMA_VERSION,
    NeuralVocoder,
    VocoderConfig,
    load_vocoder,
    log_mel_of,
    neural_vocoder,
    spoken_again,
    voice_of,
)
from core.attacks.neural_source import bridged_hz, fine_fundamental_hz, pulses
from core.attacks.resynthesis import fundamental_hz
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError

SMALL = VocoderConfig(width=16, num_blocks=1)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _network(config: VocoderConfig = SMALL) -> NeuralVocoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NeuralVocoder(config).eval()


def _written(folder: Path, network: NeuralVocoder, **changes: object) -> Path:
    folder.mkdir()
    save_file(network.half().state_dict(), folder / "weights.safetensors")
    manifest = {"schema_version": SCHEMA_VERSION, "config": asdict(network.config)} | changes
    (folder / "vocoder.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _tone(f0_hz: float, num_harmonics: int = 9) -> torch.Tensor:
    at_s = torch.arange(16_000) / SAMPLE_RATE_HZ
    return sum(torch.cos(2 * torch.pi * f0_hz * k * at_s) / k for k in range(1, num_harmonics + 1)).unsqueeze(0)


def test_pulses_by_hand() -> None:
    # 4 kHz has the harmonics 4 and 8 kHz; a sample is a quarter turn: cos(x) + cos(2 x) at x = 90, 180, 270, 360 degrees.
    made = pulses(torch.full((1, 2), 4_000.0), 8, phase=torch.zeros(1, 1))
    assert made[0].tolist() == pytest.approx([-1, 0, -1, 2] * 2, abs=1e-4)


def test_pulses_are_the_sum_of_their_harmonics() -> None:
    f0 = torch.linspace(110, 140, 201).unsqueeze(0)
    made = pulses(f0, 16_000, phase=torch.full((1, 1), 0.3))[0].numpy()
    at = np.interp(np.arange(16_000) / 80, np.arange(201), f0[0].numpy())
    phase = 2 * np.pi * (0.3 + np.cumsum(at / SAMPLE_RATE_HZ))
    num = np.floor(8_000 / at)
    wanted = sum(np.cos(k * phase) * (k <= num) for k in range(1, 80)) * np.sqrt(2 / num)
    assert made == pytest.approx(wanted, abs=0.03)
    assert float((made**2).mean()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("f0_hz", [83.3, 103.7, 203.3, 311.1, 387.9])
def test_the_fundamental_is_found_between_whole_lags(f0_hz: float) -> None:
    found = fine_fundamental_hz(_tone(f0_hz))[0, 20:-20]
    assert found.tolist() == pytest.approx([f0_hz] * len(found), rel=2e-3)


def test_the_fundamental_agrees_with_world_on_a_glide() -> None:
    at_s = torch.arange(32_000, dtype=torch.float64) / SAMPLE_RATE_HZ
    phase = 2 * torch.pi * (180 * at_s + 20 * at_s**2)  # 180 to 260 Hz
    glide = sum(torch.cos(k * phase) / k for k in range(1, 9))
    coarse, frames_s = pyworld.dio(glide.numpy(), SAMPLE_RATE_HZ, frame_period=5.0)
    wanted = pyworld.stonemask(glide.numpy(), coarse, frames_s, SAMPLE_RATE_HZ)[20:380]
    found = fine_fundamental_hz(glide.float().unsqueeze(0))[0, 20:380].numpy()
    assert np.median(np.abs(found / wanted - 1)) < 2e-3


def test_gaps_of_the_fundamental_are_bridged() -> None:
    gap = torch.zeros(1, 30)
    gap[0, 5:10], gap[0, 20:25] = 100.0, 200.0
    bridged, voiced = bridged_hz(gap)
    assert voiced[0].nonzero().flatten().tolist() == [*range(5, 10), *range(20, 25)]
    assert bridged[0, [0, 2, 7, 27]].tolist() == pytest.approx([100, 100, 100, 200])  # edges held
    assert bridged[0, 14].item() == pytest.approx(100 + 100 * 5 / 11, rel=1e-5)  # on the line from frame 9 to frame 20
    silent, nowhere = bridged_hz(torch.zeros(1, 30))
    assert silent.unique().numel() == 1
    assert silent.min() > 0
    assert not nowhere.any()


def test_the_mel_spectrogram_is_torchaudios() -> None:
    samples = vowel()
    reference = torchaudio.transforms.MelSpectrogram(SAMPLE_RATE_HZ, 1_024, hop_length=256, n_mels=80, power=1.0)(samples)
    assert torch.allclose(log_mel_of(samples, 80).exp(), reference.transpose(1, 2).clamp_min(1e-3), rtol=1e-4, atol=1e-5)


def test_a_copy_keeps_length_level_fundamental_and_mel_before_any_training() -> None:
    samples = vowel()
    made = spoken_again(_network(), samples, _generator())
    assert made.shape == samples.shape
    assert made.isfinite().all()
    assert float(made.square().mean()) == pytest.approx(float(samples.square().mean()), rel=1e-3)
    found, wanted = fundamental_hz(made), fundamental_hz(samples)
    both = (found > 0) & (wanted > 0)
    assert both.sum() > 0.6 * (wanted > 0).sum()
    assert float((found[both] / wanted[both]).median()) == pytest.approx(1.0, abs=0.01)
    loud = log_mel_of(samples, 80) > 0
    assert float((log_mel_of(made, 80) - log_mel_of(samples, 80)).abs()[loud].mean()) < 0.35  # 3 dB
    # Another signal all the same: the waveforms have nothing in common but chance.
    likeness = (made * samples).sum() / (made.norm() * samples.norm())
    assert float(likeness.abs()) < 0.5


def test_corrections_bring_the_mel_spectrogram_nearer() -> None:
    samples, distances = vowel(), []
    for num in (0, 1, 3):
        network = _network(VocoderConfig(width=16, num_blocks=1, num_corrections=num))
        made = spoken_again(network, samples, _generator())
        distances.append(float((log_mel_of(made, 80) - log_mel_of(samples, 80)).abs().mean()))
    assert distances[0] > 1.3 * distances[1] > 1.3 * distances[2]


def test_same_seed_same_bytes_and_another_seed_another_take() -> None:
    network, samples = _network(), vowel(num_samples=16_000)
    first, again, other = (spoken_again(network, samples, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).norm() > 0.1 * first.norm()


def test_takes_of_one_call_differ_in_chance_only() -> None:
    network = _network()
    takes = network(voice_of(vowel(num_samples=16_000), SMALL), _generator(), num_takes=2)
    assert takes.shape == (2, 1, 16_000)
    assert (takes[0] - takes[1]).norm() > 0.1 * takes[0].norm()


def test_gradients_reach_every_weight() -> None:
    network = _network()
    torch.nn.init.normal_(network.head.weight, std=0.01, generator=_generator())  # at 0 nothing behind it gets a gradient
    network(voice_of(vowel(num_samples=16_000), SMALL), _generator()).square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


@pytest.mark.parametrize("num_samples", [1_024, 1_025, 16_000, 20_001])
def test_any_length_from_64_ms(num_samples: int) -> None:
    made = spoken_again(_network(), vowel()[:, :num_samples], _generator())
    assert made.shape == (1, num_samples)
    assert made.isfinite().all()


def test_silence_stays_silence_and_bands_of_8_khz_sources_stay_empty() -> None:
    narrow = torchaudio.functional.resample(torchaudio.functional.resample(vowel(), 16_000, 8_000), 8_000, 16_000)
    made = spoken_again(_network(), torch.cat([torch.zeros(1, 32_000), narrow]), _generator())
    assert not made[0].any()
    power = torch.fft.rfft(made[1]).abs().square()
    assert power[len(power) * 5 // 8 :].sum() < 1e-2 * power.sum()


def test_too_short_says_so() -> None:
    with pytest.raises(CoreError, match="at least 1,024 samples"):
        spoken_again(_network(), torch.zeros(1, 1_023), _generator())


def test_a_missing_vocoder_says_what_to_do(tmp_path: Path) -> None:
    assert "training vocoder train" in (missing_vocoder(tmp_path) or "")
    with pytest.raises(CoreError, match=r"weights\.safetensors and vocoder\.json missing"):
        neural_vocoder(vowel(), _generator(), folder=tmp_path)


def test_a_folder_is_loaded_and_a_replaced_one_loaded_anew(tmp_path: Path) -> None:
    folder = _written(tmp_path / "v", _network())
    made = neural_vocoder(vowel(num_samples=16_000), _generator(), folder=folder)
    assert torch.equal(made, spoken_again(load_vocoder(folder), vowel(num_samples=16_000), _generator()))
    assert load_vocoder(folder) is load_vocoder(folder)
    assert missing_vocoder(folder) is None
    (folder / "vocoder.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CoreError, match="schema_version"):
        load_vocoder(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"config": {"width": 24}}, "does not hold a vocoder"),
        ({"config": {"depth": 3}}, "does not hold a vocoder"),
        ({"config": {"width": 0}}, "at least 1"),
    ],
)
def test_other_and_damaged_folders_are_refused(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(CoreError, match=words):
        load_vocoder(_written(tmp_path / "v", _network(), **changes))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    folder = _written(tmp_path / "v", _network())
    (folder / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(CoreError, match="does not hold a vocoder"):
        load_vocoder(folder)


@pytest.mark.skipif(missing_vocoder() is not None, reason="no vocoder is shipped")
def test_the_shipped_vocoder_is_as_close_to_speech_as_it_says() -> None:
    assert sum(path.stat().st_size for path in SHIPPED_VOCODER.iterdir()) < 8_000_000
    figures = json.loads((SHIPPED_VOCODER / "vocoder.json").read_text(encoding="utf-8"))["figures"]
    ours, theirs = figures["neural vocoder"], figures["Griffin-Lim from the same mel spectrogram"]
    assert ours["log_spectral_db"] <= theirs["log_spectral_db"]
    samples = vowel(140.0)
    made = neural_vocoder(samples, _generator())
    found = fundamental_hz(made)
    assert float(found[found > 0].median()) == pytest.approx(140.0, rel=0.02)
    assert float((log_mel_of(made, 80) - log_mel_of(samples, 80)).abs().mean()) < 0.5
