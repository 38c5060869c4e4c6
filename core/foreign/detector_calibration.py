"""Calibrating a detector made elsewhere on an audit of labelled recordings: the same network as a new detector, in nats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from core.calibration import Calibration, choose_thresholds, fit_calibration
from core.checkpoints import Detector, detector_named, name_problem, save_detector
from core.errors import DetectorError
from core.evaluation.labelled_audits import audit_system, audit_systems, audit_trial_set, key_of_audit
from core.foreign.detector_import import model_card
from core.runs.publishing import detectors_folder
from core.store.store import Store

MIN_PER_CLASS = 10
"""Fewer recordings of a class say too little about its scores; hundreds are better."""


def calibrate_detector(store: Store, audit_id: int, name: str, *, by_reviews: bool = False, out: Path | None = None) -> Detector:
    """Fits calibration and thresholds to an audit's scores and labels, and writes the network as a detector of that name.

    Args:
        store: which holds the audit.
        audit_id: an audit with the detector that is to be calibrated.
        name: the new detector's; the old one stays.
        by_reviews: whether reviews are the labels, in place of the protocol.
        out: folder in which the detector's folder is made; the one of installed detectors when None.

    Raises:
        DetectorError: the audit's detector is not installed or is one of ours, the name is taken, or there are too few labels.
        CoreError: the audit is unknown, or its scores do not rise with spoof.
    """
    out = out or detectors_folder()
    if problem := name_problem(name, out):
        raise DetectorError(problem)
    detector = detector_named(store.audit(audit_id).detector_hash)
    if not detector.is_foreign:
        raise DetectorError(
            f"{detector.name} was calibrated when it was published; only detectors made elsewhere are calibrated so."
        )
    scores, is_spoof = _labelled_scores(store, audit_id, by_reviews=by_reviews)
    fitted, before = fit_calibration(scores, is_spoof), detector.manifest.calibration
    calibrated = fitted.slope * scores + fitted.offset
    if before:  # the audit's scores are nats already: fitted(before(raw))
        fitted = Calibration(slope=fitted.slope * before.slope, offset=fitted.slope * before.offset + fitted.offset)
    counts = {"num_bona_fide": int((~is_spoof).sum()), "num_spoof": int(is_spoof.sum())}
    manifest = replace(
        detector.manifest,
        name=name,
        calibration=fitted,
        thresholds=choose_thresholds(calibrated, is_spoof),
        provenance=detector.manifest.provenance | {"calibrated_on": {"folder": store.audit(audit_id).folder} | counts},
    )
    return save_detector(out / name, detector.graph_path, manifest, card=model_card(manifest))


def _labelled_scores(store: Store, audit_id: int, *, by_reviews: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the audit's labelled recordings that have one, and whether each is a spoof."""
    key = key_of_audit(audit_id, by_reviews=by_reviews)
    with store.reading() as connection:
        trial_set = audit_trial_set(connection, key)
        own = next(summary for summary in audit_systems(connection, key) if summary.audit_id == audit_id)
        scores = audit_system(connection, own, trial_set).scores
    has_score = np.isfinite(scores)
    is_spoof = trial_set.is_spoof[has_score]
    for label, num in (("bona fide", int((~is_spoof).sum())), ("spoof", int(is_spoof.sum()))):
        if num < MIN_PER_CLASS:
            raise DetectorError(
                f"Audit {audit_id} has {num} scored recordings labelled {label}; at least {MIN_PER_CLASS} are needed."
            )
    return scores[has_score], is_spoof
