"""core.segments: which windows a recording gives, however it arrives."""

from __future__ import annotations

import pytest
import torch

from core.detector_config import WINDOW_SAMPLES
from core.segments import WindowStream, split_windows


def windows_of(blocks: list[torch.Tensor]) -> list[tuple[int, torch.Tensor]]:
    stream = WindowStream()
    found = [item for block in blocks for item in stream.push(block)]
    return found + list(stream.finish())


@pytest.mark.parametrize(
    ("num_samples", "starts"),
    [
        (64_000, [0]),
        (64_001, [0, 1]),
        (96_000, [0, 32_000]),
        (96_001, [0, 32_000, 32_001]),
        (127_999, [0, 32_000, 63_999]),
        (128_000, [0, 32_000, 64_000]),
        (300_000, [0, 32_000, 64_000, 96_000, 128_000, 160_000, 192_000, 224_000, 236_000]),
    ],
)
@pytest.mark.parametrize("block", [300_000, 64_000, 50_001, 7_777])
def test_windows_slide_and_the_last_ends_with_the_recording(num_samples: int, starts: list[int], block: int) -> None:
    samples = torch.arange(num_samples, dtype=torch.float32)
    found = windows_of(list(samples.split(block)))
    assert [start for start, _ in found] == starts
    for start, window in found:
        assert torch.equal(window, samples[start : start + WINDOW_SAMPLES])


@pytest.mark.parametrize("num_samples", [1, 8_000, 30_000, 63_999])
def test_short_recordings_are_repeated(num_samples: int) -> None:
    samples = torch.arange(num_samples, dtype=torch.float32)
    ((start, window),) = windows_of(list(samples.split(5_000)))
    assert start == 0
    assert torch.equal(window, torch.arange(WINDOW_SAMPLES, dtype=torch.float32) % num_samples)


def test_nothing_gives_no_window() -> None:
    assert windows_of([]) == []
    assert windows_of([torch.zeros(0)]) == []


def test_memory_stays_bounded() -> None:
    stream = WindowStream()
    for _ in range(50):
        list(stream.push(torch.zeros(100_000)))
        assert len(stream._kept) <= WINDOW_SAMPLES


def test_a_recording_in_memory() -> None:
    assert split_windows(torch.zeros(100_000)).shape == (3, WINDOW_SAMPLES)
    assert split_windows(torch.ones(100)).sum() == WINDOW_SAMPLES
