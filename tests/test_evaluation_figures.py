"""Figures of evaluations: what is drawn of which record, colours that everyone can tell apart, hostile names, tables for CSV."""

from __future__ import annotations

import io
import itertools
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pytest
from scipy.stats import norm

from core.calibration import Thresholds
from core.evaluation.comparison_figures import difference_figure, scatter_figure
from core.evaluation.comparison_records import ComparisonRow, ErrorCounts, ScoreScatter, SystemComparison
from core.evaluation.confusion import ConfusionMatrix, ScoreHistogram, VerdictRow, VerdictTable
from core.evaluation.curve_figures import CLASS_COLOURS, det_figure, reliability_figure, score_spread_figure
from core.evaluation.curves import DetCurve, reliability
from core.evaluation.figures import (
    badness,
    cell_colours,
    cell_words,
    confusion_figure,
    group_heat_figure,
    group_interval_figure,
    metric_words,
    verdict_figure,
    with_published,
)
from core.evaluation.frames import confusion_frame, det_frame, histogram_frame, reliability_frame, scatter_frame, verdict_frame
from core.evaluation.operating_points import DetLine, DetMark
from core.evaluation.records import Cell, GroupRow, GroupTable, ReferenceColumn
from core.evaluation.resampling import PairedDifference
from core.figure_style import SCALE, colours_of
from core.store.exports import csv_of_frame

EVIL = "<b>x</b> %{y}"


def _cell(value: float | None, low: float | None = None, high: float | None = None, num: int = 100, note: str = "") -> Cell:
    return Cell(value=value, low=low, high=high, num_trials=num, note=note)


def _row(key: str, kind: str = "group", title: str | None = None) -> GroupRow:
    return GroupRow(key=key, title=title or key, description=f"about {key}", kind=kind, num_trials=100)


def _table(**changes) -> GroupTable:
    values = {
        "metric": "eer",
        "grouping": "attack",
        "rows": (_row("human", "human"), _row("A07"), _row("A17", title=EVIL), _row("total", "total")),
        "systems": ("one", EVIL),
        "cells": (
            (_cell(None, note="no spoofs"), _cell(None, note="no spoofs")),
            (_cell(0.001222, 0.001, 0.0015, 4_914), _cell(0.02, 0.01, 0.03)),
            (_cell(0.091776, 0.085, 0.099), _cell(0.5, 0.4, 0.6)),
            (_cell(0.0218, 0.02, 0.024), _cell(0.3, 0.2, 0.35)),
        ),
        "thresholds": {"one": 0.0, EVIL: 0.1},
        "interval_method": "Bootstrap.",
        "warnings": (),
    }
    return GroupTable(**values | changes)


def _comparison(**changes) -> SystemComparison:
    def row(key: str, kind: str, value: float | None, p: float | None) -> ComparisonRow:
        difference = None
        if value is not None:
            difference = PairedDifference(value=value, low=value - 0.02, high=value + 0.03, p_value=p)
        errors = ErrorCounts(only_first=1, only_second=2, both=3, p_value=1.0)
        first, second = (None, None) if value is None else (0.1 + value, 0.1)
        names = {"key": key, "title": key, "description": "", "kind": kind, "num_trials": 50}
        return ComparisonRow(**names, first=first, second=second, difference=difference, p_adjusted=p, errors=errors)

    rows = (row("human", "human", None, None), row("A07", "group", -0.05, 0.01), row("A08", "group", 0.04, 0.02))
    values = {
        "first": "one",
        "second": EVIL,
        "thresholds": {"one": 0.0, EVIL: 1.0},
        "grouping": "attack",
        "rows": (*rows, row("total", "total", 0.001, 0.9)),
        "disagreements": (),
        "num_disagreements": 0,
        "num_common": 50,
        "interval_method": "",
        "warnings": (),
    }
    return SystemComparison(**values | changes)


