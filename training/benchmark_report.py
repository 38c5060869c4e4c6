"""What a benchmark of the input pipelines is asked, what it answers, and that as Markdown. Measures nothing."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torchaudio

from core.errors import CoreError

NUM_REPEATS = 3
"""Each rate is the median of this many passes, taken in turn."""
DECK_RATIO = 12.0
"""What the deck gained (an hour became five minutes) by copying a zip from a network drive to the local disk."""
_WAYS = {
    "files": "usual: open, decode, crop, image for each item; DataLoader",
    "zip": "the same out of a zip read in place",
    "packed": "ours: packed array on the device; crop, image in batches",
    "augmented": "ours with rooms, equalisers, noise and masks too",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """How much is measured, and where."""

    device: str = "cpu"
    """`cpu` or `cuda`."""
    num_recordings: int = 1_000
    """At most so many of the training split, evenly spread."""
    batch_size: int = 64
    num_workers: int = len(os.sched_getaffinity(0))
    """Processes of the DataLoader."""
    num_steps: int = 8
    """Training steps of vgg27 whose shares are measured, after one that is not."""

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda"):
            raise CoreError(f"unknown device {self.device!r}; expected cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise CoreError("there is no CUDA device here; use --device cpu")
        if self.batch_size < 2 or self.num_workers < 0 or self.num_steps < 1:
            raise CoreError("expected a batch of at least 2, at least 0 workers and at least 1 step")
        if self.num_recordings < 2 * self.batch_size:
            raise CoreError(f"{self.num_recordings} recordings are less than two batches of {self.batch_size}; take more")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRate:
    """What one way of feeding achieves."""

    samples_per_s: float
    """Windows made, with nothing else to do."""
    trained_per_s: float
    """Windows trained on."""
    data_share: float
    """Share of a training step that is waiting for data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """What was measured in one run."""

    rates: dict[str, PipelineRate]
    """By way: `files`, `zip`, `packed`, `augmented`."""
    num_recordings: int
    duration_s: float
    """Mean of the recordings."""
    upload_s: float
    """Once: the packed array to the device, the edges of its recordings found."""
    upload_bytes: int
    unpack_s: float
    """Once, for the usual way: a zip copied and unpacked."""

    @property
    def ratio(self) -> float:
        """Ours over the usual way, both doing the same work: cropping and the image."""
        return self.rates["packed"].samples_per_s / self.rates["files"].samples_per_s


def as_markdown(result: BenchmarkResult, options: BenchmarkOptions) -> str:
    """The report, with machine and versions."""
    usual = result.rates["files"].samples_per_s
    table = "\n".join(
        f"| {what} | {(rate := result.rates[name]).samples_per_s:,.0f} | {rate.samples_per_s / usual:.2f} x "
        f"| {rate.trained_per_s:,.0f} | {rate.data_share:.1%} |"
        for name, what in _WAYS.items()
    )
    verdict = "beaten" if result.ratio > DECK_RATIO else "not reached"
    return f"""# Input pipeline

Made by `python -m training benchmark` on {time.strftime("%Y-%m-%d", time.gmtime())}: {_machine(options)}.
{result.num_recordings:,} recordings, {result.duration_s:.1f} s on average, as windows of 4 s and log spectrograms in batches of
{options.batch_size}; {options.num_workers} DataLoader workers. The files are in the page cache: a network drive would slow the
usual way, not ours. Rates are medians of {NUM_REPEATS} passes in turn, everything in one run.

| way | samples/s | against usual | training vgg27, samples/s | share of a step that is data |
| --- | --- | --- | --- | --- |
{table}

- **Ours against the usual way, the same work: {result.ratio:.1f} x.** The deck's {DECK_RATIO:.0f} x, a zip copied off a
  network drive, is {verdict} on this machine.
- Once, for ours: {result.upload_bytes / 2**20:,.0f} MiB to the device and edge silence found, {result.upload_s:.2f} s.
- Once, for the deck's way: a zip copied and unpacked on the local disk, {result.unpack_s:.2f} s.
"""


def _machine(options: BenchmarkOptions) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or "unknown processor"
    parts = [torch.cuda.get_device_name()] if options.device == "cuda" else []
    parts += [processor, f"{len(os.sched_getaffinity(0))} cores", f"{torch.get_num_threads()} threads in torch"]
    parts += [f"Python {platform.python_version()}", f"torch {torch.__version__}", f"torchaudio {torchaudio.__version__}"]
    return ", ".join(parts)
