"""Calibrating a detector on an audit of labelled recordings: the same network as a new detector of its own name and hash.

Nothing is ever calibrated silently: the old detector stays as it is, the new one says which audit and labels it was fitted to,
and what that was worth on recordings that the fit did not see.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.calibration import Calibration, choose_thresholds, fit_calibration
from core.checkpoints import Detector, DetectorManifest, Figure, detector_named, name_problem, save_detector
from core.errors import DetectorError
from core.evaluation.draws import group_ids
from core.evaluation.labelled_audits import audit_system, audit_systems, audit_trial_set, key_of_audit
from core.evaluation.resampling import bootstrap_interval
from core.evaluation.weighted_figures import weighted_cllr
from core.familiarity import load_familiarity, save_familiarity
from core.foreign.detector_import import model_card
from core.runs.publishing import detectors_folder
from core.store.store import Store

MIN_PER_CLASS = 10
"""Fewer recordings of a class say too little about its scores; hundreds are better."""
NUM_FOLDS = 5


def calibrate_detector(store: Store, audit_id: int, name: str, *, by_reviews: bool = False, out: Path | None = None) -> Detector:
    """Fits calibration and thresholds to an audit's scores and labels, and writes the network as a detector of that name.

    Args:
        store: which holds the audit.
        audit_id: an audit with the detector that is to be calibrated.
        name: the new detector's; the old one stays.
        by_reviews: whether the newest reviews are the labels, in place of the protocol.
        out: folder in which the detector's folder is made; the one of installed detectors when None.

    Raises:
        DetectorError: the audit's detector is not installed, the name is taken, or there are too few labels.
        CoreError: the audit is unknown, or its scores do not rise with spoof.
    """
    out = out or detectors_folder()
    if problem := name_problem(name, out):
        raise DetectorError(problem)
    audit = store.audit(audit_id)
    detector = detector_named(audit.detector_hash)
    scores, is_spoof, ids, labels_hash = _labelled_scores(store, audit_id, by_reviews=by_reviews)
    fitted, before = fit_calibration(scores, is_spoof), detector.manifest.calibration
    calibrated = fitted.slope * scores + fitted.offset
    fitted_on = {
        "folder": audit.folder,
        "labels": "reviews" if by_reviews else "protocol",
        "labels_sha256": labels_hash,
        "parent": {"name": detector.name, "hash": detector.hash},
        "num_bona_fide": int((~is_spoof).sum()),
        "num_spoof": int(is_spoof.sum()),
    }
    manifest = replace(
        detector.manifest,
        name=name,
        calibration=_after(before, fitted),
        thresholds=choose_thresholds(calibrated, is_spoof),
        provenance=detector.manifest.provenance | {"calibrated_on": fitted_on},
        figures=_figures(detector.manifest, scores, is_spoof, ids, f"audit {audit_id}"),
    )
    network = detector.graph_path if detector.is_foreign else detector.load_model()
    card = model_card(manifest) if detector.is_foreign else _card(detector, manifest)
    made = save_detector(out / name, network, manifest, card=card)
    if familiarity := load_familiarity(detector):  # of the same network; what was wrong at a score of 0 is another matter now
        save_familiarity(made.folder, replace(familiarity, detector_hash=made.hash, figures=familiarity.warned_figures))
    return made


def held_out_scores(scores: np.ndarray, is_spoof: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Scores `[trial]` by calibrations that were fitted without them and what belongs to them: five parts, each by the other four.

    Args:
        ids: as `independent_ids`.
    """
    fold = _parts(is_spoof, ids)[ids]
    calibrated = np.empty(len(scores))
    for number in np.unique(fold):
        out = fold == number
        fitted = fit_calibration(scores[~out], is_spoof[~out])
        calibrated[out] = fitted.slope * scores[out] + fitted.offset
    return calibrated


def independent_ids(is_spoof: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """`[trial]` numbers of what is independent: speakers, or the recordings where too few speakers are known to hold any out.

    Args:
        speakers: `[trial]` ids; a trial without one (None, NaN) stands alone.
    """
    ids = group_ids(speakers)
    fold = _parts(is_spoof, ids)[ids]
    can_hold_out = all(is_spoof[fold != number].any() and not is_spoof[fold != number].all() for number in range(NUM_FOLDS))
    return ids if can_hold_out and len(np.unique(fold)) == NUM_FOLDS else np.arange(len(is_spoof))


def _parts(is_spoof: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Part `[id]`, 0 to 4, by chance, so that each has its share of those with spoofs and of the others."""
    parts = np.empty(ids.max() + 1, dtype=int)
    has_spoof = np.isin(np.arange(len(parts)), ids[is_spoof])
    for of_kind in (np.nonzero(has_spoof)[0], np.nonzero(~has_spoof)[0]):
        parts[of_kind] = np.random.default_rng(0).permutation(np.arange(len(of_kind)) % NUM_FOLDS)
    return parts


def _after(before: Calibration | None, fitted: Calibration) -> Calibration:
    """One calibration in place of two: the audit's scores are fitted(before(raw))."""
    if before is None:
        return fitted
    return Calibration(slope=fitted.slope * before.slope, offset=fitted.slope * before.offset + fitted.offset)


def _figures(
    manifest: DetectorManifest, scores: np.ndarray, is_spoof: np.ndarray, ids: np.ndarray, split: str
) -> tuple[Figure, ...]:
    """What a calibration leaves as it was (ranks), and Cllr with and without it on recordings that the fit did not see."""
    kept = tuple(figure for figure in manifest.figures if figure.name.startswith(("EER", "AUC")))
    pairs = {"Cllr (bits), calibrated, held out": held_out_scores(scores, is_spoof, ids)}
    if manifest.calibration is not None:
        pairs = {"Cllr (bits), before": scores} | pairs
    counts = {"num_bona_fide": int((~is_spoof).sum()), "num_spoof": int(is_spoof.sum())}
    new = []
    for name, values in pairs.items():
        found = bootstrap_interval(weighted_cllr, values, is_spoof, groups=ids)
        new.append(Figure(split=split, name=name, value=found.value, low=found.low, high=found.high, **counts))
    return (*new, *kept)


def _card(parent: Detector, manifest: DetectorManifest) -> str:
    made, card, band = manifest.provenance["calibrated_on"], parent.folder / "README.md", manifest.thresholds
    return (
        f"# {manifest.name}\n\n{parent.name} ({parent.hash[:12]}) with another calibration, fitted to {made['num_bona_fide']:,} "
        f"bona fide and {made['num_spoof']:,} spoofed recordings of {made['folder']}, labelled by {made['labels']}. Below "
        f"{band.lower:+.2f} is bona fide, from {band.upper:+.2f} spoof. It holds for recordings like those. The network is the "
        "same; what its card says of accuracies and thresholds does not hold any more, ranks (EER, AUC) do.\n\n"
        f"{card.read_text(encoding='utf-8') if card.is_file() else ''}"
    )


def _labelled_scores(store: Store, audit_id: int, *, by_reviews: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Scores of an audit's labelled recordings that have one, which are spoofs, what is independent, a hash of names and labels."""
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
    named = "\n".join(f"{utterance} {spoof}" for utterance, spoof in zip(trial_set.table["utterance"], trial_set.is_spoof))
    digest = hashlib.sha256(named.encode("utf-8", "backslashreplace")).hexdigest()
    ids = independent_ids(is_spoof, trial_set.table["speaker"].to_numpy()[has_score])
    return scores[has_score], is_spoof, ids, digest
