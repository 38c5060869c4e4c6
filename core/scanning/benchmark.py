"""The scan measured against the sum of its parts, on the same recordings in one run. Prints ratios, judges nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from statistics import median

import soundfile
import torch
import torchaudio

from core.audio import SAMPLE_RATE_HZ
from core.checkpoints import Detector
from core.detect import BATCH_WINDOWS, Scorer
from core.errors import ScanError
from core.records import AuditStatus, FoundFile, ScanSettings, ScoredRecording
from core.reports import markdown_table
from core.runtime import engine_words, open_session
from core.scanning.first_result import first_of_command_s, first_of_dashboard_s
from core.scanning.measuring import (
    Material,
    Scan,
    gather_material,
    hash_and_decode,
    in_parallel,
    machine_words,
    measured_scan,
    num_cores,
    seconds_of,
)
from core.scanning.scan import worker_name
from core.segments import split_windows
from core.store.benchmark import benchmark_store
from core.store.ledger import Ledger
from core.store.store import Store

NUM_REPEATS = 5
"""Each figure is the median of this many measurements, taken in turn."""
RESULTS_A_TRANSACTION = 50
"""What a scan has by the time that it writes, at 100 recordings/s."""
_STORE = "store (entries and results; one writer)"
NUM_PLAIN = 100
"""Recordings that go through the plain loop."""


def run_benchmark(
    folder: str,
    detector: Detector,
    *,
    scratch: Path,
    peer: Detector | None = None,
    sizes: Sequence[int] = (),
    num_entries: int | None = None,
) -> str:
    """Measures and reports as Markdown.

    Each part is measured alone, with all cores but for the store, which has one writer. The limit is what the cores could do if the
    parts' time on them simply added up.

    Args:
        folder: recordings to measure on; a few hundred of a few seconds each.
        detector: the detector to run.
        scratch: folder for the scan's stores and for copies of the recordings.
        peer: another detector, run by the plain loop on the same recordings.
        sizes: numbers of recordings to scan too: copies of those in the folder, each with bytes of its own.
        num_entries: recordings in the made-up store that answers the dashboard's queries; None leaves that out.

    Raises:
        ScanError: the folder holds nothing that can be decoded, or the scratch folder has no room for the copies.
    """
    material = gather_material(folder, detector.manifest.window_samples)
    front_end, session = detector.build_front_end(), open_session(detector)
    batches = material.windows.split(BATCH_WINDOWS)
    with torch.inference_mode():
        images = [front_end(batch) for batch in batches]
    records = list(Scorer(detector).score_files(material.paths))
    databases = (scratch / f"part {number}.db" for number in count())
    parts: dict[str, Callable[[], object]] = {
        "decoding (hash, read, resample)": lambda: in_parallel(hash_and_decode, material.paths),
        f"features ({detector.manifest.input_words})": lambda: in_parallel(_without_gradients(front_end), batches),
        f"network ({detector.manifest.model}, {engine_words(detector)})": lambda: in_parallel(session, images),
        _STORE: lambda: _write(material, detector, records, next(databases)),
    }
    for part in parts.values():
        part()  # warm caches and allocators
    times: dict[str, list[float]] = {name: [] for name in parts}
    scans: list[Scan] = []
    first_s: dict[str, list[float]] = {"command": [], "dashboard": []}
    for repeat in range(NUM_REPEATS):
        for name, part in parts.items():
            times[name].append(seconds_of(part))
        scans.append(measured_scan(material.folder, detector, scratch / f"{repeat}.db"))
        first_s["command"].append(first_of_command_s(material.folder, detector, scratch / f"{repeat} command.db"))
        first_s["dashboard"].append(first_of_dashboard_s(material.folder, detector, scratch / f"{repeat} dashboard.db"))
    costs_s = {name: median(measured) / len(material.paths) for name, measured in times.items()}
    core_s = {name: cost_s * (1 if name == _STORE else num_cores()) for name, cost_s in costs_s.items()}
    plain_rates = [(model, _plain_rate(material.paths[:NUM_PLAIN], model)) for model in (detector, peer) if model]
    limit = num_cores() / sum(core_s.values())
    report = _report(
        material, detector, core_s, scans, plain_rates, limit=limit, first_s={k: median(v) for k, v in first_s.items()}
    )
    if sizes:
        report += _sizes_report([_scan_of_size(size, material, detector, scratch) for size in sizes], limit)
    if num_entries:
        store = benchmark_store(f"sqlite:///{scratch / 'queries.db'}", num_entries, detector=detector)
        report += f"\n## What the dashboard asks of a large store\n\n{store.report()}"
    return report


def _without_gradients(front_end: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return front_end(batch)

    return run


def _write(material: Material, detector: Detector, records: Sequence[ScoredRecording], database: Path) -> None:
    """What a scan writes into an empty store, by its one writing thread."""
    store = Store(f"sqlite:///{database}")
    ledger = Ledger(store, store.create_audit(material.folder, detector, ScanSettings()), worker_name())
    ledger.claim()
    files = {os.fsencode(os.path.relpath(path, material.folder)): os.path.getsize(path) for path in material.paths}
    ledger.add_entries([FoundFile(path_bytes=path, size_bytes=size) for path, size in files.items()], {})
    scored = [
        (file.entry_id, record) for file, record in zip(ledger.pending_files(after=0, limit=len(files)), records, strict=True)
    ]
    for start in range(0, len(scored), RESULTS_A_TRANSACTION):
        ledger.record_results(scored=scored[start : start + RESULTS_A_TRANSACTION], reused=[])
    ledger.release(AuditStatus.FINISHED)


def _scan_of_size(size: int, material: Material, detector: Detector, scratch: Path) -> Scan:
    """A scan of so many recordings: copies with some bytes added at the end, which decoders pass over and hashes do not."""
    needed = size * sum(os.path.getsize(path) for path in material.paths) / len(material.paths)
    if needed > shutil.disk_usage(scratch).free:
        raise ScanError(f"{size:,} recordings need {needed / 2**30:.0f} GiB in {scratch}; set TMPDIR to a place with more room.")
    folder = scratch / f"{size} recordings"
    for number in range(size):
        source = material.paths[number % len(material.paths)]
        copy = folder / f"{number // 1_000:04}" / f"{number:08}{Path(source).suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(Path(source).read_bytes() + number.to_bytes(8, "big"))
    done = measured_scan(str(folder), detector, scratch / f"{size} recordings.db")
    shutil.rmtree(folder)
    return done


def _plain_rate(paths: list[str], detector: Detector) -> float:
    return len(paths) / seconds_of(lambda: _plain_loop(paths, detector))


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


def _report(
    material: Material,
    detector: Detector,
    core_s: dict[str, float],
    scans: list[Scan],
    plain_rates: list[tuple[Detector, float]],
    *,
    limit: float,
    first_s: dict[str, float],
) -> str:
    scan_rate, peak_mib = median(scan.rate for scan in scans), max(scan.peak_mib for scan in scans)
    shown = [(f"part: {name}", num_cores() / cost_s) for name, cost_s in core_s.items()]
    shown += [("limit that follows from the parts", limit), ("the scan (list, hash, decode, score, store)", scan_rate)]
    rows = [(name, f"{rate:,.0f}", f"{1_000 * num_cores() / rate:,.2f}") for name, rate in shown]
    rows += [
        (f"plain loop (soundfile, `{model.name}` in {_plain_engine(model)}, one at a time, first {NUM_PLAIN})", f"{rate:,.0f}", "")
        for model, rate in plain_rates
    ]
    lines = [f"- Scan against the plain loop with `{model.name}`: {scan_rate / rate:.1f} x" for model, rate in plain_rates]
    lines += [
        f"- First result in the store: {first_s['command']:.1f} s after the start of the command's process",
        f"- First result in the store: {first_s['dashboard']:.1f} s after the dashboard started an audit",
    ]
    return f"""# Benchmark

