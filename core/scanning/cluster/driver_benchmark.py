"""How many recordings a second one driver of the Ray engine can take in, when decoding and scoring cost nothing. Prints.

`python -m core.scanning.cluster.driver_benchmark`: tasks and actors give made-up results at once; listing, ledger,
Ray's calls are real.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from core.audio import Channels
from core.checkpoints import Detector, detector_named
from core.errors import CoreError
from core.records import AudioInfo, Audit, FoundFile, ScanSettings, SignalQuality
from core.scanning.cluster import fleet
from core.scanning.cluster.decoding import PIECE_WINDOWS, Piece
from core.scanning.cluster.scoring import ScoredPiece, ScoringActor
from core.scanning.parquet_ledger import ParquetLedger
from core.scanning.ray_scan import ray_engine
from core.scanning.scan import work_on, worker_name
from core.sketches import ChannelSketch, Sketch
from core.store.ledger import Ledger
from core.store.store import Store

_INFO = AudioInfo(container="FLAC", codec="PCM_16", sample_rate_hz=16_000, num_channels=1, duration_s=6.0, size_bytes=64_000)


def hash_made_up(folder: str, paths: tuple[bytes, ...]) -> tuple[str, ...]:
    """A hash of each name, in place of its content."""
    return tuple(hashlib.sha256(path).hexdigest() for path in paths)


def decode_made_up(folder: str, paths: tuple[bytes, ...], channels: Channels, window_samples: int) -> Iterator[Piece]:
    """Two windows of one sample for each name."""
    for first in range(0, len(paths), PIECE_WINDOWS // 2):
        numbers = range(first, min(first + PIECE_WINDOWS // 2, len(paths)))
        places = tuple((number, 0, index) for number in numbers for index in range(2))
        sketches = tuple((number, _sketch(paths[number])) for number in numbers)
        yield Piece(windows=np.zeros((len(places), 1), np.float32), places=places, sketches=sketches)


def _sketch(path: bytes) -> Sketch:
    sha256 = hashlib.sha256(path).hexdigest()
    level_db = -20.0 - int(sha256[:4], 16) / 10_000
    quality = SignalQuality(level_db=level_db, peak_db=-2.81, clipped_share=0.0003, silence_share=0.214, bandwidth_hz=6_968.75)
    channel = ChannelSketch(name="mix", starts=(0, 32_000), duration_s=6.0, quality=quality)
    return Sketch(path=path.decode(), sha256=sha256, info=_INFO, channels=(channel,))


class MadeUpActor(ScoringActor):
    """Scores without a network."""

    def score(self, piece: Piece) -> ScoredPiece:
        """A score that follows from the recording's hash."""
        made_up = {number: (int(sketch.sha256[:6], 16) / 2**20 - 8.0, 0.5) for number, sketch in piece.sketches}
        return ScoredPiece(scores=tuple((place, made_up[place[0]]) for place in piece.places), sketches=piece.sketches)


class _Watch:
    """Recordings/s and processor time from the first result to the last."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, int]] = []

    def see(self, audit: Audit) -> None:
        if audit.num_done:
            self.seen.append((time.monotonic(), time.process_time(), audit.num_done))

    def words(self) -> str:
        (start_s, start_cpu_s, start), (end_s, end_cpu_s, end) = self.seen[0], self.seen[-1]
        num = max(1, end - start)
        return f"{num / (end_s - start_s):,.0f} recordings/s, {1000 * (end_cpu_s - start_cpu_s) / num:.3f} ms of the driver each"


def measure(ledger: Ledger | ParquetLedger, num_files: int, engine: object) -> str:
    """Lists made-up files and has them scored; words."""
    ledger.claim()
    for first in range(0, num_files, 2_000):
        names = [b"archive/%03d/MU_%08d.flac" % (number % 200, number) for number in range(first, min(first + 2_000, num_files))]
        ledger.add_entries([FoundFile(path_bytes=name, size_bytes=64_000) for name in names])
    ledger.mark_listed()
    watch = _Watch()
    work_on(ledger, lambda _: engine, on_progress=watch.see)
    return watch.words()


def run(num_files: int, detector: Detector, *, db: str | None, address: str | None, scratch: Path) -> Iterator[str]:
    """Measures with each kind of ledger; yields a line for each."""
    from core.scanning.cluster import flow  # needs Ray

    tasks = patch.multiple(flow, hash_files=hash_made_up, decode_files=decode_made_up)
    with tasks, patch.object(fleet, "ScoringActor", MadeUpActor), ray_engine(detector, address=address) as engine:
        store = Store(db or f"sqlite:///{scratch / 'made-up.db'}")
        audit_id = store.create_audit("/made/up", detector, ScanSettings())
        ledger = Ledger(store, audit_id, worker=worker_name())
        yield f"- into the store ({store.engine.dialect.name}): {measure(ledger, num_files, engine)}"
        url = (scratch / "results").as_uri()
        files = ParquetLedger(url, folder="/made/up", detector=detector, settings=ScanSettings(), worker=worker_name())
        yield f"- into Parquet: {measure(files, num_files, engine)}"


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m core.scanning.cluster.driver_benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=40_000, metavar="N", help="made-up recordings (default: 40000)")
    parser.add_argument("--db", metavar="URL", help="a store that is not there yet (default: SQLite in a scratch folder)")
    parser.add_argument("--address", metavar="HOST:PORT", help="head of the Ray cluster (default: this machine alone)")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            where = {"db": options.db, "address": options.address, "scratch": Path(scratch)}
            for line in run(options.files, detector_named(), **where):
                print(line, flush=True)
    except CoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
