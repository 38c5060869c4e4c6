"""The Ray engine measured against the local one on the same recordings, and what its driver costs. Prints, judges nothing.

`python -m core.scanning.cluster.benchmark FOLDER`, with a few thousand recordings; its figures are in
`data/results/scale/measured.json`.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.checkpoints import Detector, detector_named
from core.detect import Scorer
from core.errors import CoreError
from core.records import Audit, ScanSettings
from core.scanning.local_engine import Engine, LocalEngine
from core.scanning.parquet_ledger import ParquetLedger
from core.scanning.ray_scan import ray_engine
from core.scanning.scan import check_settings, prepare_audit, run_audit, work_on, worker_name
from core.store.store import Store


@dataclass
class _Watch:
    """Rate and processor time of this process from the first result to the last."""

    first: tuple[float, float, int] | None = None
    last: tuple[float, float, int] = (0.0, 0.0, 0)

    def see(self, audit: Audit) -> None:
        if audit.num_done:
            self.last = time.monotonic(), time.process_time(), audit.num_done
            self.first = self.first or self.last

    def report(self) -> str:
        (start_s, start_cpu_s, start), (end_s, end_cpu_s, end) = self.first or self.last, self.last
        num = max(1, end - start)
        rate = num / max(1e-9, end_s - start_s)
        return f"{rate:,.0f} recordings/s over {num:,}, {1000 * (end_cpu_s - start_cpu_s) / num:.2f} ms of this process each"


def compare(folder: str, detector: Detector, *, address: str | None, scratch: Path) -> str:
    """Scans a folder by both engines into stores, and by Ray into Parquet; Markdown."""
    lines = []
    with ray_engine(detector, address=address) as engine:
        lines.append(f"- ray, into SQLite: {_to_store(folder, detector, engine, scratch / 'ray.db')}")
        lines.append(f"- ray, into Parquet: {_to_files(folder, detector, engine, scratch / 'results')}")
    lines.append(f"- local, into SQLite: {_to_store(folder, detector, LocalEngine(Scorer(detector)), scratch / 'local.db')}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join([*lines, f"- memory of this process at its highest: {peak_mib:,.0f} MiB"])


def _to_store(folder: str, detector: Detector, engine: Engine, database: Path) -> str:
    store = Store(f"sqlite:///{database}")
    audit_id = prepare_audit(store, folder, detector, ScanSettings())
    return _watched(lambda see: run_audit(store, audit_id, detector=detector, engine=engine, on_progress=see))


def _to_files(folder: str, detector: Detector, engine: Engine, results: Path) -> str:
    settings = ScanSettings()
    place = check_settings(folder, settings)
    ledger = ParquetLedger(results.as_uri(), folder=place, detector=detector, settings=settings, worker=worker_name())
    text = _watched(lambda see: work_on(ledger, lambda _: engine, on_progress=see))
    num_bytes = sum(path.stat().st_size for path in (results / "results").iterdir())
    return f"{text}, {num_bytes / max(1, ledger.audit().num_done):,.0f} bytes each"


def _watched(scan: Callable[[Callable[[Audit], None]], Audit]) -> str:
    watch = _Watch()
    watch.see(scan(watch.see))
    return watch.report()


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m core.scanning.cluster.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder with recordings")
    parser.add_argument("--detector", metavar="NAME", help="name, hash or folder of a detector (default: the shipped one)")
    parser.add_argument("--address", metavar="HOST:PORT", help="head of the Ray cluster (default: this machine alone)")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            print(compare(options.folder, detector_named(options.detector), address=options.address, scratch=Path(scratch)))
    except CoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
