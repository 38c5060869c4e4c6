"""training.crops: windows that hold one recording and nothing else; edges trimmed to the sound, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from core.detector_config import WINDOW_SAMPLES
from training.crops import CropSampler, trim_edges
from training.data import LabelledSplit

CPU = torch.device("cpu")
LENGTHS = (1, 159, 321, 5_000, 24_000, 63_999, 64_000, 64_001, 100_000)


def split_of(recordings: list[np.ndarray]) -> LabelledSplit:
    lengths = torch.tensor([len(samples) for samples in recordings])
    return LabelledSplit(
        name="train",
        index=pd.DataFrame({"label": ["spoof"] * len(recordings)}),
        samples=torch.from_numpy(np.concatenate(recordings)),
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
        data_hash="",
    )


@pytest.fixture(scope="module")
def split() -> LabelledSplit:
    """Recordings of many lengths; number i holds only values of which the hundreds are i + 1 (so never silence)."""
    rng = np.random.default_rng(0)
    return split_of([(100 * (i + 1) + rng.integers(0, 100, num)).astype(np.int16) for i, num in enumerate(LENGTHS)])


@pytest.fixture(scope="module")
def sampler(split: LabelledSplit) -> CropSampler:
    return CropSampler(split, CPU)


def test_crops_from_the_start_are_the_recording_repeated(split: LabelledSplit, sampler: CropSampler) -> None:
    chosen = torch.tensor([8, 0, 3, 5, 6, 7, 3, 1, 2, 4])
    windows = sampler.from_start(chosen)
    assert windows.dtype == torch.float32
    for number, window in zip(chosen.tolist(), windows, strict=True):
        expected = np.resize(split.recording(number).numpy(), WINDOW_SAMPLES)  # repeats or cuts
        assert torch.equal(window, torch.from_numpy(expected.astype(np.float32) / 32_768))


def test_random_crops_hold_one_recording_and_nothing_else(sampler: CropSampler) -> None:
    chosen = torch.arange(len(LENGTHS)).repeat(40)
    windows = sampler.random(chosen, torch.Generator().manual_seed(0))
    assert windows.shape == (len(chosen), WINDOW_SAMPLES)
    values = (windows * 32_768).round().long()
    assert torch.equal(values // 100, (chosen + 1)[:, None].expand_as(values))


def test_random_crops_are_stretches_of_the_recording_in_its_order() -> None:
    # A ramp: within a window each step is +1, or the jump from the stretch's end back to its beginning.
    for num in (3_000, 60_000, 70_000):
        ramp = torch.arange(num) - 32_768  # up to 37,232, beyond int16: wraps there, at a place that is known
        sampler = CropSampler(split_of([ramp.to(torch.int16).numpy()]), CPU)
        for window in sampler.random(torch.zeros(20, dtype=torch.int64), torch.Generator().manual_seed(1)):
            steps = (window * 32_768).round().long().diff() % 65_536
            jumps = steps[steps != 1]
            assert len(set(jumps.tolist())) <= 1
            if len(jumps):
                period = int(1 - jumps[0]) % 65_536
                at = torch.nonzero(steps != 1).flatten()
                assert set(at.diff().tolist()) <= {period}
                assert 0.5 * num < period <= num
            else:
                assert num > WINDOW_SAMPLES


def test_long_recordings_are_cut_anywhere() -> None:
    ramp = (torch.arange(100_000) // 4 + 1_000).to(torch.int16)
    sampler = CropSampler(split_of([ramp.numpy()]), CPU)
    windows = sampler.random(torch.zeros(300, dtype=torch.int64), torch.Generator().manual_seed(0))
    starts = ((windows[:, 0] * 32_768).round() - 1_000) * 4
    assert starts.min() < 2_000
    assert 34_000 < starts.max() <= 36_000
    assert float(starts.mean()) == pytest.approx(18_000, abs=2_500)  # 4 standard errors


def test_half_of_the_short_ones_are_cut_to_between_60_percent_and_all() -> None:
    ramp = (torch.arange(20_000) + 1_000).to(torch.int16)
    sampler = CropSampler(split_of([ramp.numpy()]), CPU)
    windows = sampler.random(torch.zeros(300, dtype=torch.int64), torch.Generator().manual_seed(0))
    used = torch.tensor([len(window.unique()) for window in windows])
    assert 11_990 <= used.min() < 12_500
    assert used.max() == 20_000
    assert 0.4 < (used == 20_000).float().mean() < 0.6


def test_random_crops_are_seeded(sampler: CropSampler) -> None:
    chosen = torch.arange(len(LENGTHS))
    first, again, other = (sampler.random(chosen, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_edge_silence_is_trimmed_for_most_but_never_the_sound() -> None:
    samples = np.ones(32_000, dtype=np.int16)  # far below -60 dB
    samples[9_600:22_400] = np.arange(1_000, 13_800)
    sampler = CropSampler(split_of([samples]), CPU)
    windows = (sampler.random(torch.zeros(200, dtype=torch.int64), torch.Generator().manual_seed(0)) * 32_768).round()
    silent = (windows == 1).float().mean(dim=1)
    # Untrimmed it is 60 % silence; trimmed at most 2 x 0.1 s of 0.8 + 0.2 s stay.
    assert 0.6 < (silent < 0.25).float().mean() < 0.95
    assert (silent > 0.4).any()
    assert (silent < 0.75).all()


# Trimming --------------------------------------------------------------------------------------------------------


def test_bounds_by_hand() -> None:
    # Frames are 320 samples. A loud stretch of frames 30 to 59, at its right one 32 dB quieter, frames 60 to 69.
    samples = np.zeros(32_000, dtype=np.int16)
    samples[9_600:19_200] = 8_000
    samples[19_200:22_400] = 200  # 20 log10(200 / 8000) = -32.04 dB
    bounds = CropSampler(split_of([samples]), CPU)._bounds
    loud, both = [9_600, 19_200], [9_600, 22_400]
    assert bounds.tolist() == [[[0, 32_000], loud, loud, both, both]]  # whole; 25, 30, 35 and 40 dB


def test_edges_are_trimmed_to_the_sound() -> None:
    samples = torch.zeros(32_000, dtype=torch.int16)
    samples[9_600:19_200] = torch.arange(8_000, 17_600)
    assert torch.equal(trim_edges(samples, keep_s=0.0, range_db=30.0), samples[9_600:19_200])
    assert torch.equal(trim_edges(samples, keep_s=0.1, range_db=30.0), samples[8_000:20_800])
    assert torch.equal(trim_edges(samples, keep_s=1.0, range_db=30.0), samples), "no further than the recording goes"


@pytest.mark.parametrize("num", [100, 1_000])
def test_silence_is_left_whole(num: int) -> None:
    samples = torch.ones(num, dtype=torch.int16)  # 100: not one whole frame
    assert torch.equal(trim_edges(samples, keep_s=0.0, range_db=30.0), samples)
