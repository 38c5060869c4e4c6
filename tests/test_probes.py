"""training.probes: measures of known signals, and probes that find what is there and nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared_data import noise, write_prepared

from core.errors import CoreError
from core.metrics import equal_error_rate
from core.shortcuts.features import bandwidth_measures, duration_measures, loudness_measures, silence_measures
from training.data import load_split
from training.probes import PROBES, run_probe


def tone(seconds: float, hz: float = 1_000.0, amplitude: float = 0.5) -> torch.Tensor:
    return amplitude * torch.sin(2 * torch.pi * hz * torch.arange(int(seconds * 16_000)) / 16_000)


def test_silence_is_where_it_is() -> None:
    samples = torch.cat([torch.zeros(3_200), tone(0.5), torch.zeros(1_600), tone(0.1), torch.zeros(6_400)])  # 1.3 s, 65 frames
    leading, trailing, total, leading_s, trailing_s = silence_measures(samples)
    assert (leading, trailing) == (pytest.approx(10 / 65), pytest.approx(20 / 65))
    assert total == pytest.approx(35 / 65)
    assert (leading_s, trailing_s) == (pytest.approx(0.2), pytest.approx(0.4))
    assert silence_measures(torch.zeros(3_200)) == [1.0, 1.0, 1.0, 0.2, 0.2]
    assert silence_measures(torch.zeros(10))[:3] == [1.0, 1.0, 1.0]


def test_loudness_of_a_tone() -> None:
    rms, peak, quiet, loud = loudness_measures(tone(1.0))
    assert rms == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.01)
    assert peak == pytest.approx(20 * math.log10(0.5), abs=0.01)
    assert (quiet, loud) == (pytest.approx(rms, abs=0.05), pytest.approx(rms, abs=0.05))
    assert loudness_measures(torch.zeros(10))[2:] == [-120.0, -120.0]


def test_duration() -> None:
    assert duration_measures(tone(1.5)) == [1.5]


def test_bandwidth_of_tones_and_noise() -> None:
    assert bandwidth_measures(tone(1.0, hz=2_000.0))[:3] == pytest.approx([2_000.0] * 3, abs=63.0)
    both = tone(1.0, hz=1_000.0) + tone(1.0, hz=7_500.0, amplitude=0.05)  # 1 % of the power, 20 dB below
    edges = bandwidth_measures(both)
    assert edges[0] == pytest.approx(1_000, abs=63)
    assert edges[3] == pytest.approx(7_500, abs=63)
    assert edges[4] == pytest.approx(-20.0, abs=0.2)
    white = bandwidth_measures(torch.from_numpy(noise(64_000, np.random.default_rng(0))).float())
    assert white[:2] == pytest.approx([4_000, 7_200], abs=120)
    assert white[4] == pytest.approx(10 * math.log10(1 / 8), abs=0.2)
    assert bandwidth_measures(torch.zeros(10)) == [0.0] * 4 + [-120.0]


@pytest.mark.parametrize("name", PROBES)
def test_all_measures_are_finite(name: str) -> None:
    for num_samples in (1, 100, 320, 5_000):
        for samples in (torch.zeros(num_samples), torch.ones(num_samples)):
            assert np.isfinite(PROBES[name](samples)).all()


def _make(spoof: bool, rng: np.random.Generator) -> np.ndarray:
    """Spoofs are shorter and have silent edges; loudness and bandwidth are the same."""
    edge = np.zeros(int(rng.uniform(0.1, 0.2) * 16_000) if spoof else 0)
    samples = noise(int(rng.uniform(0.5, 0.8) * 16_000), rng)
    return np.concatenate([edge, samples * 0.5 / np.abs(samples).max(), edge])


def _eers(folder: Path) -> dict[str, float]:
    splits = {split: load_split(folder, split) for split in ("train", "dev", "test")}
    return {name: equal_error_rate(run_probe(name, **splits).scores, splits["test"].is_spoof)[0] for name in PROBES}


def test_probes_find_the_shortcut_that_is_there(tmp_path: Path) -> None:
    eers = _eers(write_prepared(tmp_path, _make))
    assert eers["probe-silence"] == 0.0
    assert eers["probe-duration"] < 0.2
    assert 0.2 <= eers["probe-bandwidth"] <= 0.8


def test_probes_find_nothing_where_nothing_is(tmp_path: Path) -> None:
    eers = _eers(write_prepared(tmp_path, lambda _, rng: _make(False, rng), sizes={"train": 200, "dev": 100, "test": 100}))
    assert all(0.3 <= eer <= 0.7 for eer in eers.values()), eers


def test_a_probe_that_knows_nothing_on_dev_says_nothing(tmp_path: Path) -> None:
    # Spoofs are longer in train and shorter in dev: what was learnt is wrong there, and not calibrated to look right.
    lengths = iter([*[6_000, 12_000] * 20, *[12_000, 6_000] * 10, *[6_000, 12_000] * 10])
    folder = write_prepared(tmp_path, lambda _, rng: noise(next(lengths), rng), sizes={"train": 40, "dev": 20, "test": 20})
    splits = {split: load_split(folder, split) for split in ("train", "dev", "test")}
    probe = run_probe("probe-duration", **splits)
    assert probe.dev_eer >= 0.5
    assert (probe.scores == 0).all()


def test_wrong_use_is_told(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path, _make, sizes={"train": 1, "dev": 4, "test": 4})
    splits = {split: load_split(folder, split) for split in ("train", "dev", "test")}
    with pytest.raises(CoreError, match="train holds one class only"):
        run_probe("probe-silence", **splits)
    with pytest.raises(CoreError, match="unknown probe 'pitch'"):
        run_probe("pitch", **splits)
