"""Figures: what is drawn, on which axes, how large it gets, and that hostile names stay text."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import plotly.graph_objects as go
import plotly.io
import pytest

from core.calibration import Thresholds
from core.figures import VERDICT_COLOURS, folder_share_figure, recording_figure, score_histogram_figure, timeline_figure
from core.palette import SKY
from core.preview import RecordingPreview
from core.records import FolderShare, HistogramBin, SegmentScore, Verdict

THRESHOLDS = Thresholds(lower=-1.0, upper=1.0)


def _preview(num_columns: int = 50, column_s: float = 0.1) -> RecordingPreview:
    return RecordingPreview(
        time_s=np.arange(num_columns) * column_s,
        low=-np.ones(num_columns, dtype=np.float32),
        high=np.ones(num_columns, dtype=np.float32),
        level_db=np.zeros((128, num_columns), dtype=np.int8),
        frequency_hz=np.arange(128) * 62.5,
        duration_s=num_columns * column_s,
    )


def _segments(*scores: float) -> list[SegmentScore]:
    return [SegmentScore(start_s=2.0 * i, end_s=2.0 * i + 4, spoof_score=score) for i, score in enumerate(scores)]


def _lines(figure: go.Figure) -> dict[str, list[tuple[float, float, float]]]:
    """Name of each segment trace -> start, end and score of its lines."""
    traces = [trace for trace in figure.data if trace.yaxis == "y3"]
    return {t.name: [(t.x[i], t.x[i + 2], t.y[i]) for i in range(0, len(t.x), 4)] for t in traces}


def _share(folder: str, spoof: int = 1, bona_fide: int = 0) -> FolderShare:
    return FolderShare(folder=folder, num_spoof=spoof, num_inconclusive=0, num_bona_fide=bona_fide, num_refused=0)


def test_a_segment_is_a_line_over_its_time_under_the_name_of_its_verdict() -> None:
    lines = _lines(recording_figure(_preview(100), _segments(2.0, 0.0, -3.0, math.nan), THRESHOLDS))
    assert lines == {
        "spoof": [(0.0, 4.0, 2.0)],
        "inconclusive": [(2.0, 6.0, 0.0)],
        "bona fide": [(4.0, 8.0, -3.0)],
        "not judged": [(6.0, 10.0, 0.0)],  # in the middle of the band: it has no score
    }


def test_the_three_rows_share_one_time_axis_with_units() -> None:
    figure = recording_figure(_preview(), _segments(2.0), THRESHOLDS)
    layout = figure.layout
    assert [axis.range for axis in (layout.xaxis, layout.xaxis2, layout.xaxis3)] == [(0, 5.0)] * 3
    assert {layout.xaxis.matches, layout.xaxis2.matches} == {"x3"}
    assert layout.xaxis3.title.text == "Time (s)"
    assert layout.yaxis2.title.text == "Frequency (kHz)"
    assert layout.yaxis3.title.text == "Spoof score (nats)"


def test_frequency_rises_with_the_rows_of_the_spectrogram() -> None:
    heat = next(trace for trace in recording_figure(_preview(), [], THRESHOLDS).data if trace.type == "heatmap")
    assert np.all(np.diff(heat.y) > 0)
    assert heat.z.shape == (len(heat.y), len(heat.x)) == (128, 50)


def test_the_timeline_of_ten_hours_is_small_keeps_the_highest_score_and_has_a_clock() -> None:
    scores = [float(i % 7 - 3) for i in range(18_000)]
    scores[12_345] = 9.0
    figure = timeline_figure(_segments(*scores), THRESHOLDS, duration_s=36_002.0, part_s=(24_600.0, 25_200.0))
    assert len(plotly.io.to_json(figure)) < 100_000
    highest = next(trace for trace in figure.data if trace.name == "spoof")
    place = list(highest.y).index(9.0)
    assert highest.x[place] == np.datetime64("1970-01-01T06:50:00")  # 60 segments from 12,300 on, which begin every 2 s
    assert highest.text[place] == "6:50:00 to 6:52:02: +9.00, spoof"
    mean = next(trace for trace in figure.data if trace.name == "mean of each 60")
    assert len(mean.y) == 300
    assert mean.y[205] == pytest.approx(np.mean(scores[12_300:12_360]))
    assert figure.layout.yaxis.title.text == "Spoof score (nats)<br>highest of each 60"
    assert figure.layout.xaxis.range[1] == np.datetime64("1970-01-01T10:00:02")
    assert [shape.x0 for shape in figure.layout.shapes if shape.fillcolor == SKY] == [np.datetime64("1970-01-01T06:50:00")]


def test_a_part_of_a_long_recording_is_drawn_on_its_clock_with_its_segments_alone() -> None:
    preview = dataclasses.replace(_preview(600, 1.0), time_s=3_600.0 + np.arange(600), start_s=3_600.0)
    figure = recording_figure(preview, _segments(*[1.0] * 5_000), THRESHOLDS)
    spoof = next(trace for trace in figure.data if trace.name == "spoof")
    assert len(spoof.x) // 4 == 301  # every 2 s for 600 s, and those that reach in from before
    assert spoof.x[0] == np.datetime64("1970-01-01T00:59:58")
    assert figure.layout.xaxis3.range == (np.datetime64("1970-01-01T01:00:00"), np.datetime64("1970-01-01T01:10:00"))
    assert figure.layout.xaxis3.title.text == "Time (h:min:s)"


def test_histogram_bars_have_the_verdict_of_their_bin_and_lose_none() -> None:
    bins = [HistogramBin(low=i / 2, high=i / 2 + 0.5, num=10 + i) for i in range(-6, 6)]
    figure = score_histogram_figure(bins, THRESHOLDS)
    drawn = {trace.name: sum(trace.y) for trace in figure.data}
    assert drawn == {"bona fide": 4 + 5 + 6 + 7, "inconclusive": 8 + 9 + 10 + 11, "spoof": 12 + 13 + 14 + 15}
    assert [shape.x0 for shape in figure.layout.shapes] == [-1.0, 1.0]


def test_an_empty_audit_has_empty_figures() -> None:
    assert all(len(trace.y or ()) == 0 for trace in score_histogram_figure([], THRESHOLDS).data)
    assert all(len(trace.x or ()) == 0 for trace in folder_share_figure([]).data)


def test_folders_keep_their_order_with_the_first_at_the_top() -> None:
    figure = folder_share_figure([_share("b", 3, 1), _share(".", 0, 2)])
    assert figure.layout.yaxis.ticktext == ("(top folder)", "b")
    counts = {trace.name: tuple(trace.x) for trace in figure.data}
    assert counts["spoof"] == (0, 3)
    assert counts["bona fide"] == (2, 1)


def test_two_long_names_that_look_the_same_are_two_bars() -> None:
    tail = "/".join("abcdefghij") + "/recordings of the year 2026, all of them"
    figure = folder_share_figure([_share("left/" + tail), _share("right/" + tail)])
    assert len(set(figure.layout.yaxis.ticktext)) == 1  # shortened to the same text
    assert all(len(set(trace.y)) == 2 for trace in figure.data)
    assert [name.split("/")[0] for name in figure.data[0].customdata] == ["right", "left"]


def test_a_folder_name_is_text_not_markup() -> None:
    figure = folder_share_figure([_share("<b>old</b> & <a href='https://evil.example'>co</a>")])
    shown = [*figure.layout.yaxis.ticktext, *figure.data[0].customdata]
    assert not any("<" in text for text in shown)
    assert "&lt;b&gt;old" in figure.data[0].customdata[0]


def _figures() -> list[go.Figure]:
    bins = [HistogramBin(low=0.0, high=0.5, num=1)]
    return [
        recording_figure(_preview(), _segments(2.0), THRESHOLDS),
        score_histogram_figure(bins, THRESHOLDS),
        folder_share_figure([_share("a")]),
    ]


@pytest.mark.parametrize("figure", _figures())
def test_figures_are_transparent_valid_json_with_a_legend(figure: go.Figure) -> None:
    layout = json.loads(plotly.io.to_json(figure))["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert {trace.name for trace in figure.data if trace.name} <= {str(verdict) for verdict in Verdict}


def _luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("background", ["#FFFFFF", "#11181F"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_colours_stand_out_on_both_themes(verdict: Verdict, background: str) -> None:
    # WCAG 2.1, 1.4.11: graphics need a contrast of 3 to 1 against what is beside them.
    light, dark = sorted((_luminance(VERDICT_COLOURS[verdict]), _luminance(background)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3.0
