"""Files and results as rows of Parquet: results have one per file and channel, with its segments, and the names of exports."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from core.checkpoints import Detector
from core.protocols import Trial
from core.records import Detection, FoundFile, ScoredRecording

LISTING_SCHEMA = pa.schema(
    [
        ("path_bytes", pa.binary()),
        ("size_bytes", pa.int64()),
        ("label", pa.string()),
        ("attack", pa.string()),
        ("speaker", pa.string()),
    ]
)
RESULT_SCHEMA = pa.schema(
    [
        ("entry_id", pa.int64()),  # number of the file in the listing, from 1
        ("path", pa.string()),  # within the folder; bytes that are not UTF-8 appear as \xNN
        ("path_bytes", pa.binary()),
        ("sha256", pa.string()),
        ("channel", pa.string()),
        ("verdict", pa.string()),
        ("spoof_score", pa.float64()),
        ("probability", pa.float64()),
        ("duration_s", pa.float64()),
        ("num_segments", pa.int64()),
        ("segment_start_s", pa.list_(pa.float32())),
        ("segment_end_s", pa.list_(pa.float32())),
        ("segment_score", pa.list_(pa.float32())),  # NaN where a window held too little sound
        ("segment_is_estimated", pa.list_(pa.bool_())),  # only the fast network of a fusion judged the window
        ("reason_code", pa.string()),
        ("reason", pa.string()),
        ("container", pa.string()),
        ("codec", pa.string()),
        ("sample_rate_hz", pa.int64()),
        ("num_channels", pa.int64()),
        ("size_bytes", pa.int64()),
        ("level_db", pa.float32()),
        ("peak_db", pa.float32()),
        ("clipped_share", pa.float32()),
        ("silence_share", pa.float32()),
        ("bandwidth_hz", pa.float32()),
        ("warnings", pa.string()),
        ("training_distance", pa.float64()),  # above 1: unlike what the detector was trained on
        ("duplicate_of", pa.string()),  # path of the first file with the same bytes
        ("label", pa.string()),
        ("attack", pa.string()),
        ("speaker", pa.string()),
        ("detector", pa.string()),
        ("detector_hash", pa.string()),
    ]
)
_INFO = ("container", "codec", "sample_rate_hz", "num_channels", "size_bytes")
_QUALITY = ("level_db", "peak_db", "clipped_share", "silence_share", "bandwidth_hz")


def listing_row(file: FoundFile, trial: Trial | None) -> dict[str, Any]:
    """A file, and what a protocol says of it."""
    truth = {name: getattr(trial, name, None) for name in ("label", "attack", "speaker")}
    return {"path_bytes": file.path_bytes, "size_bytes": file.size_bytes} | truth


def names_of(entry: dict[str, Any]) -> dict[str, Any]:
    """What a result repeats of its file's row in the listing."""
    path = entry["path_bytes"].decode("utf-8", "backslashreplace")
    return {"path": path} | {name: entry[name] for name in ("path_bytes", "label", "attack", "speaker")}


def result_rows(entry_id: int, entry: dict[str, Any], record: ScoredRecording, detector: Detector) -> list[dict[str, Any]]:
    """The rows of one file, in the order of its channels.

    Args:
        entry_id: number of the file in the listing.
        entry: its row there.
        record: what was found.
        detector: what said so.
    """
    common = names_of(entry) | {"entry_id": entry_id, "sha256": record.sha256}
    common |= {name: getattr(record.info, name, None) for name in _INFO}
    common |= {"duplicate_of": None, "detector": detector.name, "detector_hash": detector.hash}
    return [common | _of_channel(detection) for detection in record.detections]


def _of_channel(detection: Detection) -> dict[str, Any]:
    segments, quality = detection.segments, detection.quality
    values = asdict(detection)
    names = ("channel", "verdict", "spoof_score", "probability", "duration_s", "reason_code", "reason", "training_distance")
    row = {name: values[name] for name in names} | {"num_segments": len(segments), "warnings": " ".join(detection.warnings)}
    row |= {"segment_start_s": [segment.start_s for segment in segments], "segment_end_s": [segment.end_s for segment in segments]}
    row |= {"segment_score": [segment.spoof_score for segment in segments]}
    row |= {"segment_is_estimated": [segment.is_estimated for segment in segments]}
    return row | {name: getattr(quality, name, None) for name in _QUALITY}
