"""Makes case bundles: everything that an audit, or a part of it, found, with the detector and the log. Judges nothing.

A bundle is a folder that is complete or not there. Recordings are written one after the other, so that memory stays bounded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from core.checkpoints import Detector, detector_named
from core.errors import CoreError
from core.evidence.contents import recording_line
from core.evidence.records import DETECTOR, LOG, MANIFEST, RECORDINGS, REPORT, SCHEMA_VERSION, SEAL, Manifest
from core.evidence.report import report_pages
from core.evidence.score_table import write_scores
from core.records import Audit, TriageFilter
from core.reports import without_nan
from core.store.events import append_event, audit_events, process_actor
from core.store.filters import EVERYTHING
from core.store.store import Store
from core.store.triage import entry_details, matching_entries
from core.whole_files import file_sha256, whole_folder

NUM_SHOWN = 50
"""Recordings that get a page of their own in the report, those at the head of the selection's order first."""
_LIBRARIES = ("numpy", "torch", "torchaudio", "onnxruntime", "av", "soundfile", "sqlalchemy")


def make_bundle(
    store: Store,
    audit_id: int,
    out: Path,
    *,
    chosen: TriageFilter = EVERYTHING,
    limit: int | None = None,
    num_shown: int = NUM_SHOWN,
    made_by: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Writes a bundle and says so in the audit's log.

    Args:
        store: with the audit.
        audit_id: which; its detector must be installed.
        out: the new folder.
        chosen: which files, in which order.
        limit: at most so many.
        num_shown: how many get a page of their own in the report.
        made_by: who asks for it; the user of this process when None.
        on_progress: told how many recordings are done, of how many.

    Raises:
        CoreError: `out` is there already or cannot be written, nothing is chosen, or nothing was scored yet.
        DetectorError: the audit's detector is not installed any more.
        StoreError: there is no such audit.
    """
    audit = store.audit(audit_id)
    detector = detector_named(audit.detector_hash)
    ids = matching_entries(store, audit_id, chosen, limit=limit)
    if not ids or not audit.num_done:
        raise CoreError("No scored file of the audit matches, so there is nothing to put into a bundle.")
    if out.exists():
        raise CoreError(f"{out} is there already; a bundle is never overwritten. Choose another name.")
    selection = {"filter": asdict(chosen), "limit": limit, "num_files": len(ids), "num_files_of_audit": audit.num_files}
    with store.writing() as connection:
        append_event(connection, audit_id, "bundled", actor=made_by, name=out.name, num_files=len(ids))
    log = audit_events(store, audit_id)
    try:
        with whole_folder(out) as partial:
            shutil.copytree(detector.folder, partial / DETECTOR)
            _write_lines(partial / LOG, (json.dumps(asdict(event)) for event in log))
            lines = _recording_lines(store, ids, audit.folder, on_progress)
            _write_lines(partial / RECORDINGS, (json.dumps(line, ensure_ascii=False) for line in lines))
            write_scores(partial)
            manifest = _manifest(audit, detector, selection, log[-1].hash, made_by or process_actor(), partial)
            _write_lines(partial / REPORT, report_pages(manifest, detector, partial, audit.folder, num_shown=num_shown))
            manifest.files[REPORT] = file_sha256(partial / REPORT)
            text = json.dumps(without_nan(asdict(manifest)), indent=1, sort_keys=True) + "\n"
            (partial / MANIFEST).write_text(text, encoding="utf-8")
            (partial / SEAL).write_text(f"{file_sha256(partial / MANIFEST)}  {MANIFEST}\n", encoding="utf-8")
    except OSError as error:
        problem = f"The bundle cannot be written to {out}: {error.strerror}. Choose a folder that exists and has space."
        raise CoreError(problem) from None
    return manifest


def files_of(bundle: Path) -> list[str]:
    """All files below a bundle but the manifest and its seal, as paths within it with slashes."""
    found = (path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if not path.is_dir())
    return sorted(path for path in found if path not in (MANIFEST, SEAL))


def source_sha256() -> str:
    """SHA-256 over the source of `core`: the code that scored, whether or not it came by git."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _manifest(audit: Audit, detector: Detector, selection: dict, log_hash: str, made_by: str, partial: Path) -> Manifest:
    described = asdict(detector.manifest)
    names = ("id", "folder", "settings", "status", "message", "created_at", "finished_at", "seconds_running", "audio_s")
    counts = ("num_files", "num_done", "num_spoof", "num_inconclusive", "num_bona_fide", "num_refused", "num_reused")
    fields = asdict(audit)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        made_by=made_by,
        code_revision=source_sha256(),
        environment={
            "python": platform.python_version(),
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
        audit={name: fields[name] for name in (*names, *counts)},
        detector={"name": detector.name, "hash": detector.hash}
        | {name: described[name] for name in ("summary", "calibration", "thresholds", "aggregate")},
        selection=selection,
        log_hash=log_hash,
        files={name: file_sha256(partial / name) for name in files_of(partial)},
    )


def _recording_lines(
    store: Store, ids: tuple[int, ...], folder: str, on_progress: Callable[[int, int], None] | None
) -> Iterator[dict]:
    for number, detail in enumerate(entry_details(store, ids), 1):
        yield recording_line(detail, folder)
        if on_progress is not None:
            on_progress(number, len(ids))


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    # Names that are not UTF-8 are told as \xNN by the store; what else cannot be encoded is spelled out.
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
