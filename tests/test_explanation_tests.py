"""core.explanation.map_tests: curves against numbers got by sorting, and badges that fail when they must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_detectors import PlantedDetectors, planted, recording_with_tone
from scipy.stats import spearmanr
from test_explain import foreign_detector

from core.checkpoints import Detector
from core.explanation.attributions import randomised, window_maps
from core.explanation.detector_views import view_of
from core.explanation.explain import explain
from core.explanation.map_tests import NUM_RANDOM, SHARES, agreement, check_explanation
from core.explanation.records import MAX_RANDOMISED_CORRELATION, METHODS, Explanation, ExplanationError
from core.models import build_model

__all__ = ["planted"]


def blob(explanation: Explanation, *, seed: int) -> Explanation:
    """The same record with a smooth map that knows nothing."""
    rng = np.random.default_rng(seed)
    rows, frames = (np.arange(size) for size in explanation.saliency.shape)
    row, frame = rng.uniform(0, len(rows)), rng.uniform(0, len(frames))
    saliency = np.exp(-(((rows - row)[:, None] / 25) ** 2) - ((frames - frame) / 25) ** 2)
    return replace(explanation, saliency=saliency.astype(np.float32))


def busy_recording() -> np.ndarray:
    """The tone and bursts of noise: much that a network with random weights may answer to."""
    samples, rng = recording_with_tone(), np.random.default_rng(5)
    for start_s in (0.2, 0.5, 2.0, 2.3, 2.7, 3.1, 3.4):
        samples[int(start_s * 16_000) :][:2_400] += 0.1 * rng.standard_normal(2_400).astype(np.float32)
    return samples


@pytest.mark.parametrize("method", METHODS)
def test_a_map_of_the_evidence_holds(planted: PlantedDetectors, method: str) -> None:
    detector, samples = planted("find_tone"), busy_recording()
    test = check_explanation(detector, samples, explain(detector, samples, method=method))
    assert test.beats_random
    assert test.passes, test
    assert test.area_over_random > 0
    assert test.area_over_energy > 0
    assert test.num_random == NUM_RANDOM
    assert abs(test.randomised_correlation) < MAX_RANDOMISED_CORRELATION
    assert f"{NUM_RANDOM} maps" in test.words


@pytest.mark.parametrize("method", METHODS)
def test_a_detector_that_ignores_its_input_does_not_beat_random(planted: PlantedDetectors, method: str) -> None:
    detector, samples = planted("hear_nothing"), recording_with_tone()
    nothing = explain(detector, samples, method=method)
    assert nothing.is_empty
    for shown in (nothing, blob(nothing, seed=0)):
        test = check_explanation(detector, samples, shown)
        assert not test.beats_random
        assert not test.passes
        assert test.insertion_auc == pytest.approx(0.5)
        assert "does not beat random" in test.words


def test_maps_that_know_nothing_seldom_beat_random(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    found = explain(detector, samples)
    passed = [check_explanation(detector, samples, blob(found, seed=seed)).beats_random for seed in range(6)]
    assert sum(passed) <= 1


def test_maps_of_random_weights_seldom_hold(planted: PlantedDetectors) -> None:
    """Kernels drawn at random mark bursts of noise or the tone as it happens; the detector's own map holds."""
    detector, samples = planted("find_tone"), busy_recording()
    found, view = explain(detector, samples), view_of(detector)
    assert check_explanation(detector, samples, found).passes
    shown, passed = view.shown(torch.from_numpy(samples)[None]), []
    for seed in range(100, 108):  # other ones than the test draws
        other = randomised(view.model, torch.Generator().manual_seed(seed), lambda: build_model("find_tone"))
        with torch.no_grad():  # no threshold, and for spoof: so that there is a map
            other[0].bias.zero_()
            other[-1].weight.copy_(view.model[-1].weight)
        (saliency,) = window_maps(view, shown, method="grad_cam", layer="0", target="spoof", model=other)
        assert saliency.any()
        mistaken = replace(found, saliency=(saliency / saliency.max()).astype(np.float32))
        passed.append(check_explanation(detector, samples, mistaken).passes)
    assert sum(passed) <= 2