Made by `python -m core benchmark FOLDER` (`make benchmark`) on {time.strftime("%Y-%m-%d", time.gmtime())}:
{machine_words()}.
{len(material.paths)} recordings,
{material.duration_s / len(material.paths):.1f} s on average, {len(material.windows)} windows; detector `{detector.name}`
({detector.hash[:12]}). Medians of {NUM_REPEATS}, everything on the same recordings in one run.

{markdown_table(("what", "recordings/s with all cores", "core-ms a recording"), rows)}

- **Scan against the limit of its parts: {scan_rate / limit:.2f}**
{"".join(f"{line}{chr(10)}" for line in lines)}- Memory of the scan at its highest: {peak_mib:,.0f} MiB
"""


def _sizes_report(scans: list[Scan], limit: float) -> str:
    rows = [
        (f"{scan.num_recordings:,}", f"{scan.rate:,.0f}", f"{scan.rate / limit:.2f}", f"{scan.peak_mib:,.0f}") for scan in scans
    ]
    table = markdown_table(("recordings", "recordings/s", "against the limit of the parts", "memory at its highest, MiB"), rows)
    words = "Copies of the same recordings, each with bytes of its own; one scan of each number."
    return f"\n## The scan by the number of recordings\n\n{words}\n\n{table}\n"
