"""Explaining files of an audit from the dashboard: starts `python -m core explain-audit` and tells how far it is."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from core.cache import cache_folder
from core.errors import CoreError
from core.explanation.records import PAGE_NAME, Method
from core.jobs import Job, last_job, start_job
from core.records import TriageFilter
from core.store.store import Store
from core.whole_files import zip_bytes

COMMAND = (sys.executable, "-m", "core", "explain-audit")
"""What is started, without its arguments."""


def start_explaining(store: Store, audit_id: int, chosen: TriageFilter, *, limit: int, method: Method) -> Job:
    """Starts the process, or goes on with the same work.

    Args:
        store: with the audit.
        audit_id: which.
        chosen: which files, in which order.
        limit: how many of them.
        method: how.

    Raises:
        CoreError: files of this audit are being explained already.
    """
    before = explaining(store, audit_id)
    if before is not None and before.is_running:
        raise CoreError("Files of this audit are being explained right now; wait for it.")
    filters = json.dumps(asdict(chosen))
    work = hashlib.sha256(f"{filters} {limit} {method}".encode()).hexdigest()[:12]
    out = _record(store, audit_id).with_suffix("") / work
    command = [*COMMAND, str(audit_id), "--filter", filters, "--limit", str(limit), "--method", method, "--out", str(out)]
    return start_job(command, _record(store, audit_id), marker=str(out), out=out, environment={"EARWITNESS_DB": store.url})


def explaining(store: Store, audit_id: int) -> Job | None:
    """The last explaining of an audit's files from this machine."""
    return last_job(_record(store, audit_id))


def is_explained(job: Job) -> bool:
    """Whether it came to its end."""
    return not job.is_running and (Path(job.out) / PAGE_NAME).is_file()


def explanations_zip(job: Job) -> bytes:
    """All that was made, as one ZIP."""
    return zip_bytes(Path(job.out), "explanations")


def _record(store: Store, audit_id: int) -> Path:
    digest = hashlib.sha256(store.url.encode()).hexdigest()[:12]
    return cache_folder() / f"explain-{digest}-{audit_id}.json"
