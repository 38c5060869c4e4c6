"""core.fusion and the two passes of core.detect: which windows all networks judge, and what follows for stores and bundles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from core.calibration import Calibration, Thresholds
from core.checkpoints import Detector, DetectorManifest, detector_named, save_detector
from core.commands.program import main
from core.detect import Scorer
from core.detector_config import FUSION, Branch, FeatureConfig
from core.errors import CoreError, DetectorError
from core.evidence.bundle import make_bundle
from core.evidence.verify import verify_bundle
from core.explanation.explain import explain, explainable_layers
from core.explanation.map_tests import check_explanation
from core.fusion import Fusion, SecondPass
from core.models import raw_scores
from core.records import ScanSettings
from core.reports import segments_csv
from core.scanning.scan import prepare_audit, run_audit
from core.segments import split_windows
from core.store.store import Store
from core.store.triage import entry_details, matching_entries
from tests.tiny_training import write_tiny
from training.data import load_split
from training.passes import measure_passes

RATE_HZ = 16_000
NUM_SECOND = 6
BRANCHES = (
    Branch(model="vgg27", features=FeatureConfig(), weight=0.5),
    Branch(model="vgg27", features=FeatureConfig(kind="mel"), weight=2.0),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detectors: `fused`, two networks with random weights."""
    torch.manual_seed(3)
    network = Fusion(BRANCHES)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3)
    manifest = DetectorManifest(
        name="fused",
        summary="Random weights, for tests.",
        model=FUSION,
        features=None,
        branches=BRANCHES,
        num_second_pass=NUM_SECOND,
        aggregate="mean",
        calibration=Calibration(slope=3.0, offset=0.25),
        thresholds=Thresholds(lower=-0.2, upper=0.2),
        provenance={},
    )
    root = tmp_path_factory.mktemp("detectors")
    save_detector(root / "fused", network.eval(), manifest)
    return root


@pytest.fixture
def fused(folder: Path, _cache: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(folder))
    monkeypatch.setenv("EARWITNESS_DETECTOR", "fused")
    monkeypatch.setenv("EARWITNESS_CACHE", str(_cache))
    return detector_named()


@pytest.fixture
def recordings(tmp_path: Path, speech_like: Callable) -> Path:
    """A folder with a recording of 3 windows, and one of 29."""
    path = tmp_path / "recordings"
    path.mkdir()
    soundfile.write(path / "long.wav", np.concatenate([speech_like(10.0, seed) for seed in range(6)]), RATE_HZ)
    soundfile.write(path / "short.wav", speech_like(8.0, 9), RATE_HZ)
    return path


def chosen_of(fast: list[float], num: int) -> tuple[set[int], set[int]]:
    choice = SecondPass(num)
    for index, score in enumerate(fast):
        choice.offer(index, score, torch.tensor([float(index)]))
    assert all(samples.item() == index for index, samples in choice.chosen().items())
    return set(choice.chosen()), choice.even()


def test_few_windows_are_all_judged_by_all() -> None:
    assert chosen_of([0.3, -1.0, 2.0], 6) == ({0, 1, 2}, {0, 1, 2})
    assert chosen_of([0.0] * 6, 6) == (set(range(6)), set(range(6)))


def test_of_many_windows_some_evenly_spaced_and_the_riskiest() -> None:
    fast = [0.0] * 40
    fast[7], fast[21] = 5.0, 4.0
    chosen, even = chosen_of(fast, 6)
    # 4 even ones at most: of 40 windows those 16 apart (0, 16, 32); 8 apart would be 5.
    assert even == {0, 16, 32}
    assert {7, 21} <= chosen
    assert len(chosen) <= 6


def test_a_risky_window_that_was_evenly_spaced_before_is_not_forgotten() -> None:
    fast = [0.0] * 40
    fast[8] = 9.0  # a multiple of 8, dropped when the spacing becomes 16
    chosen, even = chosen_of(fast, 6)
    assert 8 in chosen
    assert 8 not in even


