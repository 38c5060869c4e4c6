"""The scan measured against the sum of its parts, on the same recordings in one run. Prints ratios, judges nothing."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import soundfile
import torch
import torchaudio

from core.audio import SAMPLE_RATE_HZ, load, sha256_of
from core.checkpoints import Detector
from core.detect import BATCH_WINDOWS
from core.errors import AudioRefusal, ScanError
from core.records import ScanSettings
from core.runtime import open_session
from core.scanning.discovery import find_files
from core.segments import split_windows
from core.store.store import Store

NUM_REPEATS = 3
"""Each figure is the median of this many measurements, taken in turn."""
NUM_PLAIN = 100
"""Recordings that go through the plain loop."""


@dataclass(frozen=True, slots=True)
class _Material:
    """The recordings measured on: readable, at most about 10 s on average."""

    folder: str
    paths: list[str]
    windows: torch.Tensor
    duration_s: float


def run_benchmark(folder: str, detector: Detector, *, scratch: Path) -> str:
    """Measures and reports as Markdown.

    Rates are recordings/s with all cores. The limit is that of the parts run one after another: the reciprocal of the
    sum of their reciprocal rates.

    Args:
        folder: recordings to measure on; a few hundred of a few seconds each.
        detector: the detector to run.
        scratch: folder for the scan's stores.

    Raises:
        ScanError: the folder holds nothing that can be decoded.
    """
    material = _gather(folder, detector.manifest.window_samples)
    front_end, session = detector.build_front_end(), open_session(detector)
    batches = material.windows.split(BATCH_WINDOWS)
    with torch.inference_mode():
        images = [front_end(batch) for batch in batches]
    parts: dict[str, Callable[[], object]] = {
        "decoding (hash, read, resample)": lambda: _in_parallel(_decode, material.paths),
        f"features ({detector.manifest.input_words})": lambda: _in_parallel(_without_gradients(front_end), batches),
        f"network ({detector.manifest.model}, ONNX Runtime)": lambda: _in_parallel(session, images),
    }
    for part in parts.values():
        part()  # warm caches and allocators
    times: dict[str, list[float]] = {name: [] for name in parts}
    scans: list[tuple[float, float]] = []
    for repeat in range(NUM_REPEATS):
        for name, part in parts.items():
            times[name].append(_timed(part))
        scans.append(_scan(material, detector, scratch / f"{repeat}.db"))
    plain_s = _timed(lambda: _plain_loop(material.paths[:NUM_PLAIN], detector)) / min(NUM_PLAIN, len(material.paths))
    rates = {name: len(material.paths) / median(measured) for name, measured in times.items()}
    return _report(material, detector, rates, scans, plain_rate=1 / plain_s)


def _gather(folder: str, window_samples: int) -> _Material:
    paths, windows, num_samples = [], [], 0
    for file in find_files(folder, ScanSettings()):
        path = os.path.join(folder, os.fsdecode(file.path_bytes))
        try:
            samples = load(path)[0]
        except AudioRefusal:
            continue
        paths.append(path)
        windows.append(split_windows(samples, window_samples))
        num_samples += len(samples)
    if not paths:
        raise ScanError(f"{folder} holds no recording that can be decoded; give a folder with a few hundred short ones.")
    return _Material(folder, paths, torch.cat(windows), num_samples / SAMPLE_RATE_HZ)


def _decode(path: str) -> None:
    sha256_of(path)
    load(path)


def _without_gradients(front_end: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return front_end(batch)

    return run


def _in_parallel(work: Callable, items: Sequence) -> None:
    """One thread per core, each with one thread of its own, as the scan runs them."""
    with ThreadPoolExecutor(_num_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for _ in pool.map(work, items):
            pass


def _scan(material: _Material, detector: Detector, database: Path) -> tuple[float, float]:
    """Recordings/s and peak memory in MiB of a real scan in a process of its own, into an empty store."""
    url = f"sqlite:///{database}"
    command = [sys.executable, "-m", "core", "scan", material.folder, "--db", url, "--detector", str(detector.folder.resolve())]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    audit = Store(url).recent_audits(1)[0]
    return audit.rate_per_s or 0.0, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _plain_loop(paths: list[str], detector: Detector) -> None:
    """The usual script: read a file, make its image, run the network (eager PyTorch where it is ours), take the next."""
    front_end = detector.build_front_end()
    model = open_session(detector) if detector.is_foreign else detector.load_model()
    with torch.inference_mode():
        for path in paths:
            samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
            mono = torchaudio.functional.resample(torch.from_numpy(samples.mean(axis=1)), rate_hz, SAMPLE_RATE_HZ)
            model(front_end(split_windows(mono, detector.manifest.window_samples))).mean().item()


def _plain_engine(detector: Detector) -> str:
    return "ONNX Runtime" if detector.is_foreign else "eager PyTorch"


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))


def _report(
    material: _Material, detector: Detector, rates: dict[str, float], scans: list[tuple[float, float]], *, plain_rate: float
) -> str:
    limit = 1 / sum(1 / rate for rate in rates.values())
    scan_rate, peak_mib = median(rate for rate, _ in scans), max(memory for _, memory in scans)
    rows = [(f"part: {name}", f"{rate:,.0f}") for name, rate in rates.items()]
    rows += [
        ("limit that follows from the parts", f"{limit:,.0f}"),
        ("the scan (list, hash, decode, score, store)", f"{scan_rate:,.0f}"),
        (f"plain loop (soundfile, {_plain_engine(detector)}, one at a time, first {NUM_PLAIN})", f"{plain_rate:,.0f}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""# Benchmark

Made by `python -m core benchmark FOLDER` (`make benchmark`) on {time.strftime("%Y-%m-%d", time.gmtime())}:
{_processor()}, {_num_cores()} cores, Python {platform.python_version()}, torch {torch.__version__}.
{len(material.paths)} recordings,
{material.duration_s / len(material.paths):.1f} s on average, {len(material.windows)} windows; detector `{detector.name}`
({detector.hash[:12]}). Medians of {NUM_REPEATS}, everything on the same recordings in one run.

| what | recordings/s |
| --- | --- |
{table}

- **Scan against the limit of its parts: {scan_rate / limit:.2f}**
- Scan against the plain loop: {scan_rate / plain_rate:.1f} x
- Memory of the scan at its highest: {peak_mib:,.0f} MiB
"""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
