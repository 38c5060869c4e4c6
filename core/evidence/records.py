"""What a case bundle is made of. No behaviour beyond reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 1
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
RECORDINGS, LOG, SCORES, REPORT = "recordings.jsonl", "log.jsonl", "scores.csv", "report.html"
DETECTOR = "detector"
TOLERANCE = 1e-3
"""Nats by which a score that is derived again may differ. On one machine only the rounding of other batches differs; other
processors and versions of ONNX Runtime add in another order. A verdict may change where a score lies this close to a threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of `manifest.json`, without which nothing in a bundle counts."""

    schema_version: int
    made_at: str
    """ISO 8601, UTC."""
    made_by: str
    """`user@host`, or the analyst's name."""
    code_revision: str
    """Hash over the source of Earwitness's core."""
    environment: dict[str, str]
    """Versions of what computed: Python, libraries, processor, system."""
    audit: dict[str, Any]
    """Folder, settings, status and counters as in the store."""
    detector: dict[str, Any]
    """Name, hash, thresholds, calibration."""
    selection: dict[str, Any]
    """The filter, and how many files it chose of how many."""
    log_hash: str
    """Hash of the newest entry of the log; write it down elsewhere."""
    files: dict[str, str]
    """Path within the bundle -> SHA-256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in a bundle, or in the recordings, that is not as it says."""

    place: str
    """File of the bundle, recording, or field."""
    what: str
    """One sentence."""
