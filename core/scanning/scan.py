"""Auditing a folder: list, hash, score, record. Runs in a process of its own; the store is its ledger.

An engine's threads find results (`local_engine` on this machine, `ray_scan` on a cluster); the calling thread writes
them, beats and obeys. Nothing is scored before it is in the ledger, nothing written twice.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from core.checkpoints import Detector, detector_named
from core.errors import CoreError, ScanError, StoreUnavailableError
from core.protocols import ProtocolChoices, Trial, read_protocol
from core.records import Audit, AuditStatus, ScanSettings, ScoredRecording
from core.scanning.discovery import LeftOut
from core.scanning.places import find_in, is_url, normalised
from core.scanning.standby import STANDBY
from core.store.ledger import Ledger
from core.store.store import Store

if TYPE_CHECKING:  # torch is for the process that scores: whoever starts one only reads and writes the store
    from core.scanning.local_engine import Engine, Results

LISTING_BATCH = 2_000
"""Files listed per transaction."""
COMMIT_S = 0.5
"""Results are written at least this often."""
BEAT_S = 1.0
"""Heartbeats, and looks at what is requested, are this far apart."""


def run_audit(
    store: Store,
    audit_id: int,
    *,
    detector: Detector | None = None,
    engine: Engine | None = None,
    on_progress: Callable[[Audit], None] | None = None,
) -> Audit:
    """Works on an audit until it is finished, paused or cancelled; goes on where an earlier worker stopped.

    Args:
        store: the ledger.
        audit_id: which audit.
        detector: the audit's, where it is not installed; found by its hash when None.
        engine: what scores; the threads of this process when None.
        on_progress: told the audit about once a second.

    Returns:
        The audit as it stands at the end.

    Raises:
        ScanError: another living worker has it, or the folder cannot be listed.
        CoreError: detector or protocol cannot be read.
    """
    folder = store.audit(audit_id).folder
    if engine is None and is_url(folder):
        raise ScanError(_needs_cluster(folder))

    def engine_of(audit: Audit) -> Engine:
        from core.detect import Scorer
        from core.scanning.local_engine import LocalEngine

        return engine or LocalEngine(Scorer(detector or detector_named(audit.detector_hash)))

    return work_on(Ledger(store, audit_id, worker=worker_name()), engine_of, on_progress=on_progress)


def work_on(ledger: Ledger, engine_of: Callable[[Audit], Engine], *, on_progress: Callable[[Audit], None] | None = None) -> Audit:
    """As `run_audit`, on any ledger.

    Args:
        ledger: a store's, or anything with its methods.
        engine_of: makes the engine, when this worker has the audit.
        on_progress: told the audit about once a second.
    """
    if not ledger.claim():
        raise ScanError(f"Another worker is scoring audit {ledger.audit_id}; wait for it, or pause it first.")
    try:
        audit = ledger.audit()
        run = _Run(ledger, audit, engine_of(audit), on_progress or (lambda audit: None))
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


def worker_name() -> str:
    """`host:pid:token` of a worker in this process."""
    return f"{os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _needs_cluster(folder: str) -> str:
    return f"{folder} is not a folder of this machine; it is scored by `python -m core scan {folder} --engine ray`."


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
    return store.continue_audit(check_settings(folder, settings), detector, settings)


def check_settings(folder: str, settings: ScanSettings) -> str:
    """The folder as audits keep it.

    Raises:
        ScanError: it cannot be listed, or its name is not valid UTF-8.
        ProtocolError: the settings' protocol cannot be read.
    """
    folder = normalised(folder)
    try:
        folder.encode()
    except UnicodeEncodeError:
        raise ScanError("The folder's own name is not valid UTF-8; rename it or scan the folder above it.") from None
    next(find_in(folder, settings), None)  # raises where the folder cannot be listed
    _trials_of(settings)
    return folder


def _trials_of(settings: ScanSettings) -> dict[str, Trial]:
    if settings.protocol is None:
        return {}
    return read_protocol(settings.protocol, ProtocolChoices(subset=settings.subset, one_means=settings.one_means))


def resume_audit(store: Store, audit_id: int) -> None:
    """Starts a worker process for an audit. It outlives this process; its output goes to a log in the cache folder.

    Raises:
        StoreError: a living worker has it.
        ScanError: its recordings lie where this machine's engine does not reach.
    """
    if is_url(folder := store.audit(audit_id).folder):
        raise ScanError(_needs_cluster(folder))
    store.queue(audit_id)
    STANDBY.start(audit_id, os.environ | {"EARWITNESS_DB": store.url})


_NOTHING = object()


class _Run:
    """One worker's run over one audit."""

    def __init__(self, ledger: Ledger, audit: Audit, engine: Engine, on_progress: Callable[[Audit], None]) -> None:
        self.ledger, self.audit, self.engine, self.on_progress = ledger, audit, engine, on_progress
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
        trials = _trials_of(settings)
        left_out = LeftOut()
        found = self.engine.find(self.audit.folder, settings, left_out)
        while files := list(islice(found, LISTING_BATCH)):
            self.ledger.add_entries(files, trials)
            self._beat()
        self.ledger.mark_listed()
        self.message = left_out.sentence or self.message

    def _pass(self) -> AuditStatus:
        results: Results = queue.Queue()
        work = self.engine.threads(self.ledger, self.audit, self.stop)
        threads = [threading.Thread(target=_guarded, args=(results, partial(task, results)), daemon=True) for task in work]
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

    def _collect(self, results: Results, *, num_running: int) -> AuditStatus:
        """Writes results until all threads have ended or the analyst asks to stop."""
        scored: list[tuple[int, ScoredRecording]] = []
        reused: list[tuple[int, str]] = []
        copies: defaultdict[str, list[int]] = defaultdict(list)
        recorded: set[str] = set()
        last_commit, has_written = time.monotonic(), False
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
            is_awaited = not has_written and (scored or reused)  # the first result: somebody may be waiting for it
            if not num_running or is_awaited or time.monotonic() - last_commit > COMMIT_S:
                new = {record.sha256 for _, record in scored if record.sha256}
                recorded |= new
                reused += [(entry_id, sha256) for sha256 in new for entry_id in copies.pop(sha256, ())]
                if scored or reused:
                    has_written = True
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


def _guarded(results: Results, work: Callable[[], None]) -> None:
    """Runs a thread's work; its end, or what it failed of, reaches the collecting thread."""
    try:
        work()
        results.put(None)
    except Exception as error:  # noqa: BLE001 - raised again by the collecting thread
        results.put(error)
