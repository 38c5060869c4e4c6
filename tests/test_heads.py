"""training.frozen, heads, head_choice and fuse: features that go on after a kill, heads that learn, a detector at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.checkpoints import Detector, detector_named, load_detector, save_detector
from core.detect import Scorer
from core.errors import CoreError
from core.models import MODELS
from core.whisper import WhisperConfig, WhisperEncoder, WhisperNetwork
from tests.tiny_training import write_tiny
from training import frozen, fuse, heads
from training.data import load_split
from training.evaluate import score_split
from training.frozen import FrozenSet, make_features, open_features
from training.head_choice import compare_ways
from training.heads import HeadRecipe, fold_of_groups, head_scores, left_out_scores, material_of, split_scores, train_head

TINY = WhisperConfig(width=16, num_attention_heads=4, num_blocks=1)
RECIPE = HeadRecipe(width=16, num_steps=150, batch_size=16, views=("plain", "changed"), copy_share=0.125)


@pytest.fixture(scope="module", autouse=True)
def _tiny_whisper() -> None:
    """An encoder of 16 channels with seeded weights in Whisper's place."""

    def load(source: Path, config: WhisperConfig) -> WhisperEncoder:
        torch.manual_seed(1)
        return WhisperEncoder(TINY).eval().requires_grad_(False)

    with pytest.MonkeyPatch.context() as patch:
        for module in (frozen, fuse):
            patch.setattr(module, "load_whisper", load)
        patch.setattr(heads, "_PER_LAYER", 32)
        patch.setitem(MODELS, "whisper_base", lambda: WhisperNetwork(TINY))
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, _tiny_whisper: None) -> Path:
    return write_tiny(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def made(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "features"
    make_features(prepared, out, config=TINY, say=lambda _: None)
    return out


def features_of(groups: int = 10, *, seed: int = 0) -> FrozenSet:
    """Rows whose first four features tell the classes apart in every source; the fifth tells sources."""
    rng = np.random.default_rng(seed)
    number = np.arange(40 * groups)
    is_spoof, group = number % 2 == 1, number % groups
    features = rng.standard_normal((len(number), 32))
    features[:, :4] += 3 * is_spoof[:, None]
    features[:, 4] += 5 * group
    rows = pd.DataFrame(
        {"split": "train", "recording": number, "view": "plain", "is_spoof": is_spoof, "group": [f"s{g}" for g in group]}
    )
    return FrozenSet(features=features.astype(np.float16), rows=rows, manifest={})


def test_every_recording_has_its_views(made: Path, prepared: Path) -> None:
    found, train = open_features(made), load_split(prepared, "train")
    num_bona_fide = int((~train.is_spoof).sum())
    assert len(found.of("train", "plain")) == len(train)
    assert len(found.of("train", "changed")) == len(train)
    assert len(found.of("train", "copy")) == num_bona_fide
    assert found.rows.loc[found.of("train", "copy"), "is_spoof"].all()
    assert set(found.rows.loc[found.of("dev"), "view"]) == {"plain"}
    assert np.isfinite(found.features).all()
    assert found.features.std() > 0


def test_pairs_are_a_changed_crop_and_its_copy(made: Path) -> None:
    material = material_of(open_features(made))
    first, second = material.pairs.T
    assert len(first)
    assert (material.recordings[first] == material.recordings[second]).all()
    assert (material.views[first] == "changed").all()
    assert (material.views[second] == "copy").all()
    assert not material.is_spoof[first].any()
    assert material.is_spoof[second].all()


def test_features_that_were_interrupted_go_on_to_the_same_bytes(
    made: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "_SAVED_EVERY_S", -1.0)

    def stop(line: str) -> None:
        if int(line.split()[0].replace(",", "")) > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_features(prepared, tmp_path / "out", config=TINY, say=stop)
    with pytest.raises(CoreError, match="is unfinished"):
        open_features(tmp_path / "out")
    make_features(prepared, tmp_path / "out", config=TINY, say=lambda _: None)
    assert (tmp_path / "out" / "features.f16").read_bytes() == (made / "features.f16").read_bytes()


def test_other_options_need_another_folder(made: Path, prepared: Path) -> None:
    with pytest.raises(CoreError, match="another num_views"):
        make_features(prepared, made, config=TINY, num_views=2)


def test_no_features_are_told(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="holds no features"):
        open_features(tmp_path)


@pytest.mark.parametrize("changes", [{}, {"sharpness": 0.05}, {"views": ("plain", "changed")}])
def test_a_head_learns_what_tells_the_classes_apart(changes: dict) -> None:
    found = features_of()
    recipe = HeadRecipe(**{"width": 16, "num_steps": 150, "batch_size": 32} | changes)
    head = train_head(material_of(found), recipe, seed=0)
    scores, is_spoof = head_scores([head], found.features), found.rows["is_spoof"].to_numpy()
    assert not head.training
    assert heads.pooled_eer(scores, is_spoof) < 0.15


def test_a_head_is_the_same_for_the_same_seed() -> None:
    material = material_of(features_of())
    first, second, other = (train_head(material, RECIPE, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_folds_share_no_source_and_hold_both_classes() -> None:
    material = material_of(features_of(groups=15))
    folds = fold_of_groups(material)
    assert set(folds) == set(material.groups)
    assert sorted(set(folds.values())) == list(range(heads.NUM_FOLDS))


def test_left_out_scores_come_from_heads_that_never_saw_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    material, seen = material_of(features_of()), []

    def spy(material: heads.HeadMaterial, recipe: HeadRecipe, *, seed: int, left_out: list[str]) -> torch.nn.Module:
        seen.append(set(left_out))
        return train_head(material, HeadRecipe(width=4, num_steps=2, batch_size=4), seed=seed, left_out=left_out)

    monkeypatch.setattr(heads, "train_head", spy)
    scores = left_out_scores(material, RECIPE, seeds=(0,))
    assert np.isfinite(scores).all()
    assert sorted(name for fold in seen for name in fold) == sorted(set(material.groups))  # each left out once


def test_ways_are_compared_and_gone_on_with(made: Path, tmp_path: Path) -> None:
    ways = {"one": RECIPE, "two": HeadRecipe(width=16, num_steps=20, batch_size=16, num_blocks=0)}
    out = tmp_path / "ways.json"
    compare_ways(made, out, ways={"one": RECIPE})
    before = json.loads(out.read_text())
    compare_ways(made, out, ways=ways)
    after = json.loads(out.read_text())
    assert list(after) == ["one", "two"]
    assert after["one"] == before["one"]
    assert set(after["two"]["eer"]) == {"dev", "left-out sources of train", "left-out sources"}


def test_heads_and_a_fast_detector_become_one(made: Path, prepared: Path, tiny_detector: Detector, tmp_path: Path) -> None:
    provenance = {"recipe": {"name": "none"}, "num_recordings": {"train": 40}}
    fast = _better_than_chance(tiny_detector, prepared, tmp_path / "fast", provenance)
    narrow = fuse.make_heads(made, tmp_path / "narrow", RECIPE)
    folder = fuse.make_heads(made, tmp_path / "heads", HeadRecipe(num_steps=60, batch_size=16))
    with pytest.raises(CoreError, match="holds heads already"):
        fuse.make_heads(made, folder, RECIPE)
    found, described = fuse.load_heads(folder)
    assert len(found) == 3
    assert described["recipe"]["width"] == 256
    options = {"name": "both", "out": tmp_path / "detectors", "scores_out": tmp_path, "num_second_pass": 4}
    with pytest.raises(CoreError, match="heads of another shape"):
        fuse.fuse(narrow, fast, **options)
    detector = fuse.fuse(folder, fast, **options)
    assert load_detector(detector.folder).hash == detector.hash
    split = load_split(prepared, "dev")
    by_whisper = split_scores(open_features(made), "dev", found)
    weight = detector.manifest.branches[1].weight
    assert weight == pytest.approx(1 / by_whisper.std(), rel=1e-3)
    assert (tmp_path / "both.test.csv").is_file()
    assert {figure.split for figure in detector.manifest.figures} == {"dev", "test"}
    assert "whisper_base" in detector.card
    scores = Scorer(detector).score_windows(torch.zeros(1, 64_000) + 0.01 * torch.randn(1, 64_000))
    assert torch.isfinite(scores).all()
    assert len(split) == 12
    with pytest.raises(CoreError, match="there already"):
        fuse.fuse(folder, fast, **options)
    with pytest.raises(CoreError, match="no single network of ours"):
        fuse.fuse(folder, detector, **options | {"name": "other"})


def _better_than_chance(detector: Detector, prepared: Path, folder: Path, provenance: dict) -> Detector:
    """The detector with its last layer turned round where that is needed for spoofs to score higher on dev."""
    network, dev = detector.load_model(), load_split(prepared, "dev")
    raw = score_split(network, detector.build_front_end(), dev)
    if raw[dev.is_spoof].mean() < raw[~dev.is_spoof].mean():
        with torch.no_grad():
            network[-1].weight.neg_()
            network[-1].bias.neg_()
    return save_detector(folder, network, replace(detector.manifest, name="fast", provenance=provenance))


def test_no_heads_are_told(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="holds no heads"):
        fuse.fuse(tmp_path, detector_named("vgg27-telephone"), name="x", out=tmp_path, scores_out=tmp_path, num_second_pass=0)
