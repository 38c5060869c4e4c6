"""What is kept between reruns and shared by all users: store, detectors, scorers, previews, networks. The only `st.cache_*`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.audio import sha256_of
from core.checkpoints import SHIPPED_DETECTORS, Detector, detector_named, find_detectors
from core.errors import AudioRefusal
from core.explanation.records import CounterfactualScore, EvidenceAudio, Explanation, Method, SaliencyTest, Target, TimeFrequencyBox
from core.preview import RecordingPreview, preview_samples, read_part, wav_bytes
from core.records import Audit, ScoredRecording
from core.runs.folders import METRICS_FILE, Run
from core.runs.metrics import Metrics, read_metrics
from core.scanning.trial import try_alone
from core.store.schema import default_url
from core.store.store import Store
from core.store.triage import codecs, folders, num_warned

if TYPE_CHECKING:
    from core.attacks.lab import LabVerdict
    from core.attacks.make import MadeSpoof
    from core.detect import Scorer
    from core.evaluation.comparison_records import SystemComparison
    from core.evaluation.curves import ReliabilityCurve
    from core.evaluation.inconclusive_band import BandCoverage
    from core.evaluation.operating_points import DetLine
    from core.evaluation.records import Grouping, GroupTable, Metric
    from core.evaluation.score_files import ColumnMapping, ScoreTable
    from core.evaluation.system_records import System, TrialSetSummary
    from core.evaluation.trial_sets import TrialSet
    from core.explanation.excerpts import Excerpt
    from core.networks.activations import Activations, FeatureMaps
    from core.networks.anatomy import FeatureBox
    from core.networks.opening import Network, RecordingImage
    from core.protocols import ProtocolChoices
    from core.stress.records import SurvivalCard
    from core.stress.table_files import StressTables

# What needs torch or pandas is imported where it is called, so that a page paints before they are loaded.


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
    root = os.environ.get("EARWITNESS_DETECTORS", "")
    return _detectors(root, tuple(os.stat(folder).st_mtime_ns for folder in (SHIPPED_DETECTORS, root) if os.path.isdir(folder)))


def scorer(detector: Detector) -> Scorer:
    """A detector ready to score."""
    return _scorer(str(detector.folder), detector.hash)


@st.cache_resource(max_entries=4)
def _store(url: str) -> Store:
    return Store(url)


@st.cache_resource(max_entries=4, ttl=60)
def _detectors(root: str, changed_ns: tuple[int, ...]) -> tuple[Detector, ...]:
    return find_detectors()


@st.cache_resource(max_entries=3, show_spinner="Loading the detector ...")
def _scorer(folder: str, detector_hash: str) -> Scorer:
    from core.detect import Scorer

    detector = detector_named(folder)
    if detector.hash != detector_hash:
        detector = detector.thorough
    return Scorer(detector, num_threads=len(os.sched_getaffinity(0)))


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


def num_narrowband(store: Store, audit: Audit) -> int:
    """How many of an audit's recordings have telephone bandwidth; counted again when more files are done."""
    return _num_narrowband(store.url, audit.id, audit.num_done, store)


@st.cache_data(max_entries=64, show_spinner=False)
def _num_narrowband(url: str, audit_id: int, num_done: int, _store: Store) -> int:
    return num_warned(_store, audit_id, "narrowband")


@st.cache_data(max_entries=64)
def _folders_and_codecs(url: str, audit_id: int, num_done: int, _store: Store) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return folders(_store, audit_id), codecs(_store, audit_id)


# A leading underscore keeps an argument out of the key: uploads have a new path on every rerun, content does not.
@st.cache_data(max_entries=64, show_spinner="Listening ...")
def _scored(sha256: str, detector_hash: str, channels: str, _path: str, _detector: Detector) -> ScoredRecording:
    return scorer(_detector).score_file(_path, channels=channels)


def check_upload(path: str) -> None:
    """Lets a process of its own decode a file from outside before this one, which serves everybody, does.

    Raises:
        AudioRefusal: that process crashed, or came to no end.
    """
    sha256 = content_hash(path)
    if sha256 is not None and (refusal := _refusal_alone(sha256, path)):
        raise AudioRefusal(*refusal)


@st.cache_data(max_entries=1_000, show_spinner="Listening ...")
def _refusal_alone(sha256: str, _path: str) -> tuple[str, str] | None:
    try:
        try_alone(_path)
    except AudioRefusal as refusal:
        return refusal.code, str(refusal)
    return None


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


