"""explain: every method finds what was planted, over the whole recording; state comes back; threads do not disturb."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_networks import write_level_network
from planted_detectors import TONE_HZ, PlantedDetectors, planted, recording_with_tone

from core.checkpoints import Detector, DetectorManifest, save_detector
from core.detect import Scorer
from core.errors import AudioRefusal
from core.explanation.attributions import PATCHES_PER_SIDE, randomised, window_maps
from core.explanation.detector_views import view_of
from core.explanation.explain import MAX_EXPLAINED_S, explain, explainable_layers, score_samples
from core.explanation.recording_windows import cut, stitch, windows_of
from core.explanation.records import METHODS, Explanation, ExplanationError, available_methods
from core.features import ImageAxes
from core.foreign.records import ForeignNetwork
from core.models import build_model

__all__ = ["planted"]


def peak(explanation: Explanation) -> tuple[float, float]:
    """Time and frequency of the largest saliency; of equal ones, their middle."""
    rows, frames = np.nonzero(explanation.saliency == explanation.saliency.max())
    return float(explanation.time_s[frames].mean()), float(explanation.rows[rows].mean())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("duration_s", "start_s"), [(4.0, 1.0), (7.3, 5.2), (1.7, 0.3)])
def test_every_method_finds_the_planted_tone(planted: PlantedDetectors, method: str, duration_s: float, start_s: float) -> None:
    samples = recording_with_tone(duration_s, start_s=start_s, end_s=start_s + 0.8)
    found = explain(planted("find_tone"), samples, method=method)
    assert found.saliency.shape == (224, len(found.time_s))
    assert found.saliency.dtype == np.float32
    assert found.saliency.min() >= 0
    assert found.saliency.max() == 1
    assert found.time_s[-1] < duration_s <= found.time_s[-1] + 2 * 286 / 16_000
    # Occlusion knows the place to one patch.
    slack_s, slack_hz = (4 / PATCHES_PER_SIDE[1], 7_000 / PATCHES_PER_SIDE[0]) if method == "occlusion" else (0.05, 150)
    time_s, frequency_hz = peak(found)
    assert start_s - slack_s <= time_s <= start_s + 0.8 + slack_s
    assert abs(frequency_hz - TONE_HZ) <= slack_hz
    rows = abs(found.rows - TONE_HZ) <= 4 * 31.25 + slack_hz
    frames = (found.time_s > start_s - 0.1 - slack_s) & (found.time_s < start_s + 0.9 + slack_s)
    assert found.saliency[np.ix_(rows, frames)].sum() > 0.9 * found.saliency.sum()


def test_grad_cam_by_hand(planted: PlantedDetectors) -> None:
    """The head's slope is the only gradient: the map is the rectified convolution, to a factor."""
    detector = planted("find_tone")
    samples = recording_with_tone()
    with torch.no_grad():
        view = view_of(detector)
        expected = view.model[1](view.model[0](view.shown(torch.from_numpy(samples)[None])))[0, 0].numpy()
    np.testing.assert_allclose(explain(detector, samples, method="grad_cam").saliency, expected / expected.max(), atol=1e-5)


def test_integrated_gradients_are_complete(planted: PlantedDetectors) -> None:
    """For a linear network they sum to the score's rise over the empty image: here each cell's share is itself / 224^2."""
    view = view_of(planted("take_mean"))
    shown = torch.rand(1, 1, 224, 224)  # no negative part to be left out
    made = window_maps(view, shown, method="integrated_gradients", layer=None, target="spoof")
    np.testing.assert_allclose(made[0], shown[0, 0].numpy() / 224**2, rtol=1e-3)
    assert made.sum() == pytest.approx(float(view.values(shown) - view.values(torch.zeros_like(shown))), rel=1e-3)


def test_occlusion_by_hand(planted: PlantedDetectors) -> None:
    """One bright cell: every patch that covers it takes its whole share away, no other takes anything."""
    shown = torch.zeros(1, 1, 224, 224)
    shown[0, 0, 100, 50] = 224.0**2
    (made,) = window_maps(view_of(planted("take_mean")), shown, method="occlusion", layer=None, target="spoof_minus_bona_fide")
    assert made[100, 50] == pytest.approx(1.0)
    assert not made[:64].any()
    assert not made[:, :32].any()
    assert not made[140:].any()
    assert not made[:, 72:].any()