def test_the_windows_held_do_not_grow_with_the_recording() -> None:
    rng = np.random.default_rng(0)
    for num in (50, 5_000):
        chosen, even = chosen_of(rng.standard_normal(num).tolist(), 12)
        assert 7 < len(chosen) <= 12
        assert 4 <= len(even) <= 7


def test_a_fusion_sums_its_networks_weighted_scores(fused: Detector, speech_like: Callable) -> None:
    windows = split_windows(torch.from_numpy(speech_like(10.0)))
    network = fused.load_model()
    with torch.inference_mode():
        parts = [raw_scores(branch.load_model()(branch.build_front_end()(windows))) for branch in fused.branches]
        expected = 0.5 * parts[0] + 2.0 * parts[1]
        torch.testing.assert_close(raw_scores(network(windows)), expected, rtol=1e-5, atol=1e-6)
    for backend in ("onnx", "torch"):
        scores = Scorer(fused, backend=backend).score_windows(windows)
        torch.testing.assert_close(scores, 3.0 * expected + 0.25, rtol=1e-3, atol=1e-3)


def test_short_recordings_score_alike_both_ways_and_long_ones_nearly(fused: Detector, recordings: Path) -> None:
    in_two, thorough = Scorer(fused), Scorer(fused.thorough)
    short, whole = (scorer.score_file(recordings / "short.wav").detections[0] for scorer in (in_two, thorough))
    assert not any(segment.is_estimated for segment in short.segments)
    assert short.spoof_score == pytest.approx(whole.spoof_score, abs=1e-5)
    long, whole = (scorer.score_file(recordings / "long.wav").detections[0] for scorer in (in_two, thorough))
    assert not any(segment.is_estimated for segment in whole.segments)
    judged = [not segment.is_estimated for segment in long.segments]
    assert (len(judged), sum(judged)) == (29, NUM_SECOND)
    for segment, other in zip(long.segments, whole.segments, strict=True):
        if not segment.is_estimated:
            assert segment.spoof_score == pytest.approx(other.spoof_score, abs=1e-4)
    assert long.spoof_score == pytest.approx(np.mean([segment.spoof_score for segment in long.segments]), abs=1e-5)


def test_an_estimated_window_is_its_fast_score_and_the_mean_of_the_even_ones(fused: Detector, recordings: Path) -> None:
    scorer = Scorer(fused)
    detection = scorer.score_file(recordings / "long.wav").detections[0]
    samples, _ = soundfile.read(recordings / "long.wav", dtype="float32")
    windows = split_windows(torch.from_numpy(samples))
    fast, rest = scorer.contributions(windows)
    choice = SecondPass(NUM_SECOND)
    for index, score in enumerate(fast.tolist()):
        choice.offer(index, score, windows[index])
    mean = rest[sorted(choice.even())].mean()
    for index, segment in enumerate(detection.segments):
        expected = 3.0 * (fast[index] + (mean if segment.is_estimated else rest[index])) + 0.25
        assert segment.spoof_score == pytest.approx(float(expected), abs=1e-3)


def test_files_share_batches_and_come_in_order(fused: Detector, recordings: Path) -> None:
    paths = [recordings / "long.wav", recordings / "short.wav"] * 2 + [recordings / "missing.wav"]
    scorer = Scorer(fused)
    together = list(scorer.score_files(paths))
    assert [record.path for record in together] == [str(path) for path in paths]
    for record in together[:4]:
        alone = scorer.score_file(record.path).detections[0]
        assert record.detections[0].spoof_score == pytest.approx(alone.spoof_score, abs=1e-4)
    assert together[4].detections[0].spoof_score is None


