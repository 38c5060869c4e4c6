"""training: crops, augmentation, made spoofs, the loop's resume, publishing; on a tiny made-up corpus."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from core.checkpoints import load_detector
from core.errors import CoreError
from core.features import FeatureConfig
from training.augment import augment_samples, mask_image, telephone_line
from training.data import balanced_weights, load_split, random_crop, trim_edges
from training.evaluate import figures_of, verdict_shares
from training.loop import load_trained, train
from training.publish import publish
from training.recipes import Recipe

RECIPE = Recipe(name="tiny", model="vgg27", features=FeatureConfig(), num_epochs=2, batch_size=4)


@pytest.fixture(scope="module")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory, speech_like) -> Path:
    """Eight recordings a split: bona fide as they are, spoofs low-passed, which vgg27 learns at once."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "protocols").mkdir()
    for split_number, split in enumerate(("train", "dev", "test")):
        (root / split).mkdir()
        lines = []
        for i in range(12):
            samples, spoof = speech_like(1.5 + i % 3, 100 * split_number + i), i % 2 == 1
            if spoof:
                samples = np.convolve(samples, np.ones(16) / 16, mode="same")
            soundfile.write(root / split / f"{split}{i}.flac", samples, 16_000)
            lines.append(f"S{i % 4} {split}{i} - {'slow' if spoof else '-'} {'spoof' if spoof else 'bonafide'}\n")
        (root / "protocols" / f"EW.{split}.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def splits(tiny_corpus: Path) -> dict:
    return {split: load_split(tiny_corpus, split) for split in ("train", "dev", "test")}


def test_a_split_holds_what_the_protocol_says(splits) -> None:
    assert splits["train"].is_spoof.tolist() == [False, True] * 6
    assert splits["train"].samples[0].dtype == torch.int16
    assert len(splits["train"].samples[0]) == 24_000
    assert len({split.data_hash for split in splits.values()}) == 3


def test_missing_audio_is_named(tiny_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_corpus, tmp_path / "c")
    (tmp_path / "c" / "dev" / "dev3.flac").unlink()
    with pytest.raises(CoreError, match=r"1 recordings .* missing .* dev3"):
        load_split(tmp_path / "c", "dev")
    with pytest.raises(CoreError, match="EARWITNESS_CORPUS"):
        load_split(tmp_path / "none", "dev")


def test_classes_are_drawn_equally_and_large_sources_damped(splits) -> None:
    split = dataclasses.replace(splits["train"], groups=("a",) * 8 + ("b",) * 4)
    weights = balanced_weights(split)
    spoof = torch.from_numpy(split.is_spoof)
    assert weights[spoof].sum() == pytest.approx(1.0)
    assert weights[~spoof].sum() == pytest.approx(1.0)
    # Of the spoofs 4 are in a and 2 in b: totals of sqrt(4) and sqrt(2).
    assert weights[spoof][:4].sum() / weights[spoof][4:].sum() == pytest.approx(2 / 2**0.5)


def test_crops_fill_the_window(splits) -> None:
    rng = np.random.default_rng(0)
    for samples in splits["train"].samples:
        crop = random_crop(samples, rng)
        assert crop.shape == (64_000,)
        assert crop.abs().max() > 0.01


def test_edges_are_trimmed_to_the_sound() -> None:
    samples = torch.zeros(32_000, dtype=torch.int16)
    samples[9_600:19_200] = 8_000
    assert len(trim_edges(samples, keep_s=0.0, range_db=30.0)) == 9_600
    assert len(trim_edges(samples, keep_s=0.1, range_db=30.0)) == 9_600 + 3_200
    assert len(trim_edges(torch.zeros(1_000, dtype=torch.int16), keep_s=0.0, range_db=30.0)) == 1_000


def test_augmentation_is_seeded_finite_and_changes_the_sound(speech_like) -> None:
    samples = torch.from_numpy(np.stack([speech_like(4.0, i) for i in range(16)]))
    first = augment_samples(samples, torch.Generator().manual_seed(1))
    again = augment_samples(samples, torch.Generator().manual_seed(1))
    other = augment_samples(samples, torch.Generator().manual_seed(2))
    assert first.shape == samples.shape
    assert torch.isfinite(first).all()
    assert first.abs().max() < 1.1
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_masks_fill_with_zero() -> None:
    image = torch.ones(4, 1, 224, 224)
    masked = mask_image(image, torch.Generator().manual_seed(0))
    assert 0.02 < 1 - masked.mean() < 0.6
    assert set(masked.unique().tolist()) == {0.0, 1.0}


def test_a_telephone_line_passes_speech_and_stops_the_rest() -> None:
    time_s = torch.arange(32_000) / 16_000
    for tone_hz, low, high in ((1_000, 0.9, 1.1), (6_000, 0.0, 0.02), (60, 0.0, 0.1)):
        passed = telephone_line(0.3 * torch.sin(2 * torch.pi * tone_hz * time_s))
        assert low <= passed[4_000:-4_000].abs().max() / 0.3 <= high


def test_made_spoofs_join_the_split(splits) -> None:
    if not all(map(shutil.which, ("espeak-ng", "flite", "text2wave"))):
        pytest.skip("needs espeak-ng, flite and festival")
    from training.made import add_made_spoofs

    split = add_made_spoofs(splits["train"], num_spoken=4, num_copied=2, seed=3)
    assert len(split.trials) == len(split.samples) == len(split.groups) == 18
    assert [trial.attack for trial in split.trials[-2:]] == ["griffin-lim"] * 2
    assert split.is_spoof[-6:].all()
    assert all(0.5 * 16_000 < len(samples) <= 4.7 * 16_000 for samples in split.samples[-6:])
    assert split.data_hash != splits["train"].data_hash


def test_an_interrupted_run_equals_an_uninterrupted_one(splits, tmp_path: Path) -> None:
    train(RECIPE, splits["train"], splits["dev"], tmp_path / "whole", seed=5)
    # The schedule is fixed by the recipe, so the interruption is an exception after the first epoch's checkpoint.
    run, seen = tmp_path / "parts", []

    class Interrupted(Exception):
        pass

    def stop(*_: object) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        from training import loop

        score = loop.score_split
        patch.setattr(loop, "score_split", lambda *arguments: (stop(), score(*arguments))[1])
        with pytest.raises(Interrupted):
            train(RECIPE, splits["train"], splits["dev"], run, seed=5)
    assert load_trained(run, RECIPE)[1] == 1
    train(RECIPE, splits["train"], splits["dev"], run, seed=5)
    whole, parts = load_trained(tmp_path / "whole", RECIPE)[0], load_trained(run, RECIPE)[0]
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(tensor.float(), parts.state_dict()[name].float(), atol=1e-5), name
    assert [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_a_checkpoint_of_another_seed_or_recipe_is_refused(splits, tmp_path: Path) -> None:
    short = dataclasses.replace(RECIPE, num_epochs=1)
    train(short, splits["train"], splits["dev"], tmp_path, seed=5)
    with pytest.raises(CoreError, match="choose another --run"):
        train(short, splits["train"], splits["dev"], tmp_path, seed=6)
    with pytest.raises(CoreError, match="not 'other'"):
        load_trained(tmp_path, dataclasses.replace(short, name="other"))
    with pytest.raises(CoreError, match="No checkpoint"):
        load_trained(tmp_path / "none", short)


def test_a_loss_that_is_not_finite_stops_the_run(splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.mask_image", lambda image, generator: image * float("nan"))
    with pytest.raises(CoreError, match="lower the learning rate"):
        train(RECIPE, splits["train"], splits["dev"], tmp_path, seed=5)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_publishing_gives_a_detector_with_measured_figures(splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    recipe = dataclasses.replace(RECIPE, num_epochs=6, augment_share=0.0, average_decay=0.5)
    train(recipe, splits["train"], splits["dev"], tmp_path / "run", seed=0)
    detector = publish(recipe, tmp_path / "run", splits, name="mine", out=tmp_path / "out", scores_out=tmp_path / "scores")
    loaded = load_detector(tmp_path / "out" / "mine")
    assert loaded.hash == detector.hash
    assert loaded.manifest.provenance["data"]["train"] == splits["train"].data_hash
    eer = next(figure for figure in loaded.manifest.figures if (figure.split, figure.name) == ("test", "EER"))
    assert (eer.num_bona_fide, eer.num_spoof) == (6, 6)
    assert eer.value < 0.4
    assert "mine" in loaded.card
    assert (tmp_path / "scores" / "mine.test.csv").read_text().count("\n") == 13
    with pytest.raises(CoreError, match="there already"):
        publish(recipe, tmp_path / "run", splits, name="mine", out=tmp_path / "out", scores_out=tmp_path / "scores")


def test_figures_by_hand(splits) -> None:
    test = splits["test"]
    scores = np.where(test.is_spoof, 1.0, -1.0)
    figures = {figure.name: figure for figure in figures_of("test", scores, test)}
    assert figures["EER"].value == 0.0
    assert figures["balanced accuracy at 0"].value == 1.0
    assert figures["Cllr (bits)"].value == pytest.approx(np.log2(1 + np.exp(-1)))


def test_verdict_shares_by_hand() -> None:
    from core.calibration import Thresholds

    scores, spoof = np.array([-2.0, 0.0, 2.0, -2.0, 0.0, 2.0, 3.0]), np.array([False] * 3 + [True] * 4)
    shares = verdict_shares(scores, spoof, Thresholds(lower=-1, upper=1))
    assert shares["bona fide"] == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert shares["spoof"] == pytest.approx((0.25, 0.25, 0.5))