def test_target_bona_fide_finds_nothing_where_only_spoof_has_weights(planted: PlantedDetectors) -> None:
    detector = planted("find_tone")
    assert explain(detector, recording_with_tone(), method="grad_cam", target="bona_fide").is_empty
    spoof = explain(detector, recording_with_tone(), method="grad_cam", target="spoof")
    np.testing.assert_array_equal(spoof.saliency, explain(detector, recording_with_tone(), method="grad_cam").saliency)


def test_an_ensemble_is_explained_as_a_whole(planted: PlantedDetectors) -> None:
    detector = planted("find_tone", num_members=2)
    assert explainable_layers(detector) == ("0",)
    one = explain(planted("find_tone"), recording_with_tone(), method="grad_cam")
    np.testing.assert_allclose(explain(detector, recording_with_tone(), method="grad_cam").saliency, one.saliency, atol=1e-6)


def test_waveform_images_have_amplitudes(planted: PlantedDetectors) -> None:
    found = explain(planted("take_mean", kind="waveform"), recording_with_tone(), method="grad_cam")
    assert "Amplitude" in found.row_label
    assert not found.has_frequencies
    assert found.rows[0] < 0 < found.rows[-1]


def test_stitching_keeps_time() -> None:
    """Windows that show the time come out as time, though none but the first begins on a frame; gaps are 0."""
    axes = ImageAxes(time_s=tuple(i * 286 / 16_000 for i in range(224)), rows=(0.0,), row_label="Frequency (Hz)")
    detector = type("", (), {"manifest": type("", (), {"window_samples": 64_000, "window_s": 4.0})})
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(0.1 * rng.standard_normal(16_000 * 15)).float()
    samples[16_000 * 4 : 16_000 * 10] = 0
    windows = windows_of(detector, samples)
    assert windows.is_judged == (True, True, False, False, True, True, True)
    maps = np.stack([np.array(axes.time_s)[None] + windows.start_s[i] for i in windows.judged])
    stitched, time_s = stitch(maps, windows, axes)
    gap = (time_s >= 6) & (time_s < 8)  # judged are 0 to 6 s and 8 to 15 s
    inside = ~gap
    # The last frame of a window ends 14 ms before the window: there the last value stands.
    np.testing.assert_allclose(stitched[0, inside], time_s[inside], atol=0.02)
    assert not stitched[0, gap].any()
    for one, i in zip(maps, windows.judged, strict=True):
        # A window's first frame may lie between two of the recording's, the one before in the gap.
        np.testing.assert_allclose(cut(stitched, time_s, windows, i, axes)[0, 1:], one[0, 1:], atol=0.02)


def test_state_comes_back_after_success_and_failure(planted: PlantedDetectors, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = planted("find_tone")
    model = view_of(detector).model
    model.train()
    weight = model[0].weight
    weight.grad = torch.ones_like(weight)
    gradient = weight.grad

    def state() -> list:
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()]
        return [[m.training for m in model.modules()], [p.requires_grad for p in model.parameters()], hooks]

    before = state()
    for method in ("grad_cam", "integrated_gradients"):
        explain(detector, recording_with_tone(), method=method)
        assert state() == before
    monkeypatch.setattr(model[3], "forward", lambda image: 1 / 0)
    for method in ("grad_cam", "integrated_gradients"):
        with pytest.raises(ZeroDivisionError):
            explain(detector, recording_with_tone(), method=method)
        assert state() == before
    assert weight.grad is gradient
    assert torch.equal(gradient, torch.ones_like(weight))
    monkeypatch.undo()


def test_threads_get_the_maps_that_one_gets(planted: PlantedDetectors) -> None:
    detector = planted("find_tone")
    tasks = [
        (method, recording_with_tone(4.0, start_s=start_s, end_s=start_s + 0.5))
        for method in ("grad_cam", "integrated_gradients") for start_s in (0.5, 1.5, 2.5)
    ]  # fmt: skip
    alone = [explain(detector, samples, method=method) for method, samples in tasks]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda task: explain(detector, task[1], method=task[0]), tasks))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.saliency, other.saliency)
        assert one.segments == other.segments


