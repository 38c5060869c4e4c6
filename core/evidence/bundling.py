"""Making a case bundle from the dashboard: starts `python -m core bundle` and tells how far it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from core.cache import cache_folder
from core.errors import CoreError
from core.evidence.records import MANIFEST
from core.jobs import Job, last_job, start_job
from core.records import TriageFilter
from core.store.store import Store
from core.whole_files import zip_bytes

COMMAND = (sys.executable, "-m", "core", "bundle")
"""What is started, without its arguments."""


def start_bundling(store: Store, audit_id: int, chosen: TriageFilter, *, made_by: str) -> Job:
    """Starts the process. The bundle that was made before for this audit's page goes; downloads of it stay.

    Args:
        store: with the audit.
        audit_id: which.
        chosen: which files.
        made_by: the analyst's name, for the log.

    Raises:
        CoreError: no name, or a bundle of this audit is being made already.
    """
    if not made_by.strip():
        raise CoreError("The log says who made a bundle: write your name.")
    before = bundling(store, audit_id)
    if before is not None and before.is_running:
        raise CoreError("A bundle of this audit is being made right now; wait for it.")
    out = _record(store, audit_id).with_suffix("") / f"audit-{audit_id}"
    shutil.rmtree(out, ignore_errors=True)
    command = [*COMMAND, str(audit_id), "--filter", json.dumps(asdict(chosen)), "--by", made_by.strip(), "--out", str(out)]
    return start_job(command, _record(store, audit_id), marker=str(out), out=out, environment={"EARWITNESS_DB": store.url})


def bundling(store: Store, audit_id: int) -> Job | None:
    """The last bundle of an audit from this machine."""
    return last_job(_record(store, audit_id))


def is_bundled(job: Job) -> bool:
    """Whether it came to its end."""
    return not job.is_running and (Path(job.out) / MANIFEST).is_file()


def bundle_zip(job: Job) -> bytes:
    """The bundle as one ZIP."""
    return zip_bytes(Path(job.out), Path(job.out).name)


def _record(store: Store, audit_id: int) -> Path:
    digest = hashlib.sha256(store.url.encode()).hexdigest()[:12]
    return cache_folder() / f"bundle-{digest}-{audit_id}.json"