@st.cache_resource(max_entries=16, show_spinner="Drawing the recording ...")
def part(_path: str, sha256: str, channel: str, start_s: float) -> tuple[RecordingPreview, bytes]:
    """Envelope and spectrogram of a part of one channel, and a WAV of it that every browser plays, by content.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    samples = read_part(_path, channel=channel, start_s=start_s)
    return preview_samples(samples, start_s=start_s), wav_bytes(samples)


def run_metrics(run: Run) -> Metrics:
    """A run's curves as they are now; read again when the file grew."""
    try:
        status = os.stat(run.folder / METRICS_FILE)
    except OSError:
        return Metrics()
    return _run_metrics(str(run.folder), status.st_mtime_ns, status.st_size, run)


@st.cache_resource(max_entries=32, show_spinner=False)
def _run_metrics(folder: str, mtime_ns: int, size_bytes: int, _run: Run) -> Metrics:
    return read_metrics(_run.folder)


def network(source: Detector | Run) -> Network:
    """The network of a detector or a run; opened again when a run's weights changed.

    Raises:
        CoreError: there are no weights, or they are damaged.
    """
    from core.networks.opening import version_of

    return _network(version_of(source), source)


@st.cache_resource(max_entries=4, show_spinner="Opening the network ...")
def _network(version: str, _source: Detector | Run) -> Network:
    from core.networks.opening import open_network

    return open_network(_source)


def seen_by(source: Detector | Run, path: str) -> tuple[RecordingImage, Activations]:
    """What a network is shown of a recording and how its layers answer, once per content.

    Raises:
        CoreError: there are no weights, or the recording cannot be judged.
    """
    from core.networks.opening import version_of

    return _seen(version_of(source), sha256_of(path), source, path)


@st.cache_resource(max_entries=16, show_spinner="Listening ...")
def _seen(version: str, sha256: str, _source: Detector | Run, _path: str) -> tuple[RecordingImage, Activations]:
    from core.networks.activations import watch_activations
    from core.networks.opening import recording_image

    opened = network(_source)
    shown = recording_image(_path, opened.front_end)
    return shown, watch_activations(opened.model, shown.image)


def maps_of(source: Detector | Run, path: str, box: FeatureBox) -> FeatureMaps:
    """The feature maps of one box of the picture for a recording, once per content."""
    from core.networks.opening import version_of

    return _maps(version_of(source), sha256_of(path), box.layer, source, path, box)


@st.cache_resource(max_entries=32, show_spinner=False)
def _maps(version: str, sha256: str, layer: int, _source: Detector | Run, _path: str, _box: FeatureBox) -> FeatureMaps:
    from core.networks.activations import feature_maps

    shown, _ = seen_by(_source, _path)
    return feature_maps(network(_source).model, shown.image, _box)


# Evaluations ------------------------------------------------------------------------------------------------------


def trial_sets() -> tuple[TrialSetSummary, ...]:
    """The labelled sets and who scored them, as the store is now."""
    from core.evaluation.systems import list_trial_sets

    return list_trial_sets(store())


def systems(summary: TrialSetSummary, names: tuple[str, ...]) -> tuple[tuple[System, ...], str]:
    """Systems of a set with their scores, read once; and a text that changes when they do.

    Raises:
        CoreError: one of them is gone.
    """
    from core.evaluation.labelled_audits import audit_of_key
    from core.evaluation.reads import labels_version

    chosen = tuple(system for name in names for system in summary.systems if system.name == name)
    version = labels_version(store()) if audit_of_key(summary.key) or any(system.origin == "audit" for system in chosen) else ""
    fingerprint = repr((store().url, summary.key, summary.num_bona_fide, summary.num_spoof, chosen, version))
    return _systems(fingerprint, summary.key, names, store()), fingerprint


@st.cache_resource(max_entries=8, show_spinner="Reading the scores ...")
def _systems(fingerprint: str, key: str, names: tuple[str, ...], _store: Store) -> tuple[System, ...]:
    from core.evaluation.systems import load_systems

    return load_systems(_store, key, names)


