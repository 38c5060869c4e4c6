"""core.evaluation.recalibration: explicit, a detector of its own, held-out figures; the old detector is untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.calibration import fit_calibration
from core.checkpoints import Detector, load_detector
from core.commands.program import main
from core.errors import DetectorError
from core.evaluation.recalibration import calibrate_detector, held_out_scores, independent_ids
from core.records import ScanSettings, TriageFilter
from core.scanning.scan import prepare_audit, run_audit
from core.store.store import Store
from core.store.triage import add_reviews, entry_detail, matching_entries


def test_held_out_scores_are_of_fits_that_did_not_see_them() -> None:
    rng = np.random.default_rng(0)
    is_spoof = np.arange(100) % 2 == 1
    scores = rng.normal(np.where(is_spoof, 1.0, -1.0), 1.0)
    alone = np.arange(100)
    calibrated = held_out_scores(scores, is_spoof, alone)
    fitted = fit_calibration(scores, is_spoof)
    whole = fitted.slope * scores + fitted.offset
    assert np.corrcoef(calibrated, whole)[0, 1] > 0.95
    assert not np.allclose(calibrated, whole)
    # A score that alone speaks for the other class moves the fit that saw it, and not its own part's.
    flipped = scores.copy()
    flipped[0] = 30.0
    assert held_out_scores(flipped, is_spoof, alone)[0] > 30.0 * 0.5
    # Nor do other recordings of its speaker: both get the calibration that saw neither.
    flipped[1], speakers = -30.0, np.array([0, 0, *range(1, 99)])
    first, second = held_out_scores(flipped, is_spoof, speakers)[:2]
    assert first > 15.0 > -15.0 > second


def test_speakers_are_held_out_whole_where_there_are_enough() -> None:
    is_spoof = np.arange(40) % 2 == 1
    speakers = np.array([f"S{i // 4}" for i in range(40)])
    ids = independent_ids(is_spoof, speakers)
    assert len(np.unique(ids)) == 10
    assert all(len(np.unique(ids[speakers == name])) == 1 for name in speakers)
    assert independent_ids(is_spoof, np.full(40, "one")).tolist() == list(range(40))
    assert independent_ids(is_spoof, np.where(is_spoof, "a", "b")).tolist() == list(range(40))
    assert independent_ids(is_spoof, np.full(40, None)).tolist() == list(range(40))


@pytest.fixture
def reviewed(lively_detector: Detector, store_url: str, speech_like: Callable, tmp_path: Path) -> Store:
    """Audit 1: 24 recordings, the higher their scores the more of them reviewed as spoof."""
    folder = tmp_path / "calls"
    folder.mkdir()
    for seed in range(24):
        soundfile.write(folder / f"{seed:02}.wav", speech_like(2.0, seed), 16_000)
    store = Store(store_url)
    run_audit(store, prepare_audit(store, str(folder), lively_detector, ScanSettings()))
    ids = matching_entries(store, 1, TriageFilter(order="safe"))
    is_spoof = [(i >= 12) is not (i in (8, 10, 11, 12, 13, 15)) for i in range(24)]
    for verdict, wanted in (("bona fide", False), ("spoof", True)):
        add_reviews(store, [ids[i] for i in range(24) if is_spoof[i] is wanted], verdict=verdict, reviewer="Ada")
    return store


def test_reviews_make_a_new_detector_and_leave_the_old_one(reviewed: Store, lively_detector: Detector, tmp_path: Path) -> None:
    before = [(path.name, path.read_bytes()) for path in sorted(lively_detector.folder.iterdir())]
    new = calibrate_detector(reviewed, 1, "mine", by_reviews=True, out=tmp_path / "detectors")
    assert [(path.name, path.read_bytes()) for path in sorted(lively_detector.folder.iterdir())] == before
    assert new.hash != lively_detector.hash
    made = new.manifest.provenance["calibrated_on"]
    assert made["parent"] == {"name": "lively", "hash": lively_detector.hash}
    assert (made["labels"], made["num_bona_fide"] + made["num_spoof"]) == ("reviews", 24)
    figures = {figure.name: figure for figure in new.manifest.figures}
    assert figures["Cllr (bits), before"].split == "audit 1"
    assert 0 < figures["Cllr (bits), calibrated, held out"].value < 1.5
    assert "another calibration" in new.card
    again = load_detector(new.folder)
    first = entry_detail(reviewed, matching_entries(reviewed, 1)[0]).detections[0].spoof_score
    raw = (first - lively_detector.manifest.calibration.offset) / lively_detector.manifest.calibration.slope
    fitted = again.manifest.calibration
    assert fitted.slope * raw + fitted.offset == pytest.approx(_fit(reviewed)(first), abs=1e-4)


def _fit(store: Store) -> Callable[[float], float]:
    details = [entry_detail(store, entry_id) for entry_id in matching_entries(store, 1)]
    scores = np.array([detail.detections[0].spoof_score for detail in details])
    is_spoof = np.array([detail.reviews[0].verdict == "spoof" for detail in details])
    fitted = fit_calibration(scores, is_spoof)
    return lambda score: fitted.slope * score + fitted.offset


def test_too_few_labels_and_a_taken_name_are_refused(reviewed: Store, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    ids = matching_entries(reviewed, 1, TriageFilter(review="spoof"))
    add_reviews(reviewed, ids[9:], verdict="inconclusive", reviewer="Ada")
    with pytest.raises(DetectorError, match="9 scored recordings labelled spoof; at least 10 are needed"):
        calibrate_detector(reviewed, 1, "mine", by_reviews=True, out=tmp_path / "detectors")
    assert not (tmp_path / "detectors").exists()
    with pytest.raises(DetectorError, match="There is a detector 'lively' already"):
        calibrate_detector(reviewed, 1, "lively", by_reviews=True, out=tmp_path / "detectors")
    assert main(["calibrate-detector", "1", "--name", "mine", "--out", str(tmp_path / "detectors")]) == 1
    assert capsys.readouterr().err
