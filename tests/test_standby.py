"""standby: audits start at once, workers share nothing and outlive what started them, whatever happens to the process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.cache import cache_folder
from core.checkpoints import Detector
from core.records import Audit, AuditStatus, ScanSettings
from core.runtime import exported_name
from core.scanning import standby
from core.scanning.scan import start_audit
from core.scanning.standby import Standby
from core.store.store import Store

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def own() -> Iterator[Standby]:
    """A process for the tests of this file."""
    process = Standby()
    yield process
    process.close()


@pytest.fixture(autouse=True)
def _used(own: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.scanning.scan.STANDBY", own)


@pytest.fixture
def folder(tmp_path: Path, write_recordings: Callable) -> Path:
    (tmp_path / "audio").mkdir()
    write_recordings(tmp_path / "audio", 4)
    return tmp_path / "audio"


def _ended(store: Store, audit_id: int) -> Audit:
    return _soon(lambda: audit if (audit := store.audit(audit_id)).status is not AuditStatus.QUEUED and audit.finished_at else None)


def _soon(found: Callable) -> object:
    deadline = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_audits_are_scored_by_workers_of_one_process(own: Standby, store: Store, folder: Path, lively_detector: Detector) -> None:
    own.prepare()
    process = own._process
    ids = [start_audit(store, str(folder), lively_detector, ScanSettings(pattern=pattern)) for pattern in ("*", "*.*")]
    for audit_id in ids:
        audit = _ended(store, audit_id)
        assert (audit.status, audit.num_done) == (AuditStatus.FINISHED, 4)
        log = (cache_folder() / f"worker-{audit_id}.log").read_text(encoding="utf-8")
        assert "Traceback" not in log
    assert own._process is process


def test_the_default_detectors_network_is_exported_beforehand(
    lively_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path))
    monkeypatch.setenv("EARWITNESS_DETECTOR", lively_detector.name)
    process = Standby()
    process.prepare()
    try:
        _soon(lambda: (tmp_path / exported_name(lively_detector)).is_file())
    finally:
        process.close()


def test_no_ended_worker_lingers(own: Standby, store: Store, folder: Path, lively_detector: Detector) -> None:
    _ended(store, start_audit(store, str(folder), lively_detector, ScanSettings()))
    children = Path(f"/proc/{own._process.pid}/task/{own._process.pid}/children")
    _soon(lambda: not children.read_text())


def test_a_process_that_died_is_replaced(own: Standby, store: Store, folder: Path, lively_detector: Detector) -> None:
    own.prepare()
    own._process.kill()
    own._process.wait()
    audit = _ended(store, start_audit(store, str(folder), lively_detector, ScanSettings()))
    assert audit.status is AuditStatus.FINISHED


def test_one_that_dies_as_it_is_handed_an_audit_is_replaced(
    own: Standby, store: Store, folder: Path, lively_detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.prepare()
    gone = own._process
    monkeypatch.setattr(gone, "poll", lambda: None)  # seen alive a moment before
    gone.kill()
    gone.wait()
    audit = _ended(store, start_audit(store, str(folder), lively_detector, ScanSettings()))
    assert audit.status is AuditStatus.FINISHED
    assert own._process is not gone


def test_a_worker_outlives_the_process(store: Store, folder: Path, lively_detector: Detector, own: Standby) -> None:
    audit_id = start_audit(store, str(folder), lively_detector, ScanSettings())
    pid = own._process.pid
    own.close()
    assert _is_gone(pid)
    assert _ended(store, audit_id).status is AuditStatus.FINISHED


def test_it_ends_when_nobody_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "IDLE_S", 0.2)
    process = Standby()
    process.prepare()
    pid = process._process.pid
    _soon(lambda: _is_gone(pid))
    process.close()
