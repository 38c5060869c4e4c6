"""How long an audit lets somebody wait for its first result, from the command line and on the dashboard."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from core.checkpoints import Detector
from core.records import ScanSettings
from core.scanning.measuring import scan_command
from core.scanning.scan import prepare_audit
from core.scanning.standby import Standby
from core.store.store import Store


def first_of_command_s(folder: str, detector: Detector, database: Path) -> float:
    """Time from the start of a scan's process to its first result in an empty store."""
    store = Store(f"sqlite:///{database}")
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parents[2]}
    started = time.perf_counter()
    process = subprocess.Popen(scan_command(folder, detector, database), **options)
    while process.poll() is None and not _has_result(store):
        time.sleep(0.02)
    took_s = time.perf_counter() - started
    process.terminate()
    process.wait()
    return took_s


def first_of_dashboard_s(folder: str, detector: Detector, database: Path) -> float:
    """Time from the start of an audit, with the process that the dashboard keeps, to its first result in an empty store."""
    standby = Standby()
    try:
        _first_with(standby, folder, detector, Path(f"{database} before"))  # waits for the process, too
        return _first_with(standby, folder, detector, database)
    finally:
        standby.close()


def _first_with(standby: Standby, folder: str, detector: Detector, database: Path) -> float:
    store = Store(f"sqlite:///{database}")
    environment = os.environ | {"EARWITNESS_DB": store.url, "EARWITNESS_DETECTORS": str(detector.folder.absolute().parent)}
    started = time.perf_counter()
    audit_id = prepare_audit(store, folder, detector, ScanSettings())
    standby.start(audit_id, environment)
    while not _has_result(store):
        time.sleep(0.02)
    took_s = time.perf_counter() - started
    store.request(audit_id, "cancel")
    while store.audit(audit_id).finished_at is None:
        time.sleep(0.1)
    return took_s


def _has_result(store: Store) -> bool:
    """Whether the last audit has one, or will have none."""
    return any(audit.num_done or audit.finished_at for audit in store.recent_audits(1))
