"""Training the vocoder: its losses by hand, who is drawn, exact resume, the measures that judge it, and what is published."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from prepared_data import noise, write_prepared
from vowels import vowel

from core.attacks.neural import VocoderConfig, load_vocoder, neural_vocoder
from core.errors import CoreError
from training import vocoder_publish
from training.__main__ import main
from training.checkpoint import load_state
from training.data import LabelledSplit, load_split
from training.vocoder import CHECKPOINT_FILE, train_vocoder, trained_vocoder
from training.vocoder_batches import LEVEL, BonaFideCrops, bona_fide_recordings, generator_at
from training.vocoder_discriminators import SpectrogramDiscriminators
from training.vocoder_evaluation import GRIFFIN_LIM_OF_MEL, MEASURES, VOCODER, Closeness, as_table, closeness, differences, measured
from training.vocoder_losses import (
    adversarial_loss,
    critic_loss,
    energy_distance,
    log_magnitude,
    matching_loss,
    spectra_of,
    spectral_distance,
)
from training.vocoder_run import LOG_FILE, VocoderRecipe

TINY = VocoderRecipe(
    network=VocoderConfig(width=8, num_blocks=1), num_steps=6, batch_size=2, crop_samples=4_096, adversarial_from=3
)


def _speech(spoof: bool, rng: np.random.Generator) -> np.ndarray:
    """Vowels are bona fide, noise is spoof: who draws noise draws spoofs."""
    if spoof:
        return noise(8_000, rng)
    return 0.5 * vowel(float(rng.uniform(100, 200)), num_samples=8_000)[0].numpy()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("vocoder") / "data", _speech, sizes={"train": 12, "dev": 6})


@pytest.fixture(scope="module")
def split(prepared: Path) -> LabelledSplit:
    return load_split(prepared, "train")


def _train(split: LabelledSplit, data: Path, run: Path, recipe: VocoderRecipe = TINY, seed: int = 0) -> Path:
    return train_vocoder(recipe, split, run, seed=seed, data_folder=data, say=lambda _: None)


def test_log_magnitude_is_torchaudios() -> None:
    samples = vowel()
    wanted = torchaudio.functional.spectrogram(samples, 0, torch.hann_window(512), 512, 128, 512, 2.0, False)
    assert torch.allclose(log_magnitude(samples, 512), 0.5 * (2 * wanted + 1e-6).log(), atol=1e-4)


def test_energy_distance_by_hand() -> None:
    first, second, real = ([torch.tensor([value])] for value in (1.0, 4.0, 2.0))
    assert float(spectral_distance(first, real)) == 1.0
    assert float(energy_distance([first, second], real)) == pytest.approx(1 + 2 - 3)
    assert float(energy_distance([second, second], real)) == pytest.approx(2 + 2 - 0)


def test_energy_distance_prefers_chance_where_there_is_chance_and_the_plain_distance_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    real, first, second = ([torch.randn(20_000, generator=generator)] for _ in range(3))
    fixed = [torch.zeros(20_000)]  # the median: nothing is random any more
    assert spectral_distance(fixed, real) < spectral_distance(first, real)
    assert float(energy_distance([first, second], real)) == pytest.approx(2 / np.pi**0.5, abs=0.03)
    assert float(energy_distance([fixed, fixed], real)) == pytest.approx(2 * (2 / np.pi) ** 0.5, abs=0.03)  # 1.60 over 1.13


def test_critics_losses_by_hand() -> None:
    of_real, of_made = [torch.tensor([2.0, 0.5])], [torch.tensor([-3.0, 0.0])]
    assert float(critic_loss(of_real, of_made)) == pytest.approx((0 + 0.5) / 2 + (0 + 1) / 2)
    assert float(adversarial_loss(of_made)) == pytest.approx(1.5)
    assert float(matching_loss([[torch.tensor([2.0, -2.0])]], [[torch.tensor([1.0, -2.0])]])) == pytest.approx(0.5 / 2)


def test_critics_learn_to_tell_noise_from_vowels() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critics = SpectrogramDiscriminators()
        real, made = vowel()[:, :8_192].repeat(2, 1), 0.05 * torch.randn(2, 8_192)
    optimizer = torch.optim.Adam(critics.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = critic_loss(critics(real)[0], critics(made)[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_only_bona_fide_speech_is_drawn_and_the_draw_follows_from_the_step(split: LabelledSplit) -> None:
    crops = BonaFideCrops(split, crop_samples=4_096, seed=3)
    assert crops.chosen.tolist() == [i for i in range(len(split)) if not split.is_spoof[i]]
    batch = crops.batch(5, 16)
    assert torch.equal(batch, BonaFideCrops(split, crop_samples=4_096, seed=3).batch(5, 16))
    assert not torch.equal(batch, crops.batch(6, 16))
    assert not torch.equal(batch, BonaFideCrops(split, crop_samples=4_096, seed=4).batch(5, 16))
    # White noise is flat to 8 kHz; the vowels' upper half has nearly nothing.
    power = torch.fft.rfft(batch).abs().square()
    assert (power[:, 1_200:].sum(dim=1) < 0.05 * power.sum(dim=1)).all()


def test_short_recordings_are_repeated_and_levels_are_alike(split: LabelledSplit) -> None:
    batch = BonaFideCrops(split, crop_samples=20_000, seed=0).batch(0, 8)
    assert batch.shape == (8, 20_000)
    assert torch.equal(batch[:, :4_000], batch[:, 8_000:12_000])
    for each in bona_fide_recordings(split):
        assert float(each.square().mean().sqrt()) == pytest.approx(LEVEL, rel=1e-4)


def test_no_bona_fide_speech_is_an_error(tmp_path: Path) -> None:
    def silent(spoof: bool, rng: np.random.Generator) -> np.ndarray:
        return noise(4_000, rng) if spoof else np.zeros(4_000)

    folder = write_prepared(tmp_path / "data", silent, sizes={"train": 4})
    with pytest.raises(CoreError, match="no bona fide speech"):
        BonaFideCrops(load_split(folder, "train"), crop_samples=4_096, seed=0)


def test_a_resumed_run_equals_an_uninterrupted_one(split: LabelledSplit, prepared: Path, tmp_path: Path) -> None:
    whole = load_state(_train(split, prepared, tmp_path / "whole"))
    # The learning rate of steps 0 to 3 is that of a run of 6: the interruption is a raised exception, as a kill would be.
    for stop_at in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            _interrupted(split, prepared, tmp_path / "parts", stop_at)
    parts = load_state(_train(split, prepared, tmp_path / "parts"))
    assert parts["step"] == whole["step"] == 6
    for name in ("network", "average", "critics"):
        for key, tensor in whole[name].items():
            assert torch.equal(tensor, parts[name][key]), (name, key)


def _interrupted(split: LabelledSplit, data: Path, run: Path, stop_at: int) -> None:
    from training import vocoder

    class Stopping(vocoder._Trainer):
        def take_step(self) -> dict[str, float]:
            if self.step == stop_at:
                self.save(run / CHECKPOINT_FILE)
                raise KeyboardInterrupt
            return super().take_step()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocoder, "_Trainer", Stopping)
        _train(split, data, run)


def test_training_comes_nearer(split: LabelledSplit, prepared: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, num_steps=100, adversarial_from=1_000, crop_samples=2_048, learning_rate=1e-2)
    _train(split, prepared, tmp_path / "run", recipe)
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [50, 100]
    assert lines[1]["energy_distance"] < 0.9 * lines[0]["energy_distance"]


def test_a_run_may_be_lengthened_but_not_changed(split: LabelledSplit, prepared: Path, tmp_path: Path) -> None:
    short = replace(TINY, num_steps=1)
    _train(split, prepared, tmp_path, short)
    _train(split, prepared, tmp_path, replace(short, num_steps=2))
    assert trained_vocoder(tmp_path)[1]["step"] == 2
    for recipe, seed in ((replace(short, batch_size=3), 0), (short, 1)):
        with pytest.raises(CoreError, match="another recipe, seed or data"):
            _train(split, prepared, tmp_path, recipe, seed)


def test_a_loss_that_is_not_finite_ends_the_run(split: LabelledSplit, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="lower learning rate"):
        _train(split, prepared, tmp_path, replace(TINY, learning_rate=1e30))


def test_no_run_and_no_checkpoint_say_so(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="no run of the vocoder"):
        trained_vocoder(tmp_path)
    with pytest.raises(CoreError, match="at least 1 step"):
        VocoderRecipe(num_steps=0)


def test_measures_by_hand() -> None:
    real = vowel()[0]
    same = closeness(real, real)
    assert set(same.values()) == {0.0}
    hiss = 0.1 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    louder = closeness(2 * hiss, hiss)
    for name in ("log_spectral_db", "long_log_spectral_db", "short_log_spectral_db", "mel_db"):
        assert louder[name] == pytest.approx(20 * np.log10(2), abs=1e-3)
    higher = closeness(vowel(125 * 2 ** (1 / 12))[0], real)  # a semitone, but periods are whole samples
    assert higher["f0_cents"] == pytest.approx(100, abs=12)
    assert higher["gross_f0"] < 0.02
    octave = closeness(vowel(250.0)[0], real)
    assert octave["gross_f0"] > 0.95


def test_two_noises_are_as_far_apart_as_their_distribution_says() -> None:
    # 10 log10 of exponentially distributed powers has a standard deviation of 5.57 dB; a difference of two sqrt(2) times that.
    first, second = 0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(0))
    assert closeness(first, second)["long_log_spectral_db"] == pytest.approx(5.57 * 2**0.5, abs=0.2)


def test_differences_are_paired() -> None:
    first, second = (Closeness(**{name: np.array(values) for name in MEASURES}) for values in ([1.0, 5.0, 3.0], [2.0, 6.5, 3.5]))
    mean, half = differences(first, second)["mel_db"]
    assert mean == pytest.approx(-1.0)
    assert half == pytest.approx(1.96 * 0.5 / 3**0.5)
    assert "| first | 3.00 |" in as_table({"first": first})


def test_measured_is_seeded(split: LabelledSplit) -> None:
    recordings = bona_fide_recordings(split)[:2]

    def noisy(samples: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return samples + 0.01 * torch.randn(samples.shape, generator=generator)

    first, again = (measured(noisy, recordings, seed=seed).log_spectral_db for seed in (0, 0))
    assert first.tolist() == again.tolist()
    assert measured(noisy, recordings, seed=1).log_spectral_db.tolist() != first.tolist()
    assert torch.equal(torch.rand(3, generator=generator_at(1, 2)), torch.rand(3, generator=generator_at(1, 2)))


def _pretended(ours: float, *_: object) -> dict[str, Closeness]:
    made = {VOCODER: ours, GRIFFIN_LIM_OF_MEL: 6.0}
    return {name: Closeness(**{measure: np.array([value, value + 0.5]) for measure in MEASURES}) for name, value in made.items()}


def test_publishing_refuses_what_is_further_than_griffin_lim_and_writes_what_is_nearer(
    split: LabelledSplit, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(split, prepared, tmp_path / "run", replace(TINY, num_steps=2))
    out = tmp_path / "vocoder"
    monkeypatch.setattr(vocoder_publish, "compare", partial(_pretended, 6.1))
    with pytest.raises(CoreError, match="not published"):
        vocoder_publish.publish_vocoder(tmp_path / "run", out)
    assert not out.exists()
    monkeypatch.setattr(vocoder_publish, "compare", partial(_pretended, 5.5))
    report = vocoder_publish.publish_vocoder(tmp_path / "run", out)
    assert "at least as close" in (out / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((out / "vocoder.json").read_text(encoding="utf-8"))
    assert manifest["figures"][VOCODER]["log_spectral_db"] == 5.75
    assert manifest["data"]["train"] == split.data_hash
    assert manifest["step"] == 2
    for name, weight in load_vocoder(out).state_dict().items():  # what was measured is what is loaded
        assert torch.equal(weight, report.network.state_dict()[name])
    assert neural_vocoder(vowel(num_samples=8_000), torch.Generator().manual_seed(0), folder=out).isfinite().all()


def test_the_command_line_trains_and_measures(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training import vocoder, vocoder_run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocoder_run, "VocoderRecipe", lambda: TINY)
        patch.setattr(vocoder, "_LOG_EVERY_STEPS", 1)
        arguments = ["vocoder", "train", "--data", str(prepared), "--run", str(tmp_path / "run"), "--steps", "4"]
        assert main(arguments) == 0
        assert main(arguments) == 0
    assert "going on after step 4" in capsys.readouterr().out
    assert main(["vocoder", "measure", "--run", str(tmp_path / "run"), "--every", "3"]) == 0
    assert "Griffin-Lim from full magnitudes" in capsys.readouterr().out
    for part in ("train", "measure", "publish"):
        assert main(["vocoder", part, "--run", str(tmp_path / "nothing")]) == 1
    assert "training needs --data" in capsys.readouterr().err


def test_the_same_speech_is_nearest() -> None:
    real = spectra_of(vowel())
    other = spectra_of(vowel(160.0))
    assert float(energy_distance([real, real], real)) == 0.0
    assert float(energy_distance([other, other], real)) > 0.1
