"""Checks a case bundle: every byte, the log, what follows from what and, with the recordings, every score. Changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from core.calibration import verdict_of
from core.checkpoints import Detector, load_detector
from core.detect import Scorer, aggregate_scores
from core.errors import AudioRefusal, CoreError, DetectorError
from core.evidence.bundle import files_of
from core.evidence.contents import audio_sha256, json_lines, path_of
from core.evidence.logged_reviews import LoggedReviews, reviews_in
from core.evidence.records import (
    DETECTOR,
    LOG,
    MANIFEST,
    RECORDINGS,
    SCHEMA_VERSION,
    SEAL,
    TOLERANCE,
    Manifest,
    Problem,
)
from core.records import Detection, Verdict, is_unfamiliar
from core.store.events import Event, broken_links
from core.whole_files import file_sha256

_STORED = 1e-5
"""Segments are stored as float32: a mean of theirs may differ by so much from the score of the recording."""


def verify_bundle(
    bundle: Path,
    *,
    audio: Path | None = None,
    log_hash: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Problem]:
    """Yields what does not hold; nothing when all of it does.

    Args:
        bundle: the folder.
        audio: folder with the recordings, to score them again; else the scores are only held against each other.
        log_hash: the newest entry's, as it was written down when the bundle was made.
        on_progress: told how many recordings are done, of how many.

    Raises:
        CoreError: it is no bundle, or its manifest cannot be read, so that nothing in it can be judged.
    """
    manifest = read_manifest(bundle)
    yield from _check_bytes(bundle, manifest)
    log = _read_log(bundle)
    yield from _check_log(log, manifest, log_hash)
    detector = None
    try:
        detector = load_detector(bundle / DETECTOR)
        if detector.thorough.hash == manifest.detector["hash"]:
            detector = detector.thorough
        if detector.hash != manifest.detector["hash"]:
            yield Problem(
                place=DETECTOR, what=f"it is another detector ({detector.hash[:12]}) than the one that the manifest names"
            )
    except (DetectorError, OSError) as error:
        yield Problem(place=DETECTOR, what=f"it cannot be read: {error}")
    yield from _check_recordings(bundle, manifest, detector, reviews_in(log), audio, on_progress)


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle.

    Raises:
        CoreError: there is none, it does not fit its seal, or it is of another version.
    """
    try:
        text, seal = (bundle / MANIFEST).read_bytes(), (bundle / SEAL).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CoreError(f"{bundle} is no case bundle that can be read: {error}.") from None
    if seal != f"{file_sha256(bundle / MANIFEST)}  {MANIFEST}\n":
        raise CoreError(
            f"{MANIFEST} and {SEAL} do not fit together: one of them was changed, so that nothing in the bundle counts."
        )
    try:
        content = json.loads(text)
        manifest = Manifest(**{field.name: content[field.name] for field in fields(Manifest)})
    except (ValueError, KeyError, TypeError) as error:
        raise CoreError(f"{MANIFEST} is not one that this program writes ({error!r}).") from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise CoreError(f"The bundle has schema version {manifest.schema_version}; this program reads {SCHEMA_VERSION}.")
    return manifest


def _check_bytes(bundle: Path, manifest: Manifest) -> Iterator[Problem]:
    there = set(files_of(bundle))
    for name, expected in sorted(manifest.files.items()):
        if name not in there:
            yield Problem(place=name, what="the file is missing")
        elif (bundle / name).is_symlink() or file_sha256(bundle / name) != expected:
            yield Problem(place=name, what="the file was changed: its SHA-256 is not the manifest's")
    for name in sorted(there - set(manifest.files)):
        yield Problem(place=name, what="the file does not belong to the bundle")


def _read_log(bundle: Path) -> list[Event]:
    try:
        return [Event(**event) for event in json_lines(bundle / LOG)]
    except (OSError, ValueError, TypeError):
        return []


def _check_log(log: list[Event], manifest: Manifest, log_hash: str | None) -> Iterator[Problem]:
    yield from (Problem(place=LOG, what=words) for words in broken_links(log))
    newest = log[-1].hash if log else ""
    for expected, whose in ((manifest.log_hash, "the manifest names"), (log_hash, "you wrote down")):
        if expected is not None and newest != expected:
            now = f"its newest hash is {newest[:12]}" if log else "it cannot be read"
            yield Problem(place=LOG, what=f"{now}; {whose} {expected[:12]}")


