"""The store at the size of a large audit: how fast a worker writes it, how large it gets, how long each page's query takes.

`python -m core.store.benchmark --db URL --entries 1000000` fills an empty store of either database with made-up results.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import sqlalchemy as sa

from core.calibration import Calibration, Thresholds
from core.checkpoints import Detector, detector_named
from core.errors import CoreError, StoreError
from core.evaluation.reads import labels_version
from core.evaluation.systems import list_trial_sets
from core.protocols import Trial
from core.records import (
    AudioInfo,
    AuditStatus,
    Detection,
    FoundFile,
    ScanSettings,
    ScoredRecording,
    SegmentScore,
    SignalQuality,
    TriageFilter,
    Verdict,
)
from core.store.engine import shown_url
from core.store.ledger import Ledger
from core.store.schema import audits, entries, recordings, scores, segments
from core.store.store import Store
from core.store.triage import (
    add_reviews,
    codecs,
    entry_detail,
    folder_shares,
    folders,
    matching_entries,
    num_warned,
    score_histogram,
    triage_page,
)

BATCH = 250
"""Results per transaction: half a second of a worker that scores 500 recordings/s."""
NUM_REPEATS = 5
"""Each time is the median of this many, after one that is not counted."""
NUM_RECORDED = 10_000
"""Results that are recorded as a worker does, at the beginning and at the end."""
_FOLDERS, _CODECS = 200, ("FLAC", "PCM_16", "ULAW", "MPEG_LAYER_III")
_QUALITY = SignalQuality(level_db=-21.37, peak_db=-2.81, clipped_share=0.0003, silence_share=0.214, bandwidth_hz=6_968.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """What was measured on one store."""

    url: str
    num_entries: int
    rates: tuple[float, float]
    """Results recorded per second: into the empty store, into the full one."""
    bytes_per_entry: float
    """Of the database with its indices, per recording."""
    queries: tuple[tuple[str, float], ...]
    """What a page asks, and the seconds until the answer."""

    def report(self) -> str:
        """As Markdown."""
        lines = [f"### {shown_url(self.url)}, {self.num_entries:,} recordings", ""]
        rates = f"{self.rates[0]:,.0f} recordings/s into the empty store, {self.rates[1]:,.0f} into the full one"
        lines += [f"- ledger, {BATCH} results a transaction: {rates}"]
        lines += [f"- {self.bytes_per_entry:,.0f} bytes per recording, indices included", "", "| query | s |", "| --- | --- |"]
        return "\n".join([*lines, *(f"| {name} | {seconds:.3f} |" for name, seconds in self.queries)]) + "\n"


def benchmark_store(url: str, num_entries: int, *, detector: Detector) -> StoreFigures:
    """Fills an empty store and measures it.

    Raises:
        StoreError: it cannot be opened, or is not empty.
    """
    store = Store(url)
    if store.recent_audits(1):
        raise StoreError(f"{shown_url(url)} holds audits; the benchmark fills a store of its own. Name one that is not there yet.")
    settings = ScanSettings(protocol="made-up.txt")
    ledger = Ledger(store, store.create_audit("/made/up", detector, settings), f"{os.uname().nodename}:{os.getpid()}:benchmark")
    ledger.claim()
    num_recorded = min(num_entries // 2, NUM_RECORDED)
    first = _record_all(ledger, range(num_recorded))
    _copy(store, num_recorded, num_entries // num_recorded - 2)
    last = _record_all(ledger, range(num_recorded, 2 * num_recorded))
    ledger.release(AuditStatus.FINISHED)
    ids = matching_entries(store, ledger.audit_id, limit=num_entries // 100)
    add_reviews(store, ids, verdict="spoof", reviewer="benchmark", note="heard")
    _settle(store)
    num_entries = store.audit(ledger.audit_id).num_done
    queries = tuple((name, _timed(query)) for name, query in _queries(store, ledger.audit_id, ids[0], num_entries).items())
    return StoreFigures(
        url=url, num_entries=num_entries, rates=(first, last), bytes_per_entry=_size_bytes(store) / num_entries, queries=queries
    )


def _record_all(ledger: Ledger, numbers: range) -> float:
    """Lists and records files as a worker does; returns results recorded per second."""
    rng = np.random.default_rng(numbers.start)
    trials = {_utterance(number): _trial(number) for number in numbers[::2]}
    ledger.add_entries([FoundFile(path_bytes=_path(number).encode(), size_bytes=64_000) for number in numbers], trials)
    seconds, after = 0.0, 0
    while pending := ledger.pending_files(after=after, limit=BATCH):
        after = pending[-1].entry_id
        scores = rng.normal(-5.0, 3.0, len(pending))
        scored = [(file.entry_id, _record(file.path_bytes.decode(), score)) for file, score in zip(pending, scores, strict=True)]
        started = time.perf_counter()
        ledger.record_results(scored=scored, reused=[])
        seconds += time.perf_counter() - started
    ledger.mark_listed()
    return len(numbers) / seconds


def _copy(store: Store, num: int, num_copies: int) -> None:
    """Copies all rows of a store whose ids run from 1 to `num`, with names, contents and scores of their own.

    A worker would need a quarter of an hour or more for a million; what queries meet is the same.
    """
    start = sa.select(sa.literal(1).label("copy")).cte(recursive=True)
    copies = start.union_all(sa.select(start.c.copy + 1).where(start.c.copy < num_copies))
    step, text = copies.c.copy * num, sa.cast(copies.c.copy + 100_000, sa.Text)
    path = sa.func.replace(entries.c.path, "MU_", sa.literal("MU") + text + "_")
    moved = {
        recordings: {"id": recordings.c.id + step, "sha256": sa.func.substr(recordings.c.sha256, 1, 58) + text},
        scores: {"id": scores.c.id + step, "recording_id": scores.c.recording_id + step},
        segments: {"score_id": segments.c.score_id + step},
        entries: {name: entries.c[name] + step for name in ("id", "recording_id", "score_id")}
        | {"spoof_score": entries.c.spoof_score + 0.01 * copies.c.copy, "path": path, "path_bytes": sa.cast(path, sa.LargeBinary)},
    }
    with store.writing() as connection:
        for table, changed in moved.items():
            columns = [changed.get(column.name, column).label(column.name) for column in table.c]
            query = sa.select(*columns).select_from(table.join(copies, sa.true()))
            connection.execute(table.insert().from_select([column.name for column in table.c], query))
            if store.engine.dialect.name == "postgresql" and table is not segments:
                sequence = sa.func.pg_get_serial_sequence(table.name, "id")
                connection.execute(sa.select(sa.func.setval(sequence, num * (num_copies + 1))))
        num_all = num * (num_copies + 1)
        connection.execute(audits.update().values(num_files=num_all, num_done=num_all))


def _path(number: int) -> str:
    return f"archive/{number % _FOLDERS:03}/{_utterance(number)}.flac"


def _utterance(number: int) -> str:
    return f"MU_{number:08}"


def _trial(number: int) -> Trial:
    attack = f"A{7 + number % 13:02}" if number % 3 else None
    label = "spoof" if attack else "bona fide"
    return Trial(speaker=f"S{number % 500:03}", utterance=_utterance(number), environment=None, attack=attack, label=label)


def _record(path: str, score: float) -> ScoredRecording:
    """A recording of two windows; one in fifty is refused."""
    sha256 = hashlib.sha256(path.encode()).hexdigest()
    choice = int(sha256[:8], 16)
    info = AudioInfo(
        container="FLAC", codec=_CODECS[choice % 4], sample_rate_hz=16_000, num_channels=1, duration_s=6.0, size_bytes=64_000
    )
    refusal = {"verdict": Verdict.REFUSED, "spoof_score": None, "probability": None, "segments": ()}
    refusal |= {"reason_code": "silent", "reason": "Nothing is louder than -60 dBFS."}
    judged = {"verdict": Thresholds(lower=-1.0, upper=1.0).verdict(score), "spoof_score": float(score)}
    judged["probability"] = Calibration(slope=1.0, offset=0.0).probability(float(score))
    judged["segments"] = tuple(SegmentScore(start_s=s, end_s=s + 4.0, spoof_score=float(score)) for s in (0.0, 2.0))
    outcome = refusal if choice % 50 == 0 else judged
    detection = Detection(channel="mix", duration_s=2.0 + choice % 900 / 100, quality=_QUALITY, warnings=(), **outcome)
    return ScoredRecording(path=path, sha256=sha256, info=info, detections=(detection,))


def _queries(store: Store, audit_id: int, entry_id: int, num_entries: int) -> dict[str, Callable[[], object]]:
    """What the pages ask, by name."""
    page = partial(triage_page, store, audit_id)
    filters = {
        "highest scores": TriageFilter(),
        "lowest scores": TriageFilter(order="safe"),
        "by path": TriageFilter(order="path"),
        "longest": TriageFilter(order="duration"),
        "spoof": TriageFilter(verdicts=("spoof",)),
        "bona fide": TriageFilter(verdicts=("bona fide",)),
        "bona fide or inconclusive, lowest scores": TriageFilter(verdicts=("bona fide", "inconclusive"), order="safe"),
        "refused, by path": TriageFilter(verdicts=("refused",), order="path"),
        "scores from -1 to 1": TriageFilter(min_score=-1.0, max_score=1.0),
        "one folder of 200": TriageFilter(folder="archive/007"),
        "one codec of 4": TriageFilter(codecs=("ULAW",)),
        "a text that few paths hold": TriageFilter(text="0004711"),
        "a text that no path holds": TriageFilter(text="nowhere"),
        "reviewed": TriageFilter(review="reviewed"),
        "not reviewed": TriageFilter(review="unreviewed"),
        "reviewed as spoof": TriageFilter(review="spoof"),
    }
    queries: dict[str, Callable[[], object]] = {"recent audits": store.recent_audits}
    queries |= {f"triage: {name}": partial(page, filter) for name, filter in filters.items()}
    queries |= {"triage: highest scores, page in the middle": partial(page, TriageFilter(), offset=num_entries // 2)}
    queries |= {"triage: by path, page in the middle": partial(page, TriageFilter(order="path"), offset=num_entries // 2)}
    return queries | {
        "histogram": partial(score_histogram, store, audit_id),
        "folder shares": partial(folder_shares, store, audit_id),
        "folders of the filter": partial(folders, store, audit_id),
        "codecs of the filter": partial(codecs, store, audit_id),
        "telephone recordings": partial(num_warned, store, audit_id, "narrowband"),
        "one recording": partial(entry_detail, store, entry_id),
        "list of trial sets": partial(list_trial_sets, store),
        "version of the labels": partial(labels_version, store),
    }


def _timed(query: Callable[[], object]) -> float:
    query()
    times = []
    for _ in range(NUM_REPEATS):
        started = time.perf_counter()
        query()
        times.append(time.perf_counter() - started)
    return median(times)


def _settle(store: Store) -> None:
    """What a database does by itself sooner or later, done at once: statistics, the log written back into the tables."""
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    else:
        with store.reading() as connection:
            connection.commit()
            connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _size_bytes(store: Store) -> int:
    with store.reading() as connection:
        if store.engine.dialect.name == "postgresql":
            return connection.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database())))
        return connection.exec_driver_sql("PRAGMA page_count").scalar() * connection.exec_driver_sql("PRAGMA page_size").scalar()


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m core.store.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--db", required=True, metavar="URL", help="a store that is not there yet, in SQLite or PostgreSQL")
    parser.add_argument("--entries", type=int, default=1_000_000, metavar="NUM", help="how many recordings (default: a million)")
    options = parser.parse_args(arguments)
    try:
        if options.entries < 100:
            raise CoreError(f"--entries expects 100 or more, got {options.entries}.")
        print(benchmark_store(options.db, options.entries, detector=detector_named()).report())
    except CoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
