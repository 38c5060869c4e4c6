"""training.data and training.made: exactly what was prepared comes back, or what is wrong is said; weights by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import CoreError
from tests.prepared_data import write_prepared
from training.data import SPLITS, LabelledSplit, balanced_weights, load_split, to_float, to_int16
from training.made import add_spoken

SIZES = {"train": 8, "dev": 6, "test": 4}


@pytest.fixture(scope="module")
def made() -> list[np.ndarray]:
    """Sounds of random int16 values and different lengths, in the order in which they are written."""
    rng = np.random.default_rng(1)
    return [rng.integers(-32_768, 32_768, rng.integers(200, 900)).astype(np.int16) for _ in range(sum(SIZES.values()))]


@pytest.fixture(scope="module")
def _prepared(made: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    sounds = iter(made)
    return write_prepared(tmp_path_factory.mktemp("prepared"), lambda *_: next(sounds) / 32_768, sizes=SIZES)


@pytest.fixture
def prepared(_prepared: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(_prepared, tmp_path / "prepared"))


def change_manifest(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def sounds_of(made: list[np.ndarray], split: str) -> list[np.ndarray]:
    first = sum(SIZES[earlier] for earlier in SPLITS[: SPLITS.index(split)])
    return made[first : first + SIZES[split]]


# Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_holds_exactly_what_was_prepared(prepared: Path, made: list[np.ndarray], name: str) -> None:
    split = load_split(prepared, name)
    assert (split.name, len(split)) == (name, SIZES[name])
    assert split.index["utterance"].tolist() == [f"{name}{i}" for i in range(SIZES[name])]
    assert split.is_spoof.tolist() == [i % 2 == 1 for i in range(SIZES[name])]
    assert split.speakers.tolist() == [f"S{i // 4}" for i in range(SIZES[name])]
    assert split.groups.tolist() == [f"page{i % 4 // 2}" for i in range(SIZES[name])]
    assert split.index["attack"].isna().tolist() == (~split.is_spoof).tolist()
    sounds = sounds_of(made, name)
    for number, sound in enumerate(sounds):
        assert split.recording(number).dtype == torch.int16
        assert np.array_equal(split.recording(number).numpy(), sound)
    assert np.array_equal(split.samples.numpy(), np.concatenate(sounds)), "and nothing of the other splits"
    # The hash as the contract defines it, from the sounds themselves.
    lines = [
        f"{name}{i} {'spoof' if i % 2 else 'bona fide'} {hashlib.sha256(sound.tobytes()).hexdigest()}\n"
        for i, sound in enumerate(sounds)
    ]
    assert split.data_hash == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_splits_may_lie_mixed_in_the_index(prepared: Path, made: list[np.ndarray]) -> None:
    index = pd.read_parquet(prepared / "index.parquet").sample(frac=1.0, random_state=0)
    index.to_parquet(prepared / "index.parquet")
    split = load_split(prepared, "dev")
    assert set(split.index["utterance"]) == {f"dev{i}" for i in range(6)}
    for number, utterance in enumerate(split.index["utterance"]):
        assert np.array_equal(split.recording(number).numpy(), sounds_of(made, "dev")[int(utterance[3:])])


def test_writing_into_a_split_does_not_change_the_file(prepared: Path) -> None:
    before = (prepared / "samples.i16").read_bytes()
    split = load_split(prepared, "train")
    split.samples.add_(1)
    assert (prepared / "samples.i16").read_bytes() == before
    spoof = split.is_spoof
    spoof[:] = True
    assert split.is_spoof.tolist() == [False, True] * 4


# What is refused -------------------------------------------------------------------------------------------------


def test_a_folder_that_was_not_prepared_says_how(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(CoreError, match=r"no prepared data \(no manifest.json\).*python -m training prepare SOURCE"):
            load_split(folder, "dev")


def test_another_version_is_told(prepared: Path) -> None:
    change_manifest(prepared, schema_version=2)
    with pytest.raises(CoreError, match="schema version 2; this program reads 1"):
        load_split(prepared, "dev")


def test_another_version_is_told_whatever_its_index_is(prepared: Path) -> None:
    change_manifest(prepared, schema_version=2)
    (prepared / "index.parquet").unlink()
    with pytest.raises(CoreError, match="schema version 2; this program reads 1"):
        load_split(prepared, "dev")


def test_a_missing_split_lists_what_is_there(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path, lambda *_: np.ones(300) / 9, sizes={"train": 2, "dev": 2})
    with pytest.raises(CoreError, match="no recordings of the split 'test'; it has train, dev"):
        load_split(folder, "test")
    with pytest.raises(CoreError, match="no recordings of the split 'eval'"):
        load_split(folder, "eval")


def test_samples_that_are_too_short_are_counted(prepared: Path, made: list[np.ndarray]) -> None:
    num = sum(map(len, made))
    samples = (prepared / "samples.i16").read_bytes()
    (prepared / "samples.i16").write_bytes(samples[:-2])
    with pytest.raises(CoreError, match=f"holds {num - 1:,} samples and {num:,} are expected; prepare it again"):
        load_split(prepared, "test")
    assert len(load_split(prepared, "train")) == 8, "what is whole can be read"


@pytest.mark.parametrize("name", ["index.parquet", "samples.i16"])
def test_missing_files_are_told(prepared: Path, name: str) -> None:
    (prepared / name).unlink()
    with pytest.raises(CoreError, match=rf"{name}.*prepare it again"):
        load_split(prepared, "dev")


@pytest.mark.parametrize(
    ("name", "content"), [("manifest.json", b"{"), ("manifest.json", b"\xff"), ("manifest.json", b"[]"), ("index.parquet", b"PAR1")]
)
def test_damaged_files_are_told(prepared: Path, name: str, content: bytes) -> None:
    (prepared / name).write_bytes(content)
    with pytest.raises(CoreError, match=r"damaged.*prepare it again"):
        load_split(prepared, "dev")


# Weights and numbers ---------------------------------------------------------------------------------------------


def split_of(labels: list[str], groups: list[str]) -> LabelledSplit:
    """A split without samples."""
    nothing = torch.zeros(len(labels), dtype=torch.int64)
    index = pd.DataFrame({"label": labels, "group": groups})
    return LabelledSplit(name="train", index=index, samples=nothing.short(), starts=nothing, lengths=nothing, data_hash="")


def test_classes_are_drawn_equally_and_large_sources_damped() -> None:
    weights = balanced_weights(split_of(["bona fide"] * 3 + ["spoof"] * 5, ["a", "b", "b", "a", "a", "a", "a", "c"]))
    # Bona fide: sources of 1 and 2, totals sqrt(1) and sqrt(2). Spoofs: 4 and 1, totals 2 and 1, so 2/3 and 1/3.
    root = 2**0.5
    expected = [1 / (1 + root), root / (1 + root) / 2, root / (1 + root) / 2, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 3]
    assert weights.dtype == torch.float64
    assert weights.tolist() == pytest.approx(expected)
    assert (weights[:3].sum(), weights[3:].sum()) == pytest.approx((1.0, 1.0))


def test_int16_and_float_by_hand() -> None:
    assert to_float(torch.tensor([-32_768, 0, 16_384], dtype=torch.int16)).tolist() == [-1.0, 0.0, 0.5]
    assert to_int16(torch.tensor([-2.0, -1.0, 0.25, 1.0, 1e6])).tolist() == [-32_768, -32_768, 8_192, 32_767, 32_767]
    every = torch.arange(-32_768, 32_768).to(torch.int16)
    assert torch.equal(to_int16(to_float(every)), every)


# Made sentences --------------------------------------------------------------------------------------------------


def test_made_sentences_join_the_split(prepared: Path, made: list[np.ndarray]) -> None:
    if not all(map(shutil.which, ("espeak-ng", "flite", "text2wave"))):
        pytest.skip("needs espeak-ng, flite and festival")
    before = load_split(prepared, "train")
    split = add_spoken(before, 4, seed=3)
    assert len(split) == len(split.starts) == len(split.lengths) == 12
    for number, sound in enumerate(sounds_of(made, "train")):
        assert np.array_equal(split.recording(number).numpy(), sound)
    assert split.is_spoof.tolist() == [False, True] * 4 + [True] * 4
    assert split.index["utterance"].tolist()[8:] == [f"MADE_{i:05d}" for i in range(4)]
    assert int(split.starts[-1] + split.lengths[-1]) == len(split.samples)
    for number in range(8, 12):
        sound = split.recording(number)
        assert 0.5 * 16_000 < len(sound) <= 4.7 * 16_000
        # Set to -30 to -19 dB, coded, cut.
        assert -33 < 10 * torch.log10(to_float(sound).square().mean()) < -17
    again, other = add_spoken(before, 4, seed=3), add_spoken(before, 1, seed=4)
    assert torch.equal(again.samples, split.samples)
    assert again.data_hash == split.data_hash
    assert len({before.data_hash, split.data_hash, other.data_hash}) == 3
    assert balanced_weights(split)[8:].sum() > 0


def test_no_sentences_leave_the_split_alone(prepared: Path) -> None:
    split = load_split(prepared, "train")
    assert add_spoken(split, 0, seed=3) is split


def test_a_missing_engine_is_told(prepared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    split = load_split(prepared, "train")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CoreError, match=r"espeak-ng|flite|festival"):
        add_spoken(split, 1, seed=3)
