"""A scan on a GPU measured against what the GPU and the cores that decode for it give alone. Prints figures, judges nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from core.checkpoints import Detector
from core.detect import Scorer, gpu_scorer
from core.reports import markdown_table
from core.scanning.benchmark import NUM_REPEATS
from core.scanning.measuring import (
    gather_material,
    hash_and_decode,
    in_parallel,
    machine_words,
    measured_scan,
    num_cores,
    seconds_of,
)


def run_gpu_benchmark(folder: str, detector: Detector, *, scratch: Path) -> str:
    """Measures and reports as Markdown.

    The share of the time that the GPU computes is the scan's rate over that of the GPU alone: it scores the same windows.

    Args:
        folder: recordings to measure on; a few thousand keep a GPU busy for longer than a scan takes to start.
        detector: the detector to run; one of our own.
        scratch: folder for the scan's stores.

    Raises:
        ScanError: there is no GPU, or the folder holds nothing that can be decoded.
        DetectorError: the detector was made elsewhere.
    """
    scorer = gpu_scorer(detector)
    material = gather_material(folder, detector.manifest.window_samples)
    batches = material.windows.split(scorer.batch_windows)
    parts: dict[str, Callable[[], object]] = {
        "decoding": lambda: in_parallel(hash_and_decode, material.paths),
        "gpu": lambda: [scorer.score_windows(batch) for batch in batches],
    }
    for part in parts.values():
        part()  # warm caches, allocators and kernels
    times: dict[str, list[float]] = {name: [] for name in parts}
    rates: list[float] = []
    for repeat in range(NUM_REPEATS):
        for name, part in parts.items():
            times[name].append(seconds_of(part))
        rates.append(measured_scan(folder, detector, scratch / f"{repeat}.db", device=scorer.device).rate)
    decoding, gpu = (len(material.paths) / median(times[name]) for name in ("decoding", "gpu"))
    scan = median(rates)
    rows = [
        ("decoding (hash, read, resample), all cores", f"{decoding:,.0f}"),
        ("features and network, the GPU alone", f"{gpu:,.0f}"),
        ("the scan (list, hash, decode, score, store)", f"{scan:,.0f}"),
    ]
    return f"""# Benchmark on a GPU

Made by `python -m core benchmark FOLDER --device cuda` on {time.strftime("%Y-%m-%d", time.gmtime())}: {_device_name(scorer)},
{machine_words()}.
{len(material.paths):,} recordings, {len(material.windows):,} windows; detector `{detector.name}` ({detector.hash[:12]}).
Medians of {NUM_REPEATS}, in one run.

{markdown_table(("what", "recordings/s"), rows)}

- **The GPU computes {scan / gpu:.0%} of the scan's time.**
- Cores that decode fast enough for it: {gpu * num_cores() / decoding:.1f}
"""


def _device_name(scorer: Scorer) -> str:
    return torch.cuda.get_device_name() if scorer.device == "cuda" else scorer.device
