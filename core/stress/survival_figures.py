"""One recording under all conditions as a Plotly figure and a table: how far its score moves, where its verdict changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from core.calibration import Thresholds
from core.figure_style import finished, text_of, wrapped
from core.records import Verdict
from core.stress.conditions import CLEAN, FAMILY_TITLES
from core.stress.records import StressedScore, SurvivalCard
from core.stress.stress_figures import BAND, FLIPS, REFUSED, SURVIVES, label_conditions

_FILL = {Verdict.SPOOF: "", Verdict.INCONCLUSIVE: "-open-dot", Verdict.BONA_FIDE: "-open"}
"""How a verdict changes a symbol: full for spoof, empty for bona fide, with a dot for neither."""


def survival_figure(card: SurvivalCard, thresholds: Thresholds | None, *, score_words: str) -> go.Figure:
    """A row per condition: the score moves from the dashed line, where it is clean, to the point.

    Args:
        card: one recording under all conditions.
        thresholds: of the detector; the band between is inconclusive.
        score_words: what the scores are called, with their unit.
    """
    figure = go.Figure()
    conditions = [row.condition for row in card.rows]
    if thresholds is not None:
        if thresholds.lower < thresholds.upper:
            figure.add_vrect(x0=thresholds.lower, x1=thresholds.upper, fillcolor=BAND, line_width=0, layer="below")
        for value in sorted({thresholds.lower, thresholds.upper}):
            figure.add_vline(x=value, line={"color": "grey", "width": 1})
    figure.add_vline(x=card.score, line={"color": SURVIVES, "width": 1.5, "dash": "dash"})
    numbered = list(enumerate(card.rows))
    for name, colour, belongs in (
        ("verdict stays", SURVIVES, lambda row: row.survives and row.score is not None),
        ("verdict changes", FLIPS, lambda row: not row.survives and row.score is not None),
    ):
        those = [(i, row) for i, row in numbered if belongs(row)]
        _add_moves(figure, those, card.score, name=name, colour=colour)
    refused = [(i, row) for i, row in numbered if row.score is None]
    if refused:
        figure.add_scatter(
            x=[card.score] * len(refused),
            y=[i for i, _ in refused],
            mode="markers",
            marker={"symbol": "x", "size": 9, "color": REFUSED},
            name="refused",
            hovertext=[f"<b>{text_of(row.condition.title)}</b><br>refused: {text_of(row.reason)}" for _, row in refused],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    words = f"{score_words}: likelier spoof to the right<br>dashed: as it is; grey: thresholds"
    figure.update_xaxes(title_text=words if thresholds else words.partition(";")[0], zeroline=False)
    label_conditions(figure, conditions)
    return finished(figure, height=150 + 22 * len(conditions))


def survival_frame(card: SurvivalCard) -> pd.DataFrame:
    """A line per condition, for CSV; the first is the recording as it is."""
    rows = [
        {
            "condition": row.condition.name,
            "condition_title": row.condition.title,
            "family": row.condition.family,
            "spoof_score": row.score,
            "change": row.change,
            "verdict": str(row.verdict),
            "survives": row.survives,
            "reason": row.reason,
        }
        for row in card.rows
    ]
    clean = {"condition": CLEAN.name, "condition_title": CLEAN.title, "family": "", "spoof_score": card.score, "change": 0.0}
    return pd.DataFrame([clean | {"verdict": str(card.verdict), "survives": True, "reason": ""}, *rows])


def _add_moves(figure: go.Figure, rows: Sequence[tuple[int, StressedScore]], clean: float, *, name: str, colour: str) -> None:
    figure.add_scatter(
        x=list(itertools.chain.from_iterable((clean, row.score, None) for _, row in rows)),
        y=list(itertools.chain.from_iterable((i, i, None) for i, _ in rows)),
        mode="lines",
        line={"color": colour, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    symbol = "circle" if colour == SURVIVES else "diamond"
    figure.add_scatter(
        x=[row.score for _, row in rows],
        y=[i for i, _ in rows],
        mode="markers",
        marker={
            "symbol": [symbol + _FILL[row.verdict] for _, row in rows],
            "size": 10,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        name=name,
        hovertext=[_move_hover(row) for _, row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _move_hover(row: StressedScore) -> str:
    change = "" if row.change is None else f" ({row.change:+.2f})"
    lines = (
        f"<b>{text_of(row.condition.title)}</b>, {FAMILY_TITLES[row.condition.family].lower()}",
        wrapped(row.condition.summary, num_chars=60),
        f"{row.score:+.2f}{change}: {row.verdict}",
    )
    return "<br>".join(lines)