def test_scores_are_those_of_a_scan(lively_detector: Detector, speech_like, write_recordings, tmp_path: Path) -> None:
    (path,) = write_recordings(tmp_path, 1, first_seed=3)  # 5 s: two windows
    (detection,) = Scorer(lively_detector).score_file(path).detections
    from core.audio import load

    samples = load(path)[0]
    found = explain(lively_detector, samples, method="grad_cam")
    assert found.spoof_score == pytest.approx(detection.spoof_score, abs=1e-4)
    assert found.segments == detection.segments
    assert score_samples(lively_detector, samples.numpy()) == pytest.approx(detection.spoof_score, abs=1e-4)
    assert score_samples(lively_detector, np.zeros(64_000, dtype=np.float32)) is None
    assert (found.layer, len(explainable_layers(lively_detector))) == ("26", 8)
    assert found.detector_hash == lively_detector.hash
    assert {"captum", "torch"} <= set(found.versions)
    first = explain(lively_detector, samples, method="grad_cam", layer="0")
    assert not np.array_equal(first.saliency, found.saliency)


def foreign_detector(folder: Path) -> Detector:
    """A level detector of half-second windows, made elsewhere: its score is 100 times the mean magnitude, less 3."""
    network = ForeignNetwork(window_samples=8_000, input_shape=(8_000,), is_batched=True, output_name="logits", column=1, minus=0)
    manifest = DetectorManifest(
        name="level", summary="Loud is spoof.", model="onnx", features=None, aggregate="mean",
        calibration=None, thresholds=None, network=network, provenance={},
    )  # fmt: skip
    return save_detector(folder / "level", write_level_network(folder / "level.onnx"), manifest)


def test_a_detector_made_elsewhere_allows_occlusion_only(tmp_path: Path) -> None:
    detector = foreign_detector(tmp_path)
    samples = recording_with_tone(2.0, start_s=0.5, end_s=1.0)
    samples[-6_400:] *= 0.05  # the tone is the loudest
    assert available_methods(detector) == ("occlusion",)
    assert explainable_layers(detector) == ()
    with pytest.raises(ExplanationError, match="Only the method occlusion"):
        explain(detector, samples, method="grad_cam")
    with pytest.raises(ExplanationError, match="gives one score"):
        explain(detector, samples, method="occlusion", target="spoof")
    found = explain(detector, samples, method="occlusion")
    time_s, frequency_hz = peak(found)
    assert 0.45 <= time_s <= 1.05
    assert abs(frequency_hz - TONE_HZ) <= 8_000 / PATCHES_PER_SIDE[0]


def test_refusals(planted: PlantedDetectors) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    with pytest.raises(ExplanationError, match="no convolutional layer '7'; it has 0"):
        explain(detector, samples, method="grad_cam", layer="7")
    with pytest.raises(ExplanationError, match="looks at no layer"):
        explain(detector, samples, method="occlusion", layer="0")
    with pytest.raises(ExplanationError, match="unknown method"):
        explain(detector, samples, method="gradcam")
    with pytest.raises(ExplanationError, match="unknown target"):
        explain(detector, samples, target="fake")
    with pytest.raises(ExplanationError, match="one channel"):
        explain(detector, samples[None])
    with pytest.raises(ExplanationError, match="at most 10"):
        explain(detector, np.zeros(int(MAX_EXPLAINED_S * 16_000) + 1, dtype=np.float32))
    for wrong, code in ((samples[:7_999], "too_short"), (samples * np.nan, "non_finite"), (samples * 0, "no_speech")):
        with pytest.raises(AudioRefusal) as refusal:
            explain(detector, wrong)
        assert refusal.value.code == code


def test_random_weights_are_other_weights(planted: PlantedDetectors) -> None:
    model = build_model("vgg27")
    other = randomised(model, torch.Generator().manual_seed(0), lambda: build_model("vgg27"))
    kernel, drawn = model[3].weight, other[3].weight
    assert abs(float(np.corrcoef(kernel.detach().flatten(), drawn.detach().flatten())[0, 1])) < 0.1
    assert drawn.std().item() == pytest.approx(kernel.std().item(), rel=0.1)
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True) if a.std() > 0)


def test_records_say_what_they_show(planted: PlantedDetectors) -> None:
    found = explain(planted("find_tone"), recording_with_tone(), method="grad_cam")
    assert found.title == "Grad-CAM at layer 0, evidence for spoof against bona fide"
    assert replace(found, saliency=np.zeros((2, 2))).is_empty
