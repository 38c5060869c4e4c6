"""Figures of stress tests and shortcut audits: what is drawn of which record, marks beside colours, hostile names."""

from __future__ import annotations

import pytest
from stress_records import EVIL, NAMES, cell, effects, shortcut_report, stress_table, survival_card

from core.calibration import Thresholds
from core.figure_style import SCALE
from core.shortcuts.figures import intervention_figure, probe_figure
from core.stress.conditions import CLEAN
from core.stress.records import POOLED
from core.stress.stress_figures import (
    FLIPS,
    is_change,
    share_figure,
    stress_heat_figure,
    stress_interval_figure,
    stress_share,
    stress_words,
)
from core.stress.survival_figures import survival_figure, survival_frame

INERT = "&lt;b&gt;x&lt;/b&gt; % {y}"


def test_cells_as_they_are_written() -> None:
    raised = cell("phone_gsm", "A07", 0.35, 0.25)
    assert stress_words(raised, "eer") == "35.0 % (33.0 to 37.0)"
    assert stress_words(raised, "change") == "+25.0 (+23.0 to +27.0)"
    assert stress_words(cell("clean", "A07", 0.1), "change") == "–"
    assert stress_words(cell("phone_gsm", "A07", None), "eer") == "– All were refused."
    assert is_change(raised)
    assert not is_change(cell("trim_silence", "A07", 0.11, 0.01))
    assert not is_change(cell("clean", "A07", 0.1))


def test_colours_are_neutral_without_a_change_and_end_at_twenty_points() -> None:
    assert stress_share(cell("x", "A07", 0.1, 0.0), "change") == 0.5
    assert stress_share(cell("x", "A07", 0.4, 0.3), "change") == 1.0
    assert stress_share(cell("x", "A07", 0.05, -0.1), "change") == pytest.approx(0.25)
    assert stress_share(cell("x", "A07", 0.5), "eer") == 1.0
    assert stress_share(cell("x", "A07", None), "eer") is None


def test_heat_map_has_a_row_per_condition_with_figures_differences_and_arrows() -> None:
    table = stress_table()
    figure = stress_heat_figure(table, shown="eer", conditions=table.conditions, attacks=table.attacks)
    heat, with_value, without = figure.data
    assert len(heat.z) == 5
    assert [len(row) for row in heat.z] == [3] * 5
    assert heat.colorscale[0][1] == SCALE[0][1]
    words = dict(zip(zip(with_value.x, with_value.y), with_value.text))
    assert words[0, 0] == "<b>10.0</b>"
    assert words[0, 1] == "<b>11.0</b>  +1.0"
    assert words[1, 3] == "<b>5.0</b>  -5.0 ▼"
    assert words[0, 4] == "<b>35.0</b>  +25.0 ▲"
    assert list(without.text) == ["–"]
    assert "All were refused." in without.hovertext[0]
    assert figure.layout.xaxis.ticktext[0] == "All spoofs"
    assert "&lt;b&gt;" in figure.layout.xaxis.ticktext[2]
    assert figure.layout.yaxis.ticktext[0] == CLEAN.title
    families = [condition.family for condition in table.conditions]
    assert families == ["silence", "silence", "gain", "gain", "phone"]
    assert [shape.y0 for shape in figure.layout.shapes] == [0.5, 1.5, 3.5]  # clean | silence | gain | phone
    assert INERT in without.hovertext[0]


def test_intervals_of_one_attack_show_what_changed() -> None:
    table = stress_table()
    figure = stress_interval_figure(table, "A07", conditions=table.conditions[1:])
    more, fewer, same = figure.data
    assert list(more.x) == pytest.approx([35.0])
    assert more.marker.color == FLIPS
    assert list(more.error_x.array) == pytest.approx([2.0])
    assert list(fewer.y) == [2]
    assert list(same.y) == [0, 1]
    (band, line) = [shape for shape in figure.layout.shapes if shape.yref == "y domain"]
    assert (band.x0, band.x1) == pytest.approx((8.0, 12.0))
    assert line.x0 == 10.0
    assert not stress_interval_figure(table, EVIL, conditions=table.conditions[4:]).data[0].x


def test_shares_of_verdicts_that_stay() -> None:
    table = stress_table()
    figure = share_figure([share for share in table.shares if share.label == "all"], table.conditions[1:])
    (points,) = figure.data
    assert list(points.x) == [75.0] * 4
    assert list(points.error_x.arrayminus) == pytest.approx([15.0] * 4)
    assert "5 turn over" in points.hovertext[0]


def test_a_card_is_drawn_from_the_clean_score_to_each_condition() -> None:
    card = survival_card()
    figure = survival_figure(card, Thresholds(lower=-1.0, upper=1.0), score_words="Spoof score (nats)")
    kept_lines, kept, flip_lines, flipped, refused = figure.data
    assert list(kept_lines.x) == [3.0, 2.5, None, 3.0, 3.5, None]
    assert list(kept.y) == [0, 1]
    assert list(flip_lines.y) == [3, 3, None]
    assert list(flipped.marker.symbol) == ["diamond-open"]
    assert flipped.marker.color == FLIPS
    assert list(refused.y) == [2]
    assert INERT in refused.hovertext[0]
    assert {shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1} == {-1.0, 1.0, 3.0}
    uncalibrated = survival_figure(card, None, score_words="Spoof score (not calibrated)")
    assert {shape.x0 for shape in uncalibrated.layout.shapes if shape.x0 == shape.x1} == {3.0}
    assert "thresholds" not in uncalibrated.layout.xaxis.title.text
    frame = survival_frame(card)
    assert list(frame["condition"]) == ["clean", *NAMES]
    assert list(frame["survives"]) == [True, True, True, False, False]


def test_probes_stand_beside_chance() -> None:
    figure = probe_figure(shortcut_report())
    leaks, clean = figure.data
    assert list(leaks.x) == [20.0]
    assert leaks.marker.symbol == "diamond"
    assert list(clean.y) == [1]
    assert list(leaks.error_x.array) == pytest.approx([5.0])
    assert any(shape.x0 == 50 for shape in figure.layout.shapes)


def test_interventions_are_full_where_they_matter() -> None:
    figure = intervention_figure(effects(), score_words="Spoof score (nats)")
    bona_fide, spoof = figure.data
    assert list(bona_fide.marker.symbol) == ["circle"]
    assert list(spoof.marker.symbol) == ["diamond-open"]
    assert bona_fide.y[0] < spoof.y[0]
    assert list(bona_fide.error_x.array) == pytest.approx([0.3])
    assert list(bona_fide.error_x.arrayminus) == pytest.approx([0.2])
    assert len(figure.layout.yaxis.ticktext) == 1
    assert "10.0 % of the verdicts" in bona_fide.hovertext[0]


def test_the_table_of_all_spoofs_is_named() -> None:
    frame = stress_table().to_frame()
    assert len(frame) == 15
    assert set(frame.loc[frame["attack"] == "all spoofs", "condition"]) == {"clean", *NAMES}
    assert POOLED == ""
