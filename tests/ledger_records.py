"""Records, detectors and audits made by hand, for the tests of the store, of triage and of exports."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.calibration import Calibration, Thresholds
from core.checkpoints import Detector, DetectorManifest
from core.detector_config import FeatureConfig
from core.protocols import Trial
from core.records import AudioInfo, Detection, FoundFile, ScanSettings, ScoredRecording, SegmentScore, SignalQuality, Verdict
from core.store.ledger import Ledger
from core.store.store import Store

sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For tests of what SQLite alone does, among those that run on both databases."""

WORKER = f"{os.uname().nodename}:{os.getpid()}:tests"
"""A worker that lives as long as the tests."""
THRESHOLDS = Thresholds(lower=-1.0, upper=1.0)
CALIBRATION = Calibration(slope=1.0, offset=0.0)
QUALITY = SignalQuality(level_db=-20.5, peak_db=-3.0, clipped_share=0.0, silence_share=0.25, bandwidth_hz=7_000.0)


def make_detector(name: str = "fake", hash: str = "ab" * 32) -> Detector:
    """A detector without weights."""
    manifest = DetectorManifest(
        name=name,
        summary="For tests.",
        model="vgg27",
        features=FeatureConfig(),
        aggregate="mean",
        calibration=CALIBRATION,
        thresholds=THRESHOLDS,
        provenance={},
    )
    return Detector(folder=Path("x"), manifest=manifest, hash=hash)


def sha256(content: str) -> str:
    """The hash that `scored` gives a content."""
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def scored(
    path: str,
    *spoof_scores: float | None,
    content: str | None = None,
    channels: str = "mix",
    codec: str = "PCM_16",
    duration_s: float = 4.0,
    warnings: tuple[str, ...] = (),
    training_distance: float | None = None,
) -> ScoredRecording:
    """A recording with a detection per score; None is a refusal."""
    info = AudioInfo(
        container="WAV", codec=codec, sample_rate_hz=16_000, num_channels=len(spoof_scores), duration_s=duration_s, size_bytes=1_000
    )
    names = ["mix"] if channels == "mix" else [str(i + 1) for i in range(len(spoof_scores))]
    detections = tuple(
        _detection(name, score, duration_s, warnings, training_distance) for name, score in zip(names, spoof_scores, strict=True)
    )
    return ScoredRecording(path=path, sha256=sha256(content or path), info=info, detections=detections)


def unreadable(path: str) -> ScoredRecording:
    """A file whose bytes could not be read."""
    return ScoredRecording(path=path, sha256=None, info=None, detections=(_refusal("mix", "unreadable", "No permission.", 0.0),))


def _detection(
    channel: str, spoof_score: float | None, duration_s: float, warnings: tuple[str, ...], training_distance: float | None
) -> Detection:
    if spoof_score is None:
        return _refusal(channel, "silent", "Nothing louder than -60 dBFS.", duration_s)
    segment = SegmentScore(start_s=0.0, end_s=duration_s, spoof_score=spoof_score)
    return Detection(
        channel=channel,
        verdict=THRESHOLDS.verdict(spoof_score),
        spoof_score=spoof_score,
        probability=CALIBRATION.probability(spoof_score),
        segments=(segment,),
        duration_s=duration_s,
        quality=QUALITY,
        warnings=warnings,
        training_distance=training_distance,
    )


def _refusal(channel: str, code: str, reason: str, duration_s: float) -> Detection:
    return Detection(
        channel=channel,
        verdict=Verdict.REFUSED,
        spoof_score=None,
        probability=None,
        segments=(),
        duration_s=duration_s,
        quality=None,
        warnings=(),
        reason_code=code,
        reason=reason,
    )


def list_files(ledger: Ledger, paths: Iterable[str], trials: dict[str, Trial] | None = None) -> dict[str, int]:
    """Lists files of an audit; path -> entry id of those pending."""
    ledger.add_entries([FoundFile(path_bytes=os.fsencode(path), size_bytes=1_000) for path in paths], trials)
    ledger.mark_listed()
    return {os.fsdecode(file.path_bytes): file.entry_id for file in ledger.pending_files(after=0, limit=1_000_000)}


def make_audit(
    store: Store,
    records: Iterable[ScoredRecording],
    *,
    pending: Iterable[str] = (),
    channels: str = "mix",
    trials: dict[str, Trial] | None = None,
    detector: Detector | None = None,
) -> tuple[int, dict[str, int]]:
    """An audit with these results and files still to be scored; its id, and path -> entry id."""
    records = list(records)
    audit_id = store.create_audit("/audio", detector or make_detector(), ScanSettings(channels=channels))
    ledger = Ledger(store, audit_id, WORKER)
    ids = list_files(ledger, [*(record.path for record in records), *pending], trials)
    ledger.record_results(scored=[(ids[record.path], record) for record in records], reused=[])
    return audit_id, ids
