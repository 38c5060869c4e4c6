"""Auditing a folder: list, hash, score, record. Runs in a process of its own; the store is its ledger.

A feeder thread lists pending files, hashes them and sorts out what is known; worker threads decode and score; the
calling thread writes results, beats and obeys. Nothing is scored before it is in the ledger, nothing written twice.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from core.audio import sha256_of
from core.checkpoints import Detector, detector_named
from core.detect import Scorer
from core.discovery import find_files
from core.errors import AudioRefusal, CoreError, ScanError, StoreUnavailableError
from core.ledger import Ledger
from core.protocols import read_protocol
from core.records import Audit, AuditStatus, PendingFile, ScanSettings, ScoredRecording
from core.runtime import cache_folder
from core.store import Store

LISTING_BATCH = 2_000
"""Files listed per transaction."""
PAGE = 512
"""Pending files read from the ledger at a time."""
COMMIT_S = 0.5
"""Results are written at least this often."""
BEAT_S = 1.0
"""Heartbeats, and looks at what is requested, are this far apart."""


def run_audit(
    store: Store, audit_id: int, *, detector: Detector | None = None, on_progress: Callable[[Audit], None] | None = None
) -> Audit:
    """Works on an audit until it is finished, paused or cancelled; goes on where an earlier worker stopped.

    Args:
        store: the ledger.
        audit_id: which audit.
        detector: the audit's, where it is not installed; found by its hash when None.
        on_progress: told the audit about once a second.

    Returns:
        The audit as it stands at the end.

    Raises:
        ScanError: another living worker has it, or the folder cannot be listed.
        CoreError: detector or protocol cannot be read.
    """
    ledger = Ledger(store, audit_id, worker=f"{os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    if not ledger.claim():
        raise ScanError(f"Another worker is scoring audit {audit_id}; wait for it, or pause it first.")
    try:
        audit = ledger.audit()
        scorer = Scorer(detector or detector_named(audit.detector_hash))
        run = _Run(store, ledger, audit, scorer, on_progress or (lambda audit: None))
        status = run.work()
        ledger.release(status, run.message)
    except KeyboardInterrupt:
        ledger.patience.end()
        ledger.release(AuditStatus.PAUSED, "Interrupted from the keyboard; run it again to go on.")
    except BaseException as error:
        ledger.patience.end()
        with suppress(StoreUnavailableError):  # a worker that is gone is seen to be gone, without a word from it
            ledger.release(AuditStatus.FAILED, str(error) if isinstance(error, CoreError) else f"Unexpected failure: {error!r}")
        raise
    return ledger.audit()


def start_audit(store: Store, folder: str, detector: Detector, settings: ScanSettings) -> int:
    """Creates an audit, or continues the unfinished one of exactly this work, in a worker process.

    Returns:
        The audit's id.

    Raises:
        ScanError: the folder is not there or its name is not valid UTF-8.
    """
    audit_id = prepare_audit(store, folder, detector, settings)
    resume_audit(store, audit_id)
    return audit_id


def prepare_audit(store: Store, folder: str, detector: Detector, settings: ScanSettings) -> int:
    """As `start_audit`, but starts no worker."""
    folder = os.path.abspath(folder)
    try:
        folder.encode()
    except UnicodeEncodeError:
        raise ScanError("The folder's own name is not valid UTF-8; rename it or scan the folder above it.") from None
    next(find_files(folder, settings), None)  # raises where the folder cannot be listed
    if settings.protocol:
        read_protocol(settings.protocol)
    unfinished = store.find_unfinished(folder, detector.hash, settings)
    return unfinished.id if unfinished else store.create_audit(folder, detector, settings)


def resume_audit(store: Store, audit_id: int) -> None:
    """Starts a worker process for an audit. It outlives this process; its output goes to a log in the cache folder.

    Raises:
        StoreError: a living worker has it.
    """
    store.queue(audit_id)
    cache_folder().mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "core", "worker", str(audit_id)]
    options = {"start_new_session": True, "cwd": Path(__file__).parents[1]}
    options["env"] = os.environ | {"EARWITNESS_DB": store.url}  # everybody may read arguments, and the URL may hold a password
    with open(cache_folder() / f"worker-{audit_id}.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
    # Reaps the child, so that a killed worker does not linger as a zombie that looks alive.
    threading.Thread(target=process.wait, daemon=True).start()


@dataclass(frozen=True, slots=True)
class _Result:
    """What a thread found out about an entry: a new record, a known content, or a copy of one under way."""

    entry_id: int
    sha256: str | None
    record: ScoredRecording | None
    is_known: bool


_NOTHING = object()


class _Run:
    """One worker's run over one audit."""

    def __init__(self, store: Store, ledger: Ledger, audit: Audit, scorer: Scorer, on_progress: Callable[[Audit], None]) -> None:
        self.store, self.ledger, self.audit, self.scorer, self.on_progress = store, ledger, audit, scorer, on_progress
        self.message: str | None = audit.message
        self.stop = threading.Event()
        self.last_beat = time.monotonic()

    def work(self) -> AuditStatus:
        if not self.audit.is_listed:
            self._list()
        while self.ledger.pending_files(after=0, limit=1):
            # A second pass is needed only for copies of a file that changed or vanished between hashing and scoring.
            status = self._pass()
            if status is not AuditStatus.RUNNING:
                return status
        self._beat(at_once=True)
        return AuditStatus.FINISHED

    def _list(self) -> None:
        settings = self.audit.settings
        trials = read_protocol(settings.protocol) if settings.protocol else {}
        unreadable: list[str] = []
        found = find_files(self.audit.folder, settings, on_unreadable=unreadable.append)
        while files := list(islice(found, LISTING_BATCH)):
            self.ledger.add_entries(files, trials)
            self._beat()
        self.ledger.mark_listed()
        if unreadable:
            self.message = f"{len(unreadable)} subfolders could not be opened and were left out, the first is {unreadable[0]}."

    def _pass(self) -> AuditStatus:
        num_threads = len(os.sched_getaffinity(0))
        to_score: queue.Queue[PendingFile | None] = queue.Queue(maxsize=64 * num_threads)
        results: queue.Queue[_Result | Exception | None] = queue.Queue()
        threads = [threading.Thread(target=self._guarded, args=(results, self._feed, to_score, results, num_threads), daemon=True)]
        threads += [
            threading.Thread(target=self._guarded, args=(results, self._score, to_score, results), daemon=True)
            for _ in range(num_threads)
        ]
        for thread in threads:
            thread.start()
        try:
            return self._collect(results, num_running=len(threads))
        except BaseException:
            self.ledger.patience.end()  # the feeder is not to be waited for while it waits for the store
            raise
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()
            self.stop.clear()

    def _guarded(self, results: queue.Queue, work: Callable[..., None], *arguments: object) -> None:
        """Runs a thread's work; its end, or what it failed of, reaches the collecting thread."""
        try:
            work(*arguments)
            results.put(None)
        except Exception as error:  # noqa: BLE001 - raised again by the collecting thread
            results.put(error)

    def _feed(self, to_score: queue.Queue, results: queue.Queue, num_threads: int) -> None:
        """Hashes pending files; passes on what must be scored, reports what is known or a copy."""
        first_with: dict[str, int] = {}
        after = 0
        while not self.stop.is_set() and (page := self.ledger.pending_files(after=after, limit=PAGE)):
            after = page[-1].entry_id
            hashes = {}
            for file in page:
                with suppress(AudioRefusal):  # the scorer meets the same refusal and reports it
                    hashes[file.entry_id] = sha256_of(self._path(file))
                if self.stop.is_set():
                    return
            known = self.ledger.known_hashes(hashes.values())
            for file in page:
                sha256 = hashes.get(file.entry_id)
                if sha256 in known:
                    results.put(_Result(file.entry_id, sha256, None, is_known=True))
                elif sha256 is not None and first_with.setdefault(sha256, file.entry_id) != file.entry_id:
                    results.put(_Result(file.entry_id, sha256, None, is_known=False))
                else:
                    _put(to_score, file, self.stop)
        for _ in range(num_threads):
            _put(to_score, None, self.stop)

    def _score(self, to_score: queue.Queue, results: queue.Queue) -> None:
        torch.set_num_threads(1)  # of this thread; the parallelism is across recordings
        taken: list[int] = []

        def paths() -> Iterator[str]:
            while (file := _get(to_score, self.stop)) is not None:
                taken.append(file.entry_id)
                yield self._path(file)

        scored = self.scorer.score_files(paths(), channels=self.audit.settings.channels, stop=self.stop)
        for position, record in enumerate(scored):
            results.put(_Result(taken[position], record.sha256, record, is_known=False))

    def _collect(self, results: queue.Queue, *, num_running: int) -> AuditStatus:
        """Writes results until all threads have ended or the analyst asks to stop."""
        scored: list[tuple[int, ScoredRecording]] = []
        reused: list[tuple[int, str]] = []
        copies: defaultdict[str, list[int]] = defaultdict(list)
        recorded: set[str] = set()
        last_commit = time.monotonic()
        while num_running or scored or reused:
            try:
                result = results.get(timeout=COMMIT_S)
            except queue.Empty:
                result = _NOTHING
            if result is None:
                num_running -= 1
            elif isinstance(result, Exception):
                raise result
            elif result is not _NOTHING:
                if result.record is not None:
                    scored.append((result.entry_id, result.record))
                elif result.is_known or result.sha256 in recorded:
                    reused.append((result.entry_id, result.sha256))
                else:
                    copies[result.sha256].append(result.entry_id)
            if not num_running or time.monotonic() - last_commit > COMMIT_S:
                new = {record.sha256 for _, record in scored if record.sha256}
                recorded |= new
                reused += [(entry_id, sha256) for sha256 in new for entry_id in copies.pop(sha256, ())]
                if scored or reused:
                    self.ledger.record_results(scored=scored, reused=reused)
                scored, reused, last_commit = [], [], time.monotonic()
                wish = self._beat()
                if wish != "run":
                    return AuditStatus.PAUSED if wish == "pause" else AuditStatus.CANCELLED
        return AuditStatus.RUNNING

    def _beat(self, *, at_once: bool = False) -> str:
        """Beats once a second; returns what is requested."""
        now = time.monotonic()
        if now - self.last_beat < BEAT_S and not at_once:
            return "run"
        wish = self.ledger.beat(now - self.last_beat)
        self.last_beat = now
        self.on_progress(self.ledger.audit())
        return wish

    def _path(self, file: PendingFile) -> str:
        return os.path.join(self.audit.folder, os.fsdecode(file.path_bytes))


def _put(items: queue.Queue, item: object, stop: threading.Event) -> None:
    """Puts when there is room; gives up when told to stop."""
    while not stop.is_set():
        try:
            return items.put(item, timeout=0.2)
        except queue.Full:
            continue


def _get(items: queue.Queue, stop: threading.Event) -> PendingFile | None:
    """The next item; None when told to stop."""
    while not stop.is_set():
        try:
            return items.get(timeout=0.2)
        except queue.Empty:
            continue
    return None