def _check_recordings(
    bundle: Path,
    manifest: Manifest,
    detector: Detector | None,
    reviews: LoggedReviews,
    audio: Path | None,
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[Problem]:
    scorer = Scorer(detector) if audio is not None and detector is not None else None
    number = 0
    try:
        for number, line in enumerate(json_lines(bundle / RECORDINGS), 1):
            if detector is not None:
                for detection in line["detections"]:
                    yield from _check_consistent(line, detection, detector)
            yield from (Problem(place=line["path"], what=words) for words in reviews.missing(line, manifest.audit["id"]))
            if scorer is not None:
                yield from _check_again(line, scorer, audio, manifest.audit["settings"]["channels"])
            if on_progress is not None:
                on_progress(number, manifest.selection["num_files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Problem(place=RECORDINGS, what=f"line {number + 1} cannot be read: {error!r}")
        return
    if number != manifest.selection["num_files"]:
        yield Problem(place=RECORDINGS, what=f"it holds {number} recordings; the manifest says {manifest.selection['num_files']}")


def _check_consistent(line: dict[str, Any], detection: dict[str, Any], detector: Detector) -> Iterator[Problem]:
    """Score from segments, verdict from score."""
    score, place = detection["spoof_score"], f"{line['path']}, channel {detection['channel']}"
    if score is None:
        if detection["verdict"] != Verdict.REFUSED:
            yield Problem(place=place, what=f"verdict {detection['verdict']} without a score")
        return
    if detection["verdict"] != verdict_of(score, detector.manifest.thresholds):
        yield Problem(place=place, what=f"verdict {detection['verdict']} does not follow from the score {score:+.4f}")
    if is_unfamiliar(detection.get("training_distance")) is not ("unfamiliar" in detection["warnings"]):
        yield Problem(place=place, what="the warning of an unfamiliar recording does not follow from its distance")
    judged = [segment["spoof_score"] for segment in detection["segments"] if segment["spoof_score"] is not None]
    derived = aggregate_scores(judged, detector.manifest.aggregate) if judged else math.nan
    if not abs(derived - score) <= _STORED * (1 + abs(score)):
        yield Problem(
            place=place, what=f"its score is {score:+.4f}, and its segments' {detector.manifest.aggregate} {derived:+.4f}"
        )


def _check_again(line: dict[str, Any], scorer: Scorer, audio: Path, channels: str) -> Iterator[Problem]:
    """The file, its samples and its scores, from the recording itself."""
    path = path_of(line, audio)
    record = scorer.score_file(path, channels=channels)
    if record.sha256 != line["sha256"]:
        found = record.detections[0].reason if record.sha256 is None else f"SHA-256 {record.sha256[:12]}"
        yield Problem(place=line["path"], what=f"it is not the recording that was scored: {found}")
        return
    if line["audio_sha256"] is not None:
        try:
            if audio_sha256(path) != line["audio_sha256"]:
                yield Problem(
                    place=line["path"], what="its bytes are the same, but they decode to other samples (another decoder?)"
                )
        except AudioRefusal as refusal:
            yield Problem(place=line["path"], what=str(refusal))
    again = {detection.channel: detection for detection in record.detections}
    for detection in line["detections"]:
        yield from _check_score(line["path"], detection, again.get(detection["channel"]))


def _check_distance(place: str, told: float | None, found: float | None) -> Iterator[Problem]:
    """What was scored before the detector had statistics of its training data has no distance: then nothing is claimed."""
    if told is not None and (found is None or abs(told - found) > TOLERANCE):
        now = "cannot be derived again" if found is None else f"{found:.4f} when derived again"
        yield Problem(place=place, what=f"its distance from the training data is {told:.4f} in the bundle and {now}")


def _check_score(path: str, told: dict[str, Any], found: Detection | None) -> Iterator[Problem]:
    place = f"{path}, channel {told['channel']}"
    if found is None or (told["spoof_score"] is None) != (found.spoof_score is None):
        now = "no such channel" if found is None else str(found.verdict)
        yield Problem(place=place, what=f"the bundle says {told['verdict']}; scored again: {now}")
        return
    if told["spoof_score"] is None:
        return
    yield from _check_distance(place, told.get("training_distance"), found.training_distance)
    pairs = [(told["spoof_score"], found.spoof_score)]
    if len(told["segments"]) != len(found.segments):
        yield Problem(place=place, what=f"the bundle has {len(told['segments'])} segments; scored again: {len(found.segments)}")
    for segment, again in zip(told["segments"], found.segments, strict=False):
        pairs.append((math.nan if segment["spoof_score"] is None else segment["spoof_score"], again.spoof_score))
    for before, now in pairs:
        if abs(before - now) > TOLERANCE or math.isnan(before) != math.isnan(now):
            yield Problem(place=place, what=f"a score is {before:+.4f} in the bundle and {now:+.4f} when derived again")
            return
