"""Which recording the Saliency page is about: a file of an audit by its address, a dropped file, or a sample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st

from core.checkpoints import Detector, detector_named
from core.errors import AudioRefusal, CoreError, DetectorError
from core.explanation.excerpts import MAX_EXCERPT_S, Excerpt, excerpt_start_s
from core.records import Detection, Verdict
from core.store.triage import entry_detail
from pages.components import resources
from pages.components.frame import escaped
from pages.components.links import linked_id, show_opened_entry
from pages.components.recording_input import choose_recording

SALIENCY_PAGE = "pages/6_Saliency.py"


@dataclass(frozen=True, slots=True)
class Subject:
    """A recording at hand, the channel of it that is looked into, and the detector that brought it here."""

    path: str
    name: str
    sha256: str
    detection: Detection
    detector: Detector

    @property
    def key(self) -> str:
        """Names content and channel; widgets that belong to them carry it."""
        return f"{self.sha256[:16]}-{self.detection.channel}"


@contextmanager
def choose_subject() -> Iterator[Subject | None]:
    """Opens what the address names, else offers files and samples; None where there is nothing to look into yet.

    Raises:
        CoreError: the address names no file, or the file is gone, changed, or cannot be judged.
    """
    entry_id = linked_id("entry")
    if entry_id is not None:
        yield _entry_subject(entry_id)
        return
    with choose_recording(first="A sample") as chosen:
        if chosen is None:
            yield None
            return
        detector = detector_named()
        record = resources.scored(chosen.path, detector, chosen.channels)
        if record.sha256 is None:
            raise AudioRefusal("unreadable", record.detections[0].reason or "The file cannot be read.")
        yield Subject(chosen.path, chosen.name, record.sha256, _choose_channel(record.detections), detector)


def choose_excerpt(subject: Subject) -> Excerpt:
    """The part that is looked into; a slider where the recording is longer than that.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    duration_s = subject.detection.duration_s
    start_s = 0.0
    if duration_s > MAX_EXCERPT_S:
        start_s = st.slider(
            f"Look into {MAX_EXCERPT_S:.0f} s from",
            0.0,
            round(duration_s - MAX_EXCERPT_S, 1),
            excerpt_start_s(subject.detection.segments, duration_s),
            step=0.1,
            format="%.1f s",
            key=f"saliency-start-{subject.key}",
            help=f"The recording is {duration_s:,.1f} s long. It opens where its highest-scoring segment is.",
        )
        st.caption(f"Scores, maps and sounds below are of these {MAX_EXCERPT_S:.0f} s, not of the whole recording.")
    return resources.excerpt(subject.path, subject.sha256, subject.detection.channel, start_s)


def _entry_subject(entry_id: int) -> Subject:
    store = resources.store()
    detail = entry_detail(store, entry_id)
    audit = store.audit(detail.audit_id)
    show_opened_entry(detail, page=SALIENCY_PAGE, query_params={})
    path = detail.absolute_path
    if not os.path.exists(path):
        raise CoreError(f"{path} is no longer there. Put the file back, or audit the folder it moved to and open it from there.")
    if detail.sha256 is None or resources.content_hash(path) != detail.sha256:
        raise CoreError("The file has changed since its audit. Audit the folder again: scores and map must be of one recording.")
    if not detail.detections:
        raise CoreError("This file is still to be scored; come back when its audit has got to it.")
    return Subject(path, detail.row.path, detail.sha256, _choose_channel(detail.detections), _audit_detector(audit.detector_hash))


def _audit_detector(detector_hash: str) -> Detector:
    try:
        return detector_named(detector_hash)
    except DetectorError:
        detector = detector_named()
        st.warning(
            f"The detector of the audit is no longer installed; this is what **{escaped(detector.name)}** looks at.",
            icon=":material/swap_horiz:",
        )
        return detector


def _choose_channel(detections: tuple[Detection, ...]) -> Detection:
    """The channel to look into, the one with the highest score first; one that was refused has nothing to see."""
    judged = [detection for detection in detections if detection.verdict is not Verdict.REFUSED]
    if not judged:
        raise AudioRefusal(
            detections[0].reason_code or "no_speech",
            f"The detector refused this recording, so there is no evidence to look at: {detections[0].reason}",
        )
    if len(judged) == 1:
        return judged[0]
    judged.sort(key=lambda detection: -(detection.spoof_score or 0.0))
    names = [f"{detection.channel}: {detection.verdict}, {detection.spoof_score:+.2f}" for detection in judged]
    return judged[st.selectbox("Channel", range(len(names)), format_func=names.__getitem__, key="saliency-channel")]