MATRIX = ConfusionMatrix(system=EVIL, threshold=0.5, true_spoof=90, missed=10, false_alarm=5, true_bona_fide=15, not_scored=2)
VERDICTS = VerdictTable(
    system="one",
    thresholds=Thresholds(lower=-1.0, upper=1.0),
    rows=(
        VerdictRow(
            key="human",
            title="Human",
            description="",
            is_spoof=False,
            num_bona_fide=8,
            num_inconclusive=1,
            num_spoof=1,
            num_refused=0,
        ),
        VerdictRow(
            key="A07", title=EVIL, description="", is_spoof=True, num_bona_fide=1, num_inconclusive=2, num_spoof=6, num_refused=1
        ),
    ),
)
HISTOGRAM = ScoreHistogram(
    system="one", edges=np.array([0.0, 1.0, 3.0]), num_bona_fide=np.array([3, 1]), num_spoof=np.array([10, 30])
)
DET = DetLine(
    name=EVIL,
    curve=DetCurve(
        false_alarm=np.array([1.0, 0.5, 0.1, 0.0]), miss=np.array([0.0, 0.1, 0.5, 1.0]), thresholds=np.array([0.0, 1.0, 2.0, 3.0])
    ),
    marks=(DetMark(title="EER", threshold=1.5, false_alarm=0.3, miss=0.3),),
)
SCATTER = ScoreScatter(
    first="one",
    second=EVIL,
    utterances=(EVIL, "b", "c"),
    labels=("spoof", "bona fide", "spoof"),
    attacks=("A07", None, "A08"),
    first_scores=np.array([1.0, 2.0, 3.0]),
    second_scores=np.array([4.0, 5.0, 6.0]),
    correlation=1.0,
    num_common=3,
)


def _reliability() -> dict:
    rng = np.random.default_rng(0)
    is_spoof = rng.random(400) < 0.5
    return {EVIL: reliability(np.where(is_spoof, 1.0, -1.0) + rng.standard_normal(400), is_spoof)}


def _figures() -> dict[str, go.Figure]:
    return {
        "heat": group_heat_figure(_table()),
        "intervals": group_interval_figure(_table()),
        "confusion": confusion_figure(MATRIX),
        "verdicts": verdict_figure(VERDICTS),
        "spread": score_spread_figure(HISTOGRAM, {EVIL: 0.5}),
        "det": det_figure([DET]),
        "reliability": reliability_figure(_reliability()),
        "differences": difference_figure(_comparison()),
        "scatter": scatter_figure(SCATTER, {"one": 0.0, EVIL: 1.0}),
    }


def _texts(node: object) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in _texts(value)]
    if isinstance(node, list | tuple):
        return [text for value in node for text in _texts(value)]
    return [node] if isinstance(node, str) else []


# Words and colours -----------------------------------------------------------------------------------------------


def test_a_cell_says_figure_interval_and_count() -> None:
    assert cell_words("eer", _cell(0.091776, 0.085, 0.099, 4_914)) == "9.18 %  (8.50 to 9.90)  n 4,914"
    assert cell_words("auc", _cell(0.98765, 0.98, 0.99, 10)) == "0.9877  (0.9800 to 0.9900)  n 10"
    assert cell_words("accuracy", _cell(0.9988, num=0)) == "99.88 %"  # published: no interval, no count
    assert cell_words("eer", _cell(None, note="Not reported.")) == "– Not reported."
    assert metric_words("eer", None) == "–"


@pytest.mark.parametrize(
    ("metric", "best", "worst"), [("accuracy", 1.0, 0.0), ("eer", 0.0, 0.5), ("miss_rate", 0.0, 1.0), ("auc", 1.0, 0.5)]
)
def test_badness_runs_from_perfect_to_chance(metric: str, best: float, worst: float) -> None:
    assert badness(metric, best) == 0.0
    assert badness(metric, worst) == 1.0
    values = [badness(metric, best + share * (worst - best)) for share in np.linspace(0, 1, 20)]
    assert np.all(np.diff(values) > 0)
    assert badness("eer", 0.9) == 1.0  # worse than chance


def _luminance(colour: str) -> float:
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def _contrast(first: str, second: str) -> float:
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("share", np.linspace(0, 1, 41))
def test_words_can_be_read_on_every_colour_of_the_scale(share: float) -> None:
    assert _contrast(*colours_of(float(share))) >= 4.5  # WCAG 2.1, 1.4.3: text


def test_the_scale_hits_its_own_colours_and_ends_differ_for_the_colour_blind() -> None:
    assert [colours_of(position)[0] for position, _ in SCALE] == [colour for _, colour in SCALE]
    # Deuteranopes and protanopes confuse colours along red and green; blue against orange differs in blue alone.
    blue_of = [int(colours_of(end)[0][5:7], 16) for end in (0.0, 1.0)]
    assert blue_of[0] - blue_of[1] > 150
    assert cell_colours("eer", _cell(None)) is None