@st.cache_resource(max_entries=64, show_spinner="Measuring ...")
def group_table(
    fingerprint: str,
    _systems: tuple[System, ...],
    *,
    metric: Metric,
    grouping: Grouping,
    thresholds: Mapping[str, float] | None,
) -> GroupTable:
    """The table of groups by systems with its intervals."""
    from core.evaluation.evaluate import group_table as core_group_table

    return core_group_table(_systems, metric=metric, grouping=grouping, thresholds=thresholds)


@st.cache_resource(max_entries=64, show_spinner=False)
def curve(fingerprint: str, _system: System, *, name: str, threshold: float) -> DetLine:
    """A system's DET curve with its marks."""
    from core.evaluation.operating_points import det_line

    return det_line(_system, threshold)


@st.cache_resource(max_entries=64, show_spinner=False)
def reliability_of(fingerprint: str, _system: System, *, name: str) -> ReliabilityCurve:
    """Whether a system's scores are the log-likelihood ratios that they are taken for."""
    from core.evaluation.curves import reliability
    from core.evaluation.operating_points import scored_trials

    return reliability(*scored_trials(_system))


@st.cache_resource(max_entries=64, show_spinner="Measuring ...")
def bands(fingerprint: str, _system: System, *, name: str) -> tuple[BandCoverage, ...]:
    """What a system's inconclusive band leaves undecided and gets wrong, at several widths."""
    from core.evaluation.inconclusive_band import system_bands

    return system_bands(_system)


@st.cache_resource(max_entries=16, show_spinner="Comparing ...")
def comparison(
    fingerprint: str, _systems: tuple[System, ...], *, grouping: Grouping, thresholds: Mapping[str, float]
) -> SystemComparison:
    """The first system against the second, with intervals."""
    from core.evaluation.comparison import compare_systems

    return compare_systems(*_systems, grouping=grouping, thresholds=thresholds)


@st.cache_resource(max_entries=16, show_spinner="Reading the file ...")
def score_table(sha256: str, name: str, columns: ColumnMapping | None, one_means: str | None, _data: bytes) -> ScoreTable:
    """A score file that was dropped, by content.

    Raises:
        ScoreFileError: it is none, with the line.
    """
    from core.evaluation.score_files import read_score_file

    return read_score_file(_data, name=name, columns=columns, one_means=one_means)


def stored_set(summary: TrialSetSummary) -> TrialSet:
    """The trials of an imported or shipped set, which never change under their key."""
    return _stored_set(store().url, summary.key, store())


@st.cache_resource(max_entries=4, show_spinner=False)
def _stored_set(url: str, key: str, _store: Store) -> TrialSet:
    from core.evaluation.systems import load_trial_set

    return load_trial_set(_store, key)


@st.cache_resource(max_entries=4, show_spinner="Reading the protocol ...")
def trial_set(sha256: str, name: str, choices: ProtocolChoices, _data: bytes) -> TrialSet:
    """A protocol that was dropped, by content.

    Raises:
        ProtocolError: it is none, with the line.
    """
    from core.evaluation.trial_sets import parse_trial_set

    return parse_trial_set(_data, file_name=name, choices=choices)


# Saliency ---------------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=8, show_spinner="Drawing the recording ...")
def excerpt(_path: str, sha256: str, channel: str, start_s: float) -> Excerpt:
    """A part of a recording with what is drawn of it, by content.

    Raises:
        AudioRefusal: it cannot be decoded.
    """
    from core.explanation.excerpts import read_excerpt

    return read_excerpt(_path, channel=channel, start_s=start_s)


@st.cache_resource(max_entries=16, show_spinner="Opening the network ...")
def layers_of(detector_hash: str, _detector: Detector) -> tuple[str, ...]:
    """The layers that Grad-CAM can explain, the deepest last."""
    from core.explanation.explain import explainable_layers

    return explainable_layers(_detector)


@st.cache_resource(max_entries=32, show_spinner="Looking for the evidence and testing the map; occlusion takes longest ...")
def tested_map(
    sha256: str,
    channel: str,
    start_s: float,
    detector_hash: str,
    method: Method,
    layer: str | None,
    target: Target,
    _excerpt: Excerpt,
    _detector: Detector,
) -> tuple[Explanation, SaliencyTest]:
    """A map of an excerpt and its test.

    Raises:
        CoreError: the detector cannot be explained so, or there is too little sound.
    """
    from core.explanation.explain import explain
    from core.explanation.map_tests import check_explanation

    explanation = explain(_detector, _excerpt.samples, method=method, layer=layer, target=target)
    return explanation, check_explanation(_detector, _excerpt.samples, explanation)