def test_thorough_is_another_identity_that_is_found_again(fused: Detector) -> None:
    thorough = fused.thorough
    assert thorough.hash != fused.hash
    assert thorough.thorough is thorough
    assert detector_named("fused-thorough").hash == detector_named(thorough.hash).hash == thorough.hash
    assert detector_named(thorough.hash).manifest.num_second_pass == 0
    assert [branch.hash for branch in thorough.branches] == [branch.hash for branch in fused.branches]  # one export serves both


@pytest.mark.parametrize("is_thorough", [False, True])
def test_which_windows_were_estimated_is_stored_bundled_and_verified(
    fused: Detector, recordings: Path, tmp_path: Path, *, is_thorough: bool
) -> None:
    detector = fused.thorough if is_thorough else fused
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    audit_id = prepare_audit(store, str(recordings), detector, ScanSettings())
    assert run_audit(store, audit_id).num_done == 2
    details = {detail.row.path: detail for detail in entry_details(store, matching_entries(store, audit_id))}
    (long,) = details["long.wav"].detections
    assert sum(segment.is_estimated for segment in long.segments) == (0 if is_thorough else 23)
    assert segments_csv(details["long.wav"].detections).count("fast network") == (0 if is_thorough else 23)
    make_bundle(store, audit_id, tmp_path / "case")
    assert list(verify_bundle(tmp_path / "case", audio=recordings)) == []


def test_scan_says_how_it_judges(fused: Detector, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "scores.csv"
    assert main(["scan", str(recordings), "--thorough", "--out", str(out), "--db", f"sqlite:///{tmp_path / 'a.db'}"]) == 0
    assert "fused-thorough" in out.read_text()
    assert main(["scan", str(recordings), "--engine", "ray", "--db", f"sqlite:///{tmp_path / 'b.db'}"]) == 1
    assert "Add --thorough" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["occlusion", "grad_cam", "integrated_gradients"])
def test_a_fusion_is_explained_over_its_short_time_spectrum(fused: Detector, speech_like: Callable, method: str) -> None:
    samples = speech_like(4.0)
    made = explain(fused, samples, method=method)
    assert made.saliency.shape == (257, 500)
    assert made.has_frequencies
    assert made.saliency.max() == 1.0
    expected = Scorer(fused).score_windows(torch.from_numpy(samples)[None])
    assert made.spoof_score == pytest.approx(float(expected), abs=1e-2)
    if method == "grad_cam":
        assert explainable_layers(fused)
        assert not made.saliency[224:].any()  # the fast network's image ends at 7 kHz
        assert math.isfinite(check_explanation(fused, samples, made).deletion_auc)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"branches": BRANCHES[:1]}, "1 branches; a fusion has at least 2"),
        ({"model": "vgg27", "features": FeatureConfig()}, "has 2 branches"),
        ({"num_second_pass": 1}, "num_second_pass is 1"),
        ({"calibration": None}, "needs features, calibration and thresholds"),
        ({"branches": (replace(BRANCHES[0], model="vgg99"), BRANCHES[1])}, "needs model 'vgg99'"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(fused: Detector, changes: dict, expected: str) -> None:
    with pytest.raises(DetectorError, match=expected):
        replace(fused.manifest, **changes)


def test_a_weight_must_be_positive() -> None:
    with pytest.raises(DetectorError, match="expected a positive number"):
        Branch(model="vgg27", features=FeatureConfig(), weight=0.0)


def test_what_the_second_pass_leaves_out_is_measured(fused: Detector, tmp_path: Path) -> None:
    prepared = write_tiny(tmp_path / "prepared", sizes={"dev": 160})
    num, figures = measure_passes(fused, load_split(prepared, "dev"), length_s=8.0)
    assert num > 2
    by_number = {figure.num_windows: figure for figure in figures}
    assert by_number[0].share_judged == 1.0
    assert by_number[0].mean_change == 0.0
    assert by_number[24].mean_change == 0.0  # none is so long
    assert 0 < by_number[4].share_judged <= 1
    with pytest.raises(CoreError, match="has no second pass"):
        measure_passes(detector_named("vgg27-telephone"), load_split(prepared, "dev"))
