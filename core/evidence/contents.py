"""What a bundle says of each recording: from the store, and from the file as it is now. Writes nothing."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.audio import sha256_of
from core.errors import AudioRefusal
from core.native_audio import NativeReader
from core.records import EntryDetail
from core.reports import without_nan

NOT_THERE, CHANGED = "the file is not there any more", "the file has changed since it was scored"


def recording_line(detail: EntryDetail, folder: str) -> dict[str, Any]:
    """One recording as JSON values: hashes, what it declares, every score and segment, every review, and the state of its file.

    `path_hex` holds a name's bytes where they are not UTF-8.
    `audio_sha256` is over the decoded samples; None where the file is gone, has changed, or cannot be decoded.
    """
    digest, state = _decoded(detail)
    return without_nan(
        {
            "entry_id": detail.row.entry_id,
            "path": detail.row.path,
            "path_hex": _path_hex(detail, folder),
            "sha256": detail.sha256,
            "audio_sha256": digest,
            "file_state": state,
            "info": asdict(detail.info) if detail.info else None,
            "label": detail.row.label,
            "attack": detail.row.attack,
            "duplicates": list(detail.duplicates),
            "detections": [asdict(detection) for detection in detail.detections],
            "reviews": [asdict(review) for review in reversed(detail.reviews)],
        }
    )


def audio_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 over the samples as they are decoded: float32, little-endian, frame after frame, at the stored rate.

    The same on every machine for lossless codings. Decoders of lossy ones may differ in the last bit from version to version.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    digest = hashlib.sha256()
    for block in NativeReader(path):
        digest.update(block.samples.T.astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def _decoded(detail: EntryDetail) -> tuple[str | None, str]:
    try:
        found = sha256_of(detail.absolute_path)
    except AudioRefusal:
        return None, NOT_THERE
    if found != detail.sha256:
        return None, CHANGED
    if detail.detections and detail.detections[0].reason_code in ("decoder_crashed", "decoder_hung"):
        return None, "not decoded again: " + (detail.detections[0].reason or "")
    try:
        return audio_sha256(detail.absolute_path), "as it was scored"
    except AudioRefusal as refusal:
        return None, str(refusal)


def path_of(line: dict[str, Any], folder: str | os.PathLike[str]) -> str:
    """Where a recording lies in that folder."""
    name = bytes.fromhex(line["path_hex"]) if line["path_hex"] else line["path"].encode()
    return os.path.join(folder, os.fsdecode(name))


def _path_hex(detail: EntryDetail, folder: str) -> str | None:
    path = os.fsencode(os.path.relpath(detail.absolute_path, folder))
    return None if path == detail.row.path.encode() else path.hex()


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of a bundle."""
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def worst_score(line: dict[str, Any]) -> float:
    """The highest spoof score of a recording's channels; minus infinity where none was judged."""
    return max((d["spoof_score"] for d in line["detections"] if d["spoof_score"] is not None), default=-math.inf)
