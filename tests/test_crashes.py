"""kill -9 at random moments, fifty times in a run: in the end the store is that of an uninterrupted run."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sqlalchemy as sa

from core.checkpoints import Detector
from core.records import AuditStatus, ScanSettings
from core.scanning.scan import prepare_audit, run_audit
from core.store.events import audit_events, broken_links
from core.store.schema import entries, recordings, reviews, scores, segments
from core.store.store import Store
from core.store.triage import matching_entries

ROOT = Path(__file__).parents[1]
KILLER = """
import os, random, signal, sys, time
import onnxruntime, torch
from core.scanning.scan import run_audit
from core.store.store import Store
from core.store.triage import add_reviews

url, what, num_kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance, killed, ended = random.Random(seed), 0, 0

def work():
    store = Store(url)
    if what == "scan":
        run_audit(store, 1)
    else:  # as the dashboard's server writes them
        while True:
            add_reviews(store, [int(sys.argv[5])], verdict="spoof", reviewer="Ada", note=str(time.time_ns()))

while killed < num_kills and not ended:
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(chance.uniform(0.02, 0.7))
    ended = os.waitpid(pid, os.WNOHANG)[0]
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        killed += 1
print(killed)
"""
"""Forks a writer again and again and kills each at a random moment; prints how many died so."""


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def calls(tmp_path: Path, speech_like: Callable) -> Path:
    """Recordings for several seconds of work, some of them copies of others."""
    folder = tmp_path / "calls"
    folder.mkdir()
    sounds = [speech_like(6.0, seed)[::2] for seed in range(5)]
    for i in range(380):
        soundfile.write(folder / f"{i:03}.wav", np.roll(sounds[i % 5], 1_001 * (i % 360)), 8_000, subtype="ULAW")
    return folder


def killed(store: Store, what: str, num: int, *arguments: str) -> int:
    command = [sys.executable, "-c", KILLER, store.url, what, str(num), "7", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def content_of(store: Store, audit_id: int) -> dict[str, tuple]:
    query = sa.select(entries.c.path, entries.c.verdict, entries.c.spoof_score, recordings.c.sha256)
    query = query.outerjoin_from(entries, recordings).where(entries.c.audit_id == audit_id)
    with store.reading() as connection:
        return {row.path: (row.verdict, row.sha256, row.spoof_score) for row in connection.execute(query)}


def numbers_of(store: Store) -> list[int]:
    tables = (entries, recordings, scores, segments)
    with store.reading() as connection:
        return [connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in tables]


@contextmanager
def cut_connections(store: Store) -> Iterator[list[int]]:
    """Ends all connections to a PostgreSQL database at random moments, ten times; tells how many it ended each time."""
    others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    others += " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    chance, is_over, cut = random.Random(7), threading.Event(), []
    engine = sa.create_engine(store.url, poolclass=sa.NullPool)

    def work() -> None:
        while len(cut) < 10 and not is_over.wait(chance.uniform(0.05, 0.4)):
            with engine.connect() as connection:
                cut.append(connection.scalar(sa.text(others)))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield cut
    finally:
        is_over.set()
        thread.join()


def test_workers_killed_at_random(store: Store, calls: Path, lively_detector: Detector, tmp_path: Path) -> None:
    prepare_audit(store, str(calls), lively_detector, ScanSettings())
    num = 14 if store.url.startswith("sqlite") else 8
    assert killed(store, "scan", num) == num
    if store.url.startswith("sqlite"):
        audit = run_audit(store, 1, detector=lively_detector)
    else:
        with cut_connections(store) as cut:
            audit = run_audit(store, 1, detector=lively_detector)
        assert sum(num > 0 for num in cut) >= 3
    assert (audit.status, audit.num_files, audit.num_done) == (AuditStatus.FINISHED, 380, 380)
    whole = Store(f"sqlite:///{tmp_path / 'whole.db'}")
    expected = run_audit(whole, prepare_audit(whole, str(calls), lively_detector, ScanSettings()), detector=lively_detector)
    found, wanted = content_of(store, 1), content_of(whole, 1)
    assert found.keys() == wanted.keys()
    for path, (verdict, sha256, score) in wanted.items():
        assert found[path][:2] == (verdict, sha256)
        assert found[path][2] == pytest.approx(score, abs=1e-4)
    assert numbers_of(store) == numbers_of(whole) == [380, 360, 360, 360]
    counters = ("num_spoof", "num_inconclusive", "num_bona_fide", "num_refused", "num_reused", "num_done")
    assert [getattr(audit, name) for name in counters] == [getattr(expected, name) for name in counters]
    assert broken_links(audit_events(store, 1)) == ()


def test_a_server_killed_while_it_writes_reviews(store: Store, calls: Path, lively_detector: Detector) -> None:
    for path in sorted(calls.iterdir())[3:]:
        path.unlink()
    run_audit(store, prepare_audit(store, str(calls), lively_detector, ScanSettings()), detector=lively_detector)
    entry = matching_entries(store, 1)[0]
    assert killed(store, "review", 14, str(entry)) == 14
    with store.reading() as connection:
        notes = list(connection.scalars(sa.select(reviews.c.note).order_by(reviews.c.id)))
    log = audit_events(store, 1)
    assert len(notes) > 20
    assert [json.loads(event.details)["note"] for event in log if event.action == "reviewed"] == notes
    assert broken_links(log) == ()