@pytest.mark.parametrize("background", ["#FFFFFF", "#11181F"])
def test_classes_stand_out_on_both_themes(background: str) -> None:
    assert all(_contrast(colour, background) >= 3.0 for colour in CLASS_COLOURS.values())


# What is drawn ---------------------------------------------------------------------------------------------------


def test_the_heat_map_has_a_cell_for_each_group_and_system() -> None:
    heat, words, missing = group_heat_figure(_table()).data
    assert list(heat.z[0]) == [None, None]
    assert heat.z[1][0] == pytest.approx(badness("eer", 0.001222))
    assert list(zip(words.y, words.x)) == [(i, j) for i in (1, 2, 3) for j in (0, 1)]
    assert words.text[0] == "<b>0.12 %</b><br>(0.10 to 0.15) n 4,914"
    assert len(missing.text) == 2
    assert "no spoofs" in missing.hovertext[0]


def test_published_figures_stand_in_columns_of_their_own() -> None:
    column = ReferenceColumn(name="AASIST (published)", metric="eer", values={"A07": 0.008, "A17": None}, source="someone (2022)")
    table = with_published(_table(), [column])
    assert table.systems == ("one", EVIL, "AASIST (published)")
    assert [row[2].value for row in table.cells] == [None, 0.008, None, None]
    assert table.cells[2][2].note == "Not reported."
    assert [row.key for row in table.sorted_by("AASIST (published)").rows] == ["human", "A07", "A17", "total"]


def test_intervals_are_drawn_in_per_cent_and_systems_keep_apart() -> None:
    first, second = group_interval_figure(_table()).data
    assert first.x == pytest.approx((0.1222, 9.1776, 2.18))
    assert first.error_x.array[0] == pytest.approx(0.15 - 0.1222)
    assert first.error_x.arrayminus[0] == pytest.approx(0.1222 - 0.1)
    assert first.marker.symbol != second.marker.symbol
    assert all(a < b and round(a) == round(b) for a, b in zip(first.y, second.y))


def test_a_confusion_matrix_is_blue_where_right_and_orange_where_wrong() -> None:
    heat, words = confusion_figure(MATRIX).data
    assert words.text == ("<b>90</b><br>90.0 %", "<b>10</b><br>10.0 %", "<b>5</b><br>25.0 %", "<b>15</b><br>75.0 %")
    assert heat.z[0][0] < 0.5 < heat.z[0][1]
    assert heat.z[1][1] < 0.5 < heat.z[1][0]


def test_verdicts_are_right_by_the_row_and_refusals_are_neither() -> None:
    heat, words = verdict_figure(VERDICTS).data
    assert words.text[4:] == ("<b>1</b><br>10.0 %", "<b>2</b><br>20.0 %", "<b>6</b><br>60.0 %", "<b>1</b><br>10.0 %")
    assert [value < 0.5 for value in (heat.z[0][0], heat.z[1][2])] == [True, True]
    assert [value > 0.5 for value in (heat.z[0][2], heat.z[1][0])] == [True, True]
    assert [row[j] for row in heat.z for j in (1, 3)] == [0.5] * 4


def test_score_histograms_are_shares_of_each_class_with_the_threshold() -> None:
    figure = score_spread_figure(HISTOGRAM, {"threshold": 0.5})
    bona_fide, spoof = figure.data
    assert tuple(bona_fide.y) == (75.0, 25.0)
    assert tuple(spoof.y) == (25.0, 75.0)
    assert tuple(spoof.x) == (0.5, 2.0)
    assert tuple(spoof.width) == (1.0, 2.0)
    assert figure.layout.shapes[0].x0 == 0.5


def test_det_is_on_normal_deviates_with_its_marks() -> None:
    figure = det_figure([DET])
    line, marks = figure.data
    assert line.x[1:3] == pytest.approx(norm.ppf([0.5, 0.1]))
    assert line.y[1:3] == pytest.approx(norm.ppf([0.1, 0.5]))
    assert np.all(np.isfinite([*line.x, *line.y]))
    assert (marks.x[0], marks.y[0]) == pytest.approx((norm.ppf(0.3), norm.ppf(0.3)))
    ticks = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals))
    assert ticks["5"] == pytest.approx(norm.ppf(0.05))
    assert figure.layout.xaxis.range == figure.layout.yaxis.range


