"""How long an audit lets somebody wait for its first result, from the command line and on the dashboard."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from core.checkpoints import Detector
from core.errors import ScanError
from core.records import ScanSettings
from core.scanning.measuring import scan_command
from core.scanning.scan import prepare_audit
from core.scanning.standby import Standby
from core.store.store import Store


def first_of_command_s(folder: str, detector: Detector, database: Path) -> float:
    """Time from the start of a scan's process to its first result in an empty store.

    Raises:
        ScanError: it ended without one.
    """
    store = Store(f"sqlite:///{database}")
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parents[2]}
    started = time.perf_counter()
    process = subprocess.Popen(scan_command(folder, detector, database), **options)
    try:
        return _until_first_s(store, started, lambda: process.poll() is None)
    finally:
        process.terminate()
        process.wait()


def first_of_dashboard_s(folder: str, detector: Detector, database: Path) -> float:
    """Time from the start of an audit, with the process that the dashboard keeps, to its first result in an empty store.

    Raises:
        ScanError: it ended without one.
    """
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
    took_s = _until_first_s(store, started, lambda: True)
    store.request(audit_id, "cancel")
    while store.audit(audit_id).finished_at is None:
        time.sleep(0.1)
    return took_s


def _until_first_s(store: Store, started: float, is_alive: Callable[[], bool]) -> float:
    """Waits until the store's last audit has a result; a time without one would be of something else."""
    while True:
        was_alive, audit = is_alive(), next(iter(store.recent_audits(1)), None)
        if audit and audit.num_done:
            return time.perf_counter() - started
        if not was_alive or (audit and audit.finished_at):
            reason = audit.message if audit and audit.message else "It left no word."
            raise ScanError(f"The audit whose first result was to be timed ended without one. {reason}")
        time.sleep(0.02)
