"""training.coded: recordings that went through real codings stay themselves, in both classes, and say which coding it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.stress.codecs import round_trip
from tests.prepared_data import write_prepared
from training.coded import CODINGS, add_coded
from training.data import balanced_weights, load_split, to_float


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def voice(is_spoof: bool, rng: np.random.Generator) -> np.ndarray:
        time_s = np.arange(12_000) / 16_000
        pulses = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 20))
        return 0.05 * pulses * (1 + is_spoof) + 0.001 * rng.standard_normal(len(time_s))

    return write_prepared(tmp_path_factory.mktemp("prepared"), voice)


def test_coded_recordings_join_the_split(prepared: Path) -> None:
    before = load_split(prepared, "train")
    split = add_coded(before, 12, seed=1)
    assert len(split) == len(before) + 12
    assert torch.equal(split.samples[: len(before.samples)], before.samples)
    assert set(split.is_spoof[len(before) :]) == {False, True}
    for number in range(len(before), len(split)):
        utterance, _, coding = split.index["utterance"][number].partition("_")
        codec, _, bit_rate = coding.rpartition("_")
        source = before.index["utterance"].tolist().index(utterance)
        for column in ("label", "attack", "speaker", "group", "family"):
            same = split.index[column][number], before.index[column][source]
            assert same[0] == same[1] or all(value is None or value != value for value in same)
        expected = round_trip(to_float(before.recording(source)).numpy(), codec=codec, bit_rate=int(bit_rate))
        assert np.abs(to_float(split.recording(number)).numpy() - expected).max() < 1e-4
    assert balanced_weights(split)[len(before) :].gt(0).all()


def test_the_same_seed_gives_the_same_and_the_hash_tells(prepared: Path) -> None:
    before = load_split(prepared, "train")
    first, again, other = add_coded(before, 3, seed=1), add_coded(before, 3, seed=1), add_coded(before, 3, seed=2)
    assert torch.equal(first.samples, again.samples)
    assert first.data_hash == again.data_hash
    assert len({before.data_hash, first.data_hash, other.data_hash}) == 3
    assert add_coded(before, 0, seed=1) is before


@pytest.mark.parametrize(("codec", "bit_rate"), CODINGS)
def test_every_coding_can_be_made_here(codec: str, bit_rate: int) -> None:
    noise = (0.05 * np.random.default_rng(0).standard_normal(8_000)).astype(np.float32)
    assert round_trip(noise, codec=codec, bit_rate=bit_rate).shape == noise.shape
