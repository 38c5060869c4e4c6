"""Figures of saliency, bands, excerpts and the report: what is drawn where, in which units, and that names stay text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.io
import pytest
import soundfile

from core.calibration import Thresholds
from core.errors import AudioRefusal, CoreError
from core.explanation.band_importance import band_importance, compared_bands
from core.explanation.excerpts import MAX_EXCERPT_S, excerpt_start_s, read_excerpt
from core.explanation.records import CounterfactualScore, EvidenceAudio, Explanation, SaliencyTest, TimeFrequencyBox
from core.explanation.report import ReportedMap, SaliencyReport, report_html
from core.explanation.saliency_figures import BOX_AXIS, band_figure, drawn_box, evidence_figure
from core.explanation.saliency_words import (
    agreement_words,
    badge_words,
    change_words,
    counterfactual_words,
    map_names,
    picture_words,
    test_lines,
)
from core.records import SegmentScore

THRESHOLDS = Thresholds(lower=-1.0, upper=1.0)
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, speech_like) -> Path:
    """70 s: sound, with a silent second from 40 to 41 s; left as it is, right at half the level."""
    path = tmp_path_factory.mktemp("saliency") / "long.wav"
    samples = np.tile(speech_like(10.0), 7)
    samples[40 * RATE_HZ : 41 * RATE_HZ] = 0
    soundfile.write(path, np.stack([samples, samples / 2], axis=1), RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def excerpt(recording: Path):
    return read_excerpt(recording, channel="1", start_s=38.0)


def _explanation(rows: np.ndarray | None = None, **changes) -> Explanation:
    rows = np.arange(224) * 31.25 if rows is None else rows
    time_s = np.arange(0, 30, 0.0179)
    saliency = np.zeros((len(rows), len(time_s)), dtype=np.float32)
    saliency[60:70, 100:110] = 1.0
    fields = {
        "saliency": saliency,
        "time_s": time_s,
        "rows": rows,
        "row_label": "Frequency (Hz)",
        "method": "grad_cam",
        "layer": "26",
        "target": "spoof_minus_bona_fide",
        "detector_name": "tiny",
        "detector_hash": "ab" * 32,
        "spoof_score": 2.5,
        "segments": (
            SegmentScore(start_s=0.0, end_s=4.0, spoof_score=2.5),
            SegmentScore(start_s=2.0, end_s=6.0, spoof_score=math.nan),
        ),
        "sample_rate_hz": RATE_HZ,
        "duration_s": 30.0,
        "versions": {"torch": "2.11.0"},
    }
    return Explanation(**fields | changes)


def _test(**changes) -> SaliencyTest:
    fields = {
        "deletion_auc": 0.1,
        "insertion_auc": 0.9,
        "random_deletion_auc": 0.5,
        "random_insertion_auc": 0.5,
        "energy_deletion_auc": 0.4,
        "energy_insertion_auc": 0.6,
        "beats_random": True,
        "num_random": 19,
        "randomised_correlation": 0.1,
        "share_non_speech": 0.2,
        "share_of_time_non_speech": 0.3,
        "share_below_300_hz": 0.05,
        "share_above_4_khz": 0.25,
        "num_windows": 1,
    }
    return SaliencyTest(**fields | changes)


def _figure(excerpt, explanation=None, **options):
    return evidence_figure(excerpt, explanation or _explanation(), thresholds=THRESHOLDS, **options)


def _heat(figure, axis: str = "y3"):
    return [trace for trace in figure.data if trace.type == "heatmap" and trace.yaxis == axis]


def test_an_excerpt_is_the_asked_part_of_the_asked_channel(recording: Path, excerpt) -> None:
    stored = soundfile.read(recording, dtype="float32")[0]
    np.testing.assert_array_equal(excerpt.samples, stored[38 * RATE_HZ : 68 * RATE_HZ, 0])
    assert (excerpt.start_s, excerpt.end_s, excerpt.recording_s, excerpt.duration_s) == (38.0, 68.0, 70.0, MAX_EXCERPT_S)
    mixed = read_excerpt(recording, start_s=60.0)
    np.testing.assert_allclose(mixed.samples, stored[60 * RATE_HZ :].mean(axis=1), atol=1e-6)


def test_spans_cover_the_excerpt_in_turn_and_find_the_silence(excerpt) -> None:
    assert excerpt.spans[0].start_s == 0.0
    assert excerpt.spans[-1].end_s == pytest.approx(30.0, abs=0.02)
    for before, after in zip(excerpt.spans, excerpt.spans[1:]):
        assert (before.end_s, before.is_active) == (after.start_s, not after.is_active)
    assert any(not span.is_active and span.start_s <= 2.0 and span.end_s >= 3.0 for span in excerpt.spans)


def test_an_excerpt_beyond_the_end_or_of_no_channel_is_refused(recording: Path) -> None:
    with pytest.raises(AudioRefusal, match=r"is 70\.0 s long"):
        read_excerpt(recording, start_s=71.0)
    with pytest.raises(AudioRefusal, match=r"2 channel\(s\); channel 3"):
        read_excerpt(recording, channel="3")


def test_a_long_recording_opens_at_its_highest_segment() -> None:
    segments = [SegmentScore(start_s=2.0 * i, end_s=2.0 * i + 4, spoof_score=float(i == 30)) for i in range(50)]
    segments[40] = replace(segments[40], spoof_score=math.nan)
    assert excerpt_start_s(segments, 102.0) == 62.0 - MAX_EXCERPT_S / 2
    assert excerpt_start_s(segments[:10], 22.0) == 0.0
    last = [replace(segment, spoof_score=float(i)) for i, segment in enumerate(segments)]
    assert excerpt_start_s(last, 102.0) == 102.0 - MAX_EXCERPT_S


def test_all_rows_share_one_time_axis_in_the_recordings_time(excerpt) -> None:
    figure = _figure(excerpt)
    axes = [axis for name, axis in figure.layout.to_plotly_json().items() if name.startswith("xaxis")]
    assert len(axes) == 4
    assert all(axis["range"] == [38.0, 68.0] for axis in axes)
    assert {axis.get("matches") for axis in axes} == {"x4", None}
    assert figure.layout.xaxis4.title.text == "Time (s)"
    assert figure.layout.yaxis3.title.text == "Frequency (kHz)"
    spoof = next(trace for trace in figure.data if trace.name == "spoof")
    assert list(spoof.x[:3]) == [38.0, 40.0, 42.0]


def test_the_map_lies_over_the_spectrogram_where_it_belongs(excerpt) -> None:
    spectrogram, drawn = _heat(_figure(excerpt))
    assert (spectrogram.zmin, spectrogram.zmax, spectrogram.colorbar.title.text) == (-80, 0, "dB")
    assert np.asarray(spectrogram.z).max() == 0
    assert np.asarray(spectrogram.z).min() >= -80
    z = np.asarray(drawn.z)
    rows, columns = np.nonzero(z == 1_000)
    y, x = np.asarray(drawn.y), np.asarray(drawn.x)
    assert (y[rows].min(), y[rows].max()) == pytest.approx((60 * 0.03125, 69 * 0.03125))
    assert x[columns].min() == pytest.approx(38 + 100 * 0.0179, abs=0.04)
    assert x[columns].max() == pytest.approx(38 + 109 * 0.0179, abs=0.04)


def test_a_map_with_a_few_strong_cells_is_still_seen(excerpt) -> None:
    saliency = np.random.default_rng(0).uniform(0, 0.02, (224, 1_676)).astype(np.float32)
    saliency[10, 10] = 1.0
    drawn = _heat(_figure(excerpt, _explanation(saliency=saliency)))[1]
    assert drawn.zmax == pytest.approx(20, abs=1)  # per mille: the strongest hundredth has full colour
    assert drawn.colorbar.ticktext[-1] == "≥ 2"
    even = _heat(_figure(excerpt, _explanation(saliency=np.ones((224, 1_676), dtype=np.float32))))[1]
    assert (even.zmax, even.colorbar.ticktext[-1]) == (1_000, "100")


def test_opacity_is_the_maps_alone(excerpt) -> None:
    spectrogram, drawn = _heat(_figure(excerpt, opacity=0.35))
    assert (spectrogram.opacity, drawn.opacity) == (None, 0.35)


def test_a_map_that_fails_is_grey_and_says_so(excerpt) -> None:
    def colours(figure) -> str:
        return "".join(colour for _, colour in _heat(figure)[1].colorscale)

    good, bad = _figure(excerpt), _figure(excerpt, is_trusted=False)
    channels = [re.findall(r"rgba\((\d+),(\d+),(\d+)", colours(figure)) for figure in (good, bad)]
    assert any(len(set(rgb)) > 1 for rgb in channels[0])
    assert all(len(set(rgb)) == 1 for rgb in channels[1])
    assert not good.layout.annotations
    assert "no evidence" in bad.layout.annotations[0].text


def test_amplitude_rows_get_a_row_of_their_own(excerpt) -> None:
    waveform = _explanation(rows=np.linspace(-1, 1, 224), row_label="Amplitude (of the peak)")
    figure = _figure(excerpt, waveform)
    assert len(_heat(figure, "y3")) == len(_heat(figure, "y4")) == 1
    assert figure.layout.yaxis4.title.text.startswith("Amplitude")
    outlines = [trace for trace in figure.data if trace.type == "scatter" and trace.yaxis == "y4"]
    assert max(float(np.abs(trace.y).max()) for trace in outlines) == pytest.approx(1.0)


def test_half_a_minute_stays_under_a_megabyte(excerpt) -> None:
    assert len(plotly.io.to_json(_figure(excerpt))) < 1_000_000


def test_a_box_can_be_drawn_because_points_lie_over_the_heat_map(excerpt) -> None:
    figure = _figure(excerpt, box=TimeFrequencyBox(start_s=1.0, end_s=2.0, low_hz=500.0, high_hz=1_500.0))
    (grid,) = (trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers")
    assert grid.yaxis == BOX_AXIS
    assert grid.marker.opacity == grid.selected.marker.opacity == grid.unselected.marker.opacity == 0
    (shape,) = (shape for shape in figure.layout.shapes if shape.yref == BOX_AXIS)
    assert (shape.x0, shape.x1, shape.y0, shape.y1) == (39.0, 40.0, 0.5, 1.5)


def test_a_drawn_box_is_read_in_the_excerpts_time_and_clipped(excerpt) -> None:
    boxes = [
        {"xref": "x3", "yref": "y3", "x": [50.0, 36.0], "y": [9.0, 4.0]},
        {"xref": "x", "yref": "y", "x": [40.0, 41.0], "y": [-1.0, 1.0]},
    ]
    assert drawn_box(boxes, excerpt) == TimeFrequencyBox(start_s=0.0, end_s=12.0, low_hz=4_000.0, high_hz=8_000.0)
    assert drawn_box(boxes[1:], excerpt) is None
    assert drawn_box([], excerpt) is None
    with pytest.raises(CoreError, match="no extent"):
        drawn_box([boxes[0] | {"x": [10.0, 20.0]}], excerpt)


def test_bands_by_hand() -> None:
    bands = {band.title: band for band in band_importance(_explanation())}
    # Rows 60 to 69 are 1,875 to 2,156 Hz: four of ten below 2 kHz.
    assert bands["1,000 to 2,000 Hz"].share == pytest.approx(0.4)
    assert bands["2,000 to 3,000 Hz"].share == pytest.approx(0.6)
    assert bands["0 to 300 Hz"].even_share == pytest.approx(10 / 224)
    assert sum(band.share for band in bands.values()) == pytest.approx(1.0)
    assert sum(band.even_share for band in bands.values()) == pytest.approx(1.0)
    assert "7,000 to 8,000 Hz" not in bands  # the detector is shown nothing there


def test_bands_of_other_rows_and_of_an_empty_map() -> None:
    bands = band_importance(_explanation(rows=np.linspace(-1, 1, 224), row_label="Amplitude (of the peak)"))
    assert len(bands) == 8
    assert sum(band.even_share for band in bands) == pytest.approx(1.0)
    empty = _explanation(saliency=np.zeros((224, 1_676), dtype=np.float32))
    assert {band.share for band in band_importance(empty)} == {0.0}


def test_bands_side_by_side_only_where_they_mean_the_same() -> None:
    other = _explanation(detector_name="other")
    bands = compared_bands([_explanation(), other])
    assert list(bands) == ["tiny", "other"]
    waveform = _explanation(rows=np.linspace(-1, 1, 224), row_label="Amplitude (of the peak)", detector_name="w")
    assert list(compared_bands([_explanation(), waveform])) == ["tiny"]
    figure = band_figure(bands, row_label="Frequency (Hz)")
    assert [trace.name for trace in figure.data] == ["tiny", "other", "if it were spread evenly"]
    assert figure.layout.xaxis.title.text.endswith("(%)")


def test_names_tell_maps_apart() -> None:
    first = _explanation()
    assert map_names([first, replace(first, method="occlusion", layer=None)]) == ["Grad-CAM", "Occlusion"]
    assert map_names([first, replace(first, detector_name="b")]) == ["tiny", "b"]
    assert map_names([first, first]) == ["1: Grad-CAM", "2: Grad-CAM"]


def test_words_of_badge_scores_and_agreement() -> None:
    assert badge_words(_test()) == "Passes its tests"
    assert "Does not beat random" in badge_words(_test(beats_random=False))
    assert "random weights" in badge_words(_test(randomised_correlation=0.9))
    assert "random weights" in badge_words(_test(beats_random_weights=False))
    assert "loudness" in badge_words(_test(energy_insertion_auc=0.95, energy_deletion_auc=0.1))
    assert change_words(2.21, -0.1) == "Score -0.10: 2.31 below the whole recording's +2.21"
    assert change_words(2.21, None) == "Too little sound is left to judge."
    said = counterfactual_words(CounterfactualScore(score_before=2.0, score_after=-1.0), unit=" nats")
    assert said == "Without the box the score goes from +2.00 to -1.00 nats (-3.00): it spoke for spoof."
    assert "for bona fide" in counterfactual_words(CounterfactualScore(score_before=0.0, score_after=1.0), unit="")
    assert "did not matter" in counterfactual_words(CounterfactualScore(score_before=0.0, score_after=0.01), unit="")
    assert "too little" in counterfactual_words(CounterfactualScore(score_before=0.0, score_after=None), unit="")
    assert "+0.80. They mark much the same" in agreement_words(0.8)
    assert "disagree" in agreement_words(-0.1)
    assert "above 7.0 kHz" in picture_words(_explanation())


def test_lines_of_the_test_leave_out_what_does_not_apply() -> None:
    assert len(test_lines(_test())) == 8
    lines = test_lines(_test(randomised_correlation=None, share_below_300_hz=None, share_above_4_khz=None))
    assert len(lines) == 6
    assert any(line.value == "-" and "not made" in line.meaning for line in lines)


test_lines.__test__ = False


def _report(excerpt, **changes) -> str:
    silence = np.zeros(RATE_HZ, dtype=np.float32)
    audio = EvidenceAudio(only=silence, without=silence, score=2.5, score_only=3.0, score_without=None, share_of_cells=0.1)
    first = ReportedMap(
        explanation=_explanation(),
        test=_test(),
        audio=audio,
        thresholds=THRESHOLDS,
        score_words="Spoof score (nats)",
        counterfactual=CounterfactualScore(score_before=2.5, score_after=-0.5),
    )
    fields = {
        "name": "<script>alert(1)</script> call.wav",
        "sha256": "cd" * 32,
        "excerpt": excerpt,
        "maps": (first,),
        "agreement": None,
        "box": TimeFrequencyBox(start_s=1.0, end_s=2.0, low_hz=500.0, high_hz=1_500.0),
        "opacity": 0.7,
    }
    return report_html(SaliencyReport(**fields | changes)).decode()


def test_a_report_holds_all_of_it_and_fetches_nothing(excerpt) -> None:
    text = _report(excerpt)
    assert text.count('<audio controls src="data:audio/wav;base64,') == 3
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", text)
    for words in (
        "cd" * 32,
        "ab" * 32,
        "torch 2.11.0",
        "Passes its tests",
        "39.00 to 40.00 s, 500 to 1,500 Hz",
        "it spoke for spoof",
        "0.50 above the whole recording",
        "Too little sound is left",
        "38.00 to 68.00 s of 70.00 s, channel 1",
    ):
        assert words in text
    assert "Plotly.newPlot" in text


def test_a_name_in_a_report_is_text(excerpt) -> None:
    text = _report(excerpt)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; call.wav" in text


def test_a_failing_map_is_marked_in_the_report_and_two_are_compared(excerpt) -> None:
    failing = ReportedMap(
        explanation=_explanation(method="occlusion", layer=None),
        test=_test(beats_random=False),
        audio=None,
        thresholds=None,
        score_words="Spoof score (not calibrated)",
    )
    text = _report(excerpt, maps=(failing, failing), agreement=0.12)
    assert text.count('class="badge fails"') == 2
    assert "+0.12. They disagree" in text
    assert json.dumps("no evidence: fails its test")[1:-1] in text
