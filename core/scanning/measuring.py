"""What benchmarks of the scan are made of: recordings to measure on, the parts' work, real scans, tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from core.audio import SAMPLE_RATE_HZ, load, sha256_of
from core.checkpoints import Detector
from core.errors import AudioRefusal, ScanError
from core.records import ScanSettings
from core.scanning.discovery import find_files
from core.segments import split_windows
from core.store.store import Store

_ROOT = Path(__file__).parents[2]
# Linux counts the memory of the process that started a program as that program's peak: a small one stands between.
_MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


@dataclass(frozen=True, slots=True)
class Material:
    """The recordings measured on: readable, at most about 10 s on average."""

    folder: str
    paths: list[str]
    windows: torch.Tensor
    duration_s: float


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan did."""

    num_recordings: int
    rate: float
    """Recordings/s."""
    peak_mib: float
    """Memory at its highest, of the largest of its processes."""


def gather_material(folder: str, window_samples: int) -> Material:
    """Lists and decodes a folder; what cannot be read is left out.

    Raises:
        ScanError: the folder holds nothing that can be decoded.
    """
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
    return Material(folder, paths, torch.cat(windows), num_samples / SAMPLE_RATE_HZ)


def hash_and_decode(path: str) -> None:
    """The part of a scan that turns a file into samples."""
    sha256_of(path)
    load(path)


def in_parallel(work: Callable, items: Sequence) -> None:
    """One thread per core, each with one thread of its own, as the scan runs them."""
    with ThreadPoolExecutor(num_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for _ in pool.map(work, items):
            pass


def measured_scan(folder: str, detector: Detector, database: Path, *, device: str = "cpu") -> Scan:
    """A real scan in a process of its own, into an empty store.

    Raises:
        ScanError: it failed; says how to see why.
    """
    command = scan_command(folder, detector, database, device=device)
    done = subprocess.run([sys.executable, "-c", _MEASURED, *command], capture_output=True, cwd=_ROOT)
    if done.returncode:
        raise ScanError(f"The scan of {folder} ended with status {done.returncode}; run `{' '.join(command)}` to see why.")
    audit = Store(f"sqlite:///{database}").recent_audits(1)[0]
    return Scan(audit.num_done, audit.rate_per_s or 0.0, int(done.stdout) / 1024)


def scan_command(folder: str, detector: Detector, database: Path, *, device: str = "cpu") -> list[str]:
    """A scan of a folder by the command line, into that SQLite file."""
    options = ["--db", f"sqlite:///{database}", "--detector", str(detector.folder.resolve()), "--device", device]
    return [sys.executable, "-m", "core", "scan", folder, *options]


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def machine_words() -> str:
    """What it was measured on and with, for a report."""
    return f"{_processor()}, {num_cores()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def _processor() -> str:
    """As the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