def test_reliability_has_a_diagonal_and_intervals() -> None:
    curves = _reliability()
    (line,) = reliability_figure(curves).data
    bins = curves[EVIL].bins
    assert list(line.x) == [item.predicted for item in bins]
    assert np.array(line.y) + np.array(line.error_y.array) == pytest.approx([item.high for item in bins])


def test_differences_are_told_by_who_is_better_and_by_chance() -> None:
    first, second, neither = difference_figure(_comparison()).data
    assert (first.name, tuple(first.x), tuple(first.y)) == ("one better", (-5.0,), (0,))
    assert (tuple(second.x), tuple(second.y)) == ((4.0,), (1,))
    assert (neither.name, tuple(neither.y)) == ("no difference shown", (2,))
    assert first.error_x.array[0] == pytest.approx(3.0)
    assert first.error_x.arrayminus[0] == pytest.approx(2.0)


def test_the_scatter_has_a_point_for_each_recording() -> None:
    spoof, bona_fide = scatter_figure(SCATTER, {"one": 0.0, EVIL: 1.0}).data
    assert (tuple(spoof.x), tuple(spoof.y)) == ((1.0, 3.0), (4.0, 6.0))
    assert (tuple(bona_fide.x), tuple(bona_fide.y)) == ((2.0,), (5.0,))
    assert "A08" in spoof.hovertext[1]


@pytest.mark.parametrize("name", list(_figures()))
def test_figures_are_valid_json_with_axes_hover_and_no_background_of_their_own(name: str) -> None:
    figure = _figures()[name]
    layout = json.loads(plotly.io.to_json(figure))["layout"]
    assert "paper_bgcolor" not in layout  # the theme's: the picture that is downloaded can be read anywhere
    assert all(trace.hoverinfo == "skip" or trace.hovertemplate for trace in figure.data)


@pytest.mark.parametrize("name", list(_figures()))
def test_hostile_names_stay_text(name: str) -> None:
    texts = _texts(json.loads(plotly.io.to_json(_figures()[name])))
    assert not any("<b>x</b>" in text for text in texts)
    if name not in ("confusion",):  # the name of a matrix stands outside of the figure
        assert any("&lt;b&gt;x&lt;/b&gt;" in text for text in texts)
        assert not any("%{y}" in text for text in texts if "&lt;b&gt;" in text)


# Numbers ---------------------------------------------------------------------------------------------------------


def _frames() -> list[pd.DataFrame]:
    frames = [confusion_frame([MATRIX]), verdict_frame(VERDICTS), histogram_frame(HISTOGRAM), det_frame([DET])]
    return [*frames, reliability_frame(_reliability()), scatter_frame(SCATTER), _comparison().to_frame(), _table().to_frame()]


@pytest.mark.parametrize("number", range(8))
def test_frames_survive_csv(number: int) -> None:
    frame = _frames()[number]
    read = pd.read_csv(io.BytesIO(csv_of_frame(frame)))
    assert list(read.columns) == list(map(str, frame.columns))
    assert len(read) == len(frame) > 0


def test_frames_hold_what_is_drawn() -> None:
    assert confusion_frame([MATRIX]).iloc[0].to_dict() | {"system": ""} == {
        "system": "",
        "threshold": 0.5,
        "true_spoof": 90,
        "missed": 10,
        "false_alarm": 5,
        "true_bona_fide": 15,
        "not_scored": 2,
        "spoof_share_right": 0.9,
        "bona_fide_share_right": 0.75,
        "accuracy": 105 / 120,
        "balanced_accuracy": 0.825,
    }
    assert list(verdict_frame(VERDICTS)["num_trials"]) == [10, 10]
    assert list(det_frame([DET])["point"]) == ["curve"] * 4 + ["EER"]
    assert list(itertools.chain(scatter_frame(SCATTER)["one"])) == [1.0, 2.0, 3.0]


def test_csv_runs_no_formula() -> None:
    text = csv_of_frame(pd.DataFrame({"=name": ["=1+1", "plain"], "value": [-1.5, 2.0]})).decode()
    assert text == "'=name,value\r\n'=1+1,-1.5\r\nplain,2.0\r\n"