@pytest.mark.parametrize("method", METHODS)
def test_a_map_that_weights_do_not_change_does_not_hold(planted: PlantedDetectors, method: str) -> None:
    detector, samples = planted("unlearnt"), recording_with_tone()
    test = check_explanation(detector, samples, explain(detector, samples, method=method))
    assert test.beats_random
    assert test.randomised_correlation == pytest.approx(1.0)
    assert not test.beats_random_weights or method == "occlusion"  # its maps of random networks are coarser
    assert not test.passes
    assert "random weights" in test.words


def test_curves_by_sorting(planted: PlantedDetectors) -> None:
    """The score is the image's mean: hiding the loudest cells first leaves the mean of the others, revealing them theirs."""
    detector, samples = planted("take_mean"), recording_with_tone()
    found = explain(detector, samples, method="occlusion")
    test = check_explanation(detector, samples, found)
    image = view_of(detector).shown(torch.from_numpy(samples)[None])[0, 0].double().numpy()

    def areas(order: np.ndarray) -> tuple[float, float]:
        ranked = image.ravel()[np.argsort(-order.ravel(), kind="stable")]
        sums = np.concatenate([[0.0], np.cumsum(ranked)]) / image.size
        hidden = [int(np.ceil(share * image.size)) for share in SHARES]
        revealed = np.array([sums[num] for num in hidden])
        return np.trapezoid(sums[-1] - revealed, SHARES), np.trapezoid(revealed, SHARES)

    deletion, insertion = areas(image)
    assert (test.energy_deletion_auc, test.energy_insertion_auc) == pytest.approx((deletion, insertion), abs=1e-4)
    assert test.insertion_auc < insertion  # nothing can be better than the sorted image
    assert test.deletion_auc > deletion


def test_shares_by_hand(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    found = explain(detector, samples)
    saliency = np.zeros_like(found.saliency)
    frame_at = lambda time_s: int(np.argmin(abs(found.time_s - time_s)))  # noqa: E731
    saliency[4, frame_at(1.4)] = 1.0  # 125 Hz in the tone
    saliency[160, frame_at(0.5)] = 0.5  # 5 kHz in a pause
    saliency[64, frame_at(2.5)] = 0.5  # 2 kHz in a pause
    test = check_explanation(detector, samples, replace(found, saliency=saliency))
    assert test.share_below_300_hz == pytest.approx(0.5)
    assert test.share_above_4_khz == pytest.approx(0.25)
    assert test.share_non_speech == pytest.approx(0.5)
    assert test.share_of_time_non_speech == pytest.approx(0.7, abs=0.02)  # 0.8 s of tone and 0.4 s of noise in 4 s


def test_a_long_recording_is_tested_where_the_map_says_most(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone(15.0, start_s=6.5, end_s=7.3)
    samples += 0.02 * np.random.default_rng(1).standard_normal(len(samples)).astype(np.float32)  # sound in every window
    test = check_explanation(detector, samples, explain(detector, samples))
    assert test.num_windows == 4
    assert test.beats_random


def test_a_detector_made_elsewhere_has_no_weights_to_draw(tmp_path) -> None:
    detector: Detector = foreign_detector(tmp_path)
    samples = recording_with_tone(1.0, start_s=0.2, end_s=0.5)
    test = check_explanation(detector, samples, explain(detector, samples, method="occlusion"))
    assert test.randomised_correlation is None
    assert test.depends_on_weights


def test_a_map_of_something_else_is_refused(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    found = explain(detector, samples)
    with pytest.raises(ExplanationError, match="explains the detector"):
        check_explanation(planted("take_mean"), samples, found)
    with pytest.raises(ExplanationError, match="not of 3 s"):
        check_explanation(detector, samples[:48_000], found)


def test_agreement_is_spearmans(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    first, second = (explain(detector, samples, method=method) for method in ("grad_cam", "occlusion"))
    expected = spearmanr(first.saliency.ravel(), second.saliency.ravel()).statistic
    assert agreement(first, second) == pytest.approx(expected, abs=1e-6)
    assert agreement(first, first) == pytest.approx(1.0)
    assert agreement(first, replace(first, saliency=np.zeros_like(first.saliency))) == 0
    coarse = replace(first, saliency=first.saliency[::2, ::2], time_s=first.time_s[::2], rows=first.rows[::2])
    assert agreement(coarse, first) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ExplanationError, match="rows differ"):
        agreement(first, replace(second, row_label="Coefficient"))
    with pytest.raises(ExplanationError, match="of one recording"):
        agreement(first, replace(second, duration_s=3.0))
