"""Measures what a detector looks at in every recording of a labelled set, map by map; goes on after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from core.audio import SAMPLE_RATE_HZ, load
from core.checkpoints import Detector
from core.errors import AudioRefusal
from core.evaluation.trial_sets import TrialSet
from core.explanation.attributions import PATCHES_PER_SIDE
from core.explanation.detector_views import members_of, view_of
from core.explanation.explain import explain
from core.explanation.map_tests import check_explanation
from core.explanation.records import DEFAULT_METHOD, Explanation, Method, Target
from core.fingerprints.files import Journal, JournalLine, refuse_finished, save_fingerprints, stem_of
from core.fingerprints.profiles import band_edges, profile_of
from core.fingerprints.records import (
    PROFILE_ARRAYS,
    TABLE_COLUMNS,
    FingerprintError,
    FingerprintSet,
    FingerprintSummary,
)
from core.networks.anatomy import describe_network

Progress = Callable[[int, int], None]
"""Told how many of how many recordings are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintOptions:
    """How maps are made."""

    method: Method = DEFAULT_METHOD
    layer: str | None = None
    """Of Grad-CAM; the one that `core.explanation.explain` takes where None."""
    target: Target = "spoof_minus_bona_fide"
    num_tested: int = 0
    """Maps that are tested as on the page Saliency, drawn at random from the set: a test takes many times as long as its map."""
    seed: int = 0
    """Of that draw."""

    def __post_init__(self) -> None:
        if self.num_tested < 0:
            raise FingerprintError(f"{self.num_tested} maps are to be tested; expected none or more.")


def measure_fingerprints(
    detector: Detector,
    trial_set: TrialSet,
    out: Path,
    *,
    options: FingerprintOptions | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Makes a map of every recording of a set, sums it up, and stores the result; a killed run goes on where it stopped.

    Args:
        detector: whose maps.
        trial_set: the recordings with their paths, and what is known of them.
        out: folder for the result, and for the journal while it is being made.
        options: how.
        on_progress: told after every recording.

    Returns:
        The manifest, as `core.fingerprints.files.load_fingerprints` reads it.

    Raises:
        FingerprintError: no recording has a map, it was measured already, or `out` cannot be written.
        ExplanationError: the detector cannot be explained so.
    """
    options = options or FingerprintOptions()
    probe = _probe(detector, options)
    summary = _summary(detector, trial_set, probe)
    manifest = out / f"{stem_of(summary)}.json"
    refuse_finished(manifest)
    key = {"detector": detector.hash, "method": probe.method, "layer": probe.layer, "target": probe.target}
    journal = Journal(manifest, key | {"set": trial_set.key, "num_rows": len(probe.rows)})
    try:
        tested = _drawn(trial_set, options)
        trials = list(zip(trial_set.table["utterance"], trial_set.table["path"], strict=True))
        for number, (utterance, path) in enumerate(trials, start=1):
            known = journal.lines.get(utterance)
            if known is None or (utterance in tested and known.profile is not None and not known.tested):
                journal.add(_line_of(utterance, path, detector, probe, is_tested=utterance in tested))
            if on_progress is not None:
                on_progress(number, len(trials))
        save_fingerprints(_collected(summary, trial_set, journal.lines, probe), out)
    except BaseException:
        journal.close()
        raise
    journal.finish()
    return manifest


def _probe(detector: Detector, options: FingerprintOptions) -> Explanation:
    """A map of a second of noise: it refuses what cannot be explained before any file is read, and tells layer, rows, versions."""
    noise = 0.1 * torch.randn(SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0))
    return explain(detector, noise, method=options.method, layer=options.layer, target=options.target)


def _summary(detector: Detector, trial_set: TrialSet, probe: Explanation) -> FingerprintSummary:
    return FingerprintSummary(
        detector_name=detector.name,
        detector_hash=detector.hash,
        set_name=trial_set.name,
        set_key=trial_set.key,
        method=probe.method,
        layer=probe.layer,
        target=probe.target,
        row_label=probe.row_label,
        resolution=_resolution(detector, probe),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        num_recordings=len(trial_set),
        versions=probe.versions,
    )


def _resolution(detector: Detector, probe: Explanation) -> float | None:
    """Height of the smallest spot of a map, in the rows' unit."""
    span = float(probe.rows[-1] - probe.rows[0]) * len(probe.rows) / (len(probe.rows) - 1)
    if probe.method == "occlusion":
        return span / len(probe.rows) * math.ceil(len(probe.rows) / PATCHES_PER_SIDE[0])
    if probe.method != "grad_cam":
        return None
    view = view_of(detector)
    image = torch.zeros(1, *detector.branches[0].manifest.features.image_shape)
    with view.lock:
        anatomy = describe_network(members_of(view.model)[0], image)
    return span / next(layer.shape[1] for layer in anatomy.layers if layer.name == probe.layer)


def _drawn(trial_set: TrialSet, options: FingerprintOptions) -> set[str]:
    """The utterances whose maps are tested: of the set in any order, the same."""
    ordered = sorted(trial_set.table["utterance"])
    return set(np.random.default_rng(options.seed).permutation(ordered)[: options.num_tested].tolist())


def _line_of(utterance: str, path: str, detector: Detector, probe: Explanation, *, is_tested: bool) -> JournalLine:
    """One recording; what cannot be judged is told in its line and stops nothing."""
    try:
        samples = load(path)[0]
        explanation = explain(detector, samples, method=probe.method, layer=probe.layer, target=probe.target)
    except AudioRefusal as refusal:
        return JournalLine(utterance=utterance, status="refused", reason=str(refusal))
    tested = ""
    if is_tested:
        tested = "passes" if check_explanation(detector, samples, explanation).passes else "fails"
    if explanation.is_empty:
        return JournalLine(utterance=utterance, status="empty", tested=tested)
    return JournalLine(utterance=utterance, status="measured", tested=tested, profile=profile_of(explanation, samples))


def _collected(
    summary: FingerprintSummary, trial_set: TrialSet, lines: dict[str, JournalLine], probe: Explanation
) -> FingerprintSet:
    """The journal as arrays, in the set's order."""
    ordered = [lines[utterance] for utterance in trial_set.table["utterance"]]
    found = next((line.profile for line in ordered if line.profile is not None), None)
    if found is None:
        raise FingerprintError(
            f"None of the {len(ordered)} recordings of {trial_set.name} has a map with anything in it. "
            "Try another method or layer, or check the recordings with `python -m core score`."
        )
    arrays = {}
    for name in PROFILE_ARRAYS:
        nothing = np.full_like(getattr(found, name), np.nan)
        arrays[name] = np.stack([nothing if line.profile is None else getattr(line.profile, name) for line in ordered])
    known = trial_set.table.astype(object)
    known = known.where(known.notna(), "").astype(str)
    columns = {name: known[name] for name in TABLE_COLUMNS if name in known}
    columns |= {"status": [line.status for line in ordered], "tested": [line.tested for line in ordered]}
    table = pd.DataFrame({name: pd.Series(columns[name], dtype=object) for name in TABLE_COLUMNS})
    edges = band_edges(np.asarray(probe.rows, dtype=np.float64))
    return FingerprintSet(summary=summary, band_edges=edges, table=table, arrays=arrays)