@st.cache_resource(max_entries=16, show_spinner="Listening without the evidence ...")
def evidence_sounds(
    sha256: str,
    channel: str,
    start_s: float,
    detector_hash: str,
    method: Method,
    layer: str | None,
    target: Target,
    quantile: float,
    _excerpt: Excerpt,
    _detector: Detector,
    _explanation: Explanation,
) -> EvidenceAudio:
    """The marked part of an excerpt and the rest, with their scores.

    Raises:
        CoreError: there is too little sound.
    """
    from core.explanation.evidence_audio import evidence_audio

    return evidence_audio(_detector, _excerpt.samples, _explanation, quantile=quantile)


@st.cache_resource(max_entries=64, show_spinner="Listening without the box ...")
def without_box(
    sha256: str,
    channel: str,
    start_s: float,
    detector_hash: str,
    box: TimeFrequencyBox,
    _excerpt: Excerpt,
    _detector: Detector,
) -> CounterfactualScore:
    """The score of an excerpt without a box of time and frequency.

    Raises:
        CoreError: nothing lies in the box, or there is too little sound.
    """
    from core.explanation.evidence_audio import counterfactual_score

    return counterfactual_score(_detector, _excerpt.samples, box)


# Attack lab -------------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=256, show_spinner=False)
def made_spoof(
    sha256: str,
    kind: str,
    parameters: tuple[tuple[str, float], ...],
    text: str | None,
    seed: int,
    other_sha256: str | None,
    _samples: np.ndarray,
    _source: str,
    _other: np.ndarray | None,
) -> MadeSpoof:
    """A spoof of a recording's excerpt, by kinds that take one towards another recording.

    Raises:
        CoreError: it cannot be made, of this recording or on this machine.
    """
    from core.attacks.make import make_spoof

    return make_spoof(_samples, kind, seed=seed, parameters=dict(parameters), text=text, other=_other, source=_source)


@st.cache_resource(max_entries=2_000, show_spinner=False)
def lab_verdict(detector_hash: str, digest: str, source: str, attack: str, _samples: np.ndarray, _detector: Detector) -> LabVerdict:
    """What a detector says of a recording or of a spoof made of it, by the samples' digest."""
    from core.attacks.lab import judge

    return judge(_detector, _samples, source=source, attack=attack)


# Stress -----------------------------------------------------------------------------------------------------------


def stress_tables() -> StressTables:
    """The stress tables that come with Earwitness and one's own; read again when a file changes."""
    from core.stress.table_files import table_paths

    return _stress_tables(tuple((str(path), (status := path.stat()).st_mtime_ns, status.st_size) for path in table_paths()))


@st.cache_resource(max_entries=4, show_spinner="Reading the results ...")
def _stress_tables(states: tuple[tuple[str, int, int], ...]) -> StressTables:
    from core.stress.table_files import find_tables

    return find_tables()


def survival_card(
    sha256: str, detector: Detector, excerpt: Excerpt, *, on_progress: Callable[[int, int], None], seed: int = 0
) -> SurvivalCard:
    """A recording under all conditions, by content.

    Args:
        on_progress: told how many conditions are done, of how many; not called for a card that is known.

    Raises:
        CoreError: the recording as it is cannot be judged.
    """
    from core.stress.recording import stress_recording

    slot = _card_slot(sha256, detector.hash, seed)
    if not slot:
        slot.append(stress_recording(detector, excerpt.samples, seed=seed, scorer=scorer(detector), on_progress=on_progress))
    return slot[0]


# A cached function cannot move a bar on the page: this keeps the place that the card is put into.
@st.cache_resource(max_entries=64, show_spinner=False)
def _card_slot(sha256: str, detector_hash: str, seed: int) -> list[SurvivalCard]:
    return []


@st.cache_resource(max_entries=32, show_spinner="Changing the recording ...")
def stressed_samples(sha256: str, condition: str, seed: int, _excerpt: Excerpt) -> np.ndarray:
    """A recording under a condition, to be heard.

    Raises:
        CoreError: this machine cannot make the condition.
    """
    from core.stress.conditions import CONDITIONS, apply_condition

    return apply_condition(_excerpt.samples, CONDITIONS[condition], seed=seed)
