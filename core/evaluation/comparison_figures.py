"""Plotly figures of two systems against each other: differences per group with intervals, and their scores."""

from __future__ import annotations

import plotly.graph_objects as go

from core.evaluation.comparison_records import ComparisonRow, ScoreScatter, SystemComparison
from core.evaluation.curve_figures import CLASS_COLOURS
from core.figure_style import SYMBOLS, finished, text_of
from core.palette import BLUE, GREY, ORANGE

FIRST_BETTER, SECOND_BETTER, NOT_SHOWN = BLUE, ORANGE, GREY
"""Blue where the first system is better, vermilion where the second is, grey where chance may have done it."""


def difference_figure(comparison: SystemComparison) -> go.Figure:
    """EER of the first minus that of the second in each row, with its 95 % interval; filled where it is more than chance."""
    figure = go.Figure()
    first, second = text_of(comparison.first), text_of(comparison.second)
    rows = [row for row in comparison.rows if row.difference is not None]
    kinds = (
        (f"{first} better", FIRST_BETTER, "circle", lambda row: row.is_significant and row.difference.value < 0),
        (f"{second} better", SECOND_BETTER, "diamond", lambda row: row.is_significant and row.difference.value >= 0),
        ("no difference shown", NOT_SHOWN, "circle-open", lambda row: not row.is_significant),
    )
    for name, colour, symbol, belongs in kinds:
        shown = [(i, row) for i, row in enumerate(rows) if belongs(row)]
        values = [100 * row.difference.value for _, row in shown]
        figure.add_scatter(
            x=values,
            y=[i for i, _ in shown],
            error_x={
                "array": [100 * row.difference.high - value for value, (_, row) in zip(values, shown)],
                "arrayminus": [value - 100 * row.difference.low for value, (_, row) in zip(values, shown)],
                "color": colour,
                "thickness": 2,
                "width": 0,
            },
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2, "color": colour}},
            name=name,
            hovertext=[_words(comparison, row) for _, row in shown],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": "grey", "width": 1})
    figure.update_xaxes(title_text=f"EER of {first} minus EER of {second} (points)<br>left of 0: {first} is better", zeroline=False)
    titles = [text_of(row.title) for row in rows]
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=titles, range=[len(rows) - 0.5, -0.5], zeroline=False)
    return finished(figure, height=150 + 26 * len(rows))


def scatter_figure(scatter: ScoreScatter, thresholds: dict[str, float]) -> go.Figure:
    """Scores of the first system against those of the second, a point per recording; lines at the thresholds."""
    figure = go.Figure()
    for name, symbol in (("spoof", SYMBOLS[0]), ("bona fide", SYMBOLS[1])):
        shown = [i for i, label in enumerate(scatter.labels) if label == name]
        figure.add_scattergl(
            x=scatter.first_scores[shown],
            y=scatter.second_scores[shown],
            mode="markers",
            marker={"color": CLASS_COLOURS[name], "symbol": symbol, "size": 6, "opacity": 0.55},
            name=name,
            hovertext=[text_of(f"{scatter.utterances[i]} {scatter.attacks[i] or 'bona fide'}") for i in shown],
            hovertemplate="%{hovertext}<br>%{x:.3f} and %{y:.3f}<extra></extra>",
        )
    line = {"color": "grey", "width": 1, "dash": "dash"}
    figure.add_vline(x=thresholds[scatter.first], line=line)
    figure.add_hline(y=thresholds[scatter.second], line=line)
    figure.update_xaxes(title_text=f"Score of {text_of(scatter.first)}", zeroline=False)
    figure.update_yaxes(title_text=f"Score of {text_of(scatter.second)}", zeroline=False)
    return finished(figure, height=480)


def _words(comparison: SystemComparison, row: ComparisonRow) -> str:
    difference = row.difference
    words = [
        f"<b>{text_of(row.title)}</b> {text_of(row.description)}".strip(),
        f"{text_of(comparison.first)} {100 * row.first:.2f} %, {text_of(comparison.second)} {100 * row.second:.2f} %",
        f"difference {100 * difference.value:+.2f} ({100 * difference.low:+.2f} to {100 * difference.high:+.2f}) points",
        f"p {row.p_adjusted:.3f} after correction, {row.num_trials:,} trials",
    ]
    return "<br>".join(words)
