"""What is kept between reruns and shared by all users: the store, detectors, scorers, previews. The only `st.cache_*`."""

from __future__ import annotations

import os

import streamlit as st

from core.audio import sha256_of
from core.checkpoints import Detector, detector_named, find_detectors
from core.detect import Scorer
from core.errors import AudioRefusal
from core.preview import RecordingPreview, playable_wav, preview_recording
from core.records import Audit, ScoredRecording
from core.schema import default_url
from core.store import Store
from core.triage import codecs, folders


def store() -> Store:
    """The store that `EARWITNESS_DB` names.

    Raises:
        StoreError: it cannot be opened.
    """
    return _store(default_url())


def detectors() -> tuple[Detector, ...]:
    """The installed detectors, by name.

    Raises:
        DetectorError: one of them is damaged.
    """
    return _detectors(os.environ.get("EARWITNESS_DETECTORS", ""))


def default_detector() -> Detector:
    """The detector in use when none is chosen.

    Raises:
        DetectorError: there is none.
    """
    return detector_named()


def scorer(detector: Detector) -> Scorer:
    """A detector ready to score."""
    return _scorer(str(detector.folder), detector.hash)


@st.cache_resource(max_entries=4)
def _store(url: str) -> Store:
    return Store(url)


@st.cache_resource(max_entries=4, ttl=60)
def _detectors(root: str) -> tuple[Detector, ...]:
    return find_detectors()


@st.cache_resource(max_entries=3, show_spinner="Loading the detector ...")
def _scorer(folder: str, detector_hash: str) -> Scorer:
    return Scorer(detector_named(folder), num_threads=len(os.sched_getaffinity(0)))


def scored(path: str, detector: Detector, channels: str) -> ScoredRecording:
    """What a detector says of a file, computed once per content."""
    try:
        sha256 = sha256_of(path)
    except AudioRefusal:
        return scorer(detector).score_file(path, channels=channels)
    return _scored(sha256, detector.hash, channels, path, detector)


def folders_and_codecs(store: Store, audit: Audit) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What an audit's filters offer; read again when more files are done."""
    return _folders_and_codecs(store.url, audit.id, audit.num_done, store)


@st.cache_data(max_entries=64)
def _folders_and_codecs(url: str, audit_id: int, num_done: int, _store: Store) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return folders(_store, audit_id), codecs(_store, audit_id)


# A leading underscore keeps an argument out of the key: uploads have a new path on every rerun, content does not.
@st.cache_data(max_entries=64, show_spinner="Listening ...")
def _scored(sha256: str, detector_hash: str, channels: str, _path: str, _detector: Detector) -> ScoredRecording:
    return scorer(_detector).score_file(_path, channels=channels)


def content_hash(path: str) -> str | None:
    """SHA-256 of a file as it is now; None where it cannot be read."""
    try:
        status = os.stat(path)
        return _content_hash(os.fsencode(path), status.st_mtime_ns, status.st_size)
    except (OSError, AudioRefusal):
        return None


@st.cache_data(max_entries=1_000, show_spinner=False)
def _content_hash(path: bytes, mtime_ns: int, size_bytes: int) -> str:
    return sha256_of(os.fsdecode(path))


@st.cache_data(max_entries=32, show_spinner="Drawing the recording ...")
def preview(_path: str, sha256: str, channel: str) -> RecordingPreview:
    """Envelope and spectrogram of one channel, by content."""
    return preview_recording(_path, channel=channel)


@st.cache_data(max_entries=16, show_spinner=False)
def playable(_path: str, sha256: str, channel: str) -> bytes:
    """A WAV of one channel that every browser plays, by content."""
    return playable_wav(_path, channel=channel)
