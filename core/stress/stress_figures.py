"""Plotly figures of stress tests: conditions by attacks as a heat map, one attack with intervals, verdicts that stay.

Blue is good or unchanged, orange bad or changed; what matters is also told by shapes, signs and words.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from core.evaluation.figures import badness, metric_words
from core.figure_style import cell_heat, cell_texts, colours_of, finished, text_of, wrapped
from core.palette import BLUE, GREY, ORANGE
from core.stress.conditions import CLEAN, Condition
from core.stress.records import POOLED, StressCell, StressTable, VerdictShare

Shown = Literal["eer", "change"]
SURVIVES, FLIPS, REFUSED = BLUE, ORANGE, GREY
"""Blue where the verdict stays, vermilion where it does not, grey where there is none (after Okabe and Ito 2002)."""
_FULL_CHANGE = 0.2
"""A rise of the EER by 20 points is drawn in the full colour."""
BAND = "rgba(140,140,140,0.18)"


def attack_title(attack: str) -> str:
    """A column of a stress table, for people."""
    return "All spoofs" if attack == POOLED else attack


def is_change(cell: StressCell) -> bool:
    """Whether the interval of the difference to the clean recordings leaves 0 out."""
    return cell.change_low is not None and cell.change_high is not None and not cell.change_low <= 0.0 <= cell.change_high


def stress_words(cell: StressCell, shown: Shown) -> str:
    """A cell as it is written: its figure with 95 % interval, or the difference to clean in points with its own."""
    if cell.eer is None:
        return f"– {cell.note}".rstrip()
    if shown == "eer":
        interval = "" if cell.low is None or cell.high is None else f" ({100 * cell.low:.1f} to {100 * cell.high:.1f})"
        return f"{100 * cell.eer:.1f} %{interval}"
    if cell.change is None:
        return "–"
    words = f"{100 * cell.change:+.1f}"
    if cell.change_low is None or cell.change_high is None:
        return words
    return f"{words} ({100 * cell.change_low:+.1f} to {100 * cell.change_high:+.1f})"


def stress_share(cell: StressCell, shown: Shown) -> float | None:
    """Where a cell lies on the scale from good (0) to bad (1); None where it has no figure."""
    if cell.eer is None or (shown == "change" and cell.change is None):
        return None
    if shown == "eer":
        return badness("eer", cell.eer)
    return min(1.0, max(0.0, 0.5 + cell.change / (2 * _FULL_CHANGE)))


def stress_heat_figure(table: StressTable, *, shown: Shown, conditions: Sequence[Condition], attacks: Sequence[str]) -> go.Figure:
    """A row per condition, a column per attack: the EER and below it the difference to clean, with a mark where it is no chance.

    Args:
        table: the figures.
        shown: what the colours say.
        conditions: rows, from the top; those of one family stand together.
        attacks: columns.
    """
    places = [(i, j) for i in range(len(conditions)) for j in range(len(attacks))]
    cells = {place: table.cells[conditions[place[0]].name].get(attacks[place[1]]) for place in places}
    shares = {place: None if cell is None else stress_share(cell, shown) for place, cell in cells.items()}
    figure = go.Figure(cell_heat([[shares[i, j] for j in range(len(attacks))] for i in range(len(conditions))]))
    for has_value in (True, False):
        those = [place for place in places if (shares[place] is not None) is has_value]
        texts = [_in_cell(cells[place], shown) for place in those]
        colours = [colours_of(shares[place])[1] for place in those] if has_value else []
        hovers = [_cell_hover(table, conditions[i], attacks[j], cells[i, j]) for i, j in those]
        figure.add_trace(cell_texts(those, texts, colours=colours, hovers=hovers))
    names = [wrapped(attack_title(attack), num_chars=12) for attack in attacks]
    figure.update_xaxes(side="top", tickvals=list(range(len(names))), ticktext=names, showgrid=False, zeroline=False, tickangle=0)
    label_conditions(figure, conditions)
    return finished(figure, height=100 + 30 * len(conditions), has_legend=False)


def stress_interval_figure(table: StressTable, attack: str, *, conditions: Sequence[Condition]) -> go.Figure:
    """One attack's EER under each condition with its 95 % interval, beside the clean one; full where it changed.

    Args:
        table: the figures.
        attack: which column.
        conditions: rows, from the top.
    """
    figure = go.Figure()
    clean = table.cells[CLEAN.name].get(attack)
    if clean is not None and clean.eer is not None:
        if clean.low is not None and clean.high is not None:
            figure.add_vrect(x0=100 * clean.low, x1=100 * clean.high, fillcolor=BAND, line_width=0, layer="below")
        figure.add_vline(x=100 * clean.eer, line={"color": "grey", "width": 1, "dash": "dash"})
    kinds = (
        ("more errors than clean", FLIPS, "circle", lambda cell: is_change(cell) and cell.change > 0),
        ("fewer errors", SURVIVES, "diamond", lambda cell: is_change(cell) and cell.change < 0),
        ("no difference shown", REFUSED, "circle-open", lambda cell: not is_change(cell)),
    )
    cells = [(i, table.cells[condition.name].get(attack)) for i, condition in enumerate(conditions)]
    for name, colour, symbol, belongs in kinds:
        those = [(i, cell) for i, cell in cells if cell is not None and cell.eer is not None and belongs(cell)]
        figure.add_scatter(
            x=[100 * cell.eer for _, cell in those],
            y=[i for i, _ in those],
            error_x=_interval([(cell.eer, cell.low, cell.high) for _, cell in those], colour),
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}},
            name=name,
            hovertext=[_cell_hover(table, conditions[i], attack, cell) for i, cell in those],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    title = f"EER of {text_of(attack_title(attack))} (%)<br>dashed and grey: as it is, with its interval"
    figure.update_xaxes(title_text=title, rangemode="tozero", zeroline=False)
    label_conditions(figure, conditions)
    return finished(figure, height=150 + 24 * len(conditions))


def share_figure(shares: Sequence[VerdictShare], conditions: Sequence[Condition]) -> go.Figure:
    """The share of verdicts that stay under each condition, with 95 % intervals.

    Args:
        shares: of one kind of recordings.
        conditions: rows, from the top.
    """
    by_name = {share.condition: share for share in shares}
    those = [(i, by_name[c.name]) for i, c in enumerate(conditions) if c.name in by_name and by_name[c.name].share is not None]
    figure = go.Figure(
        go.Scatter(
            x=[100 * share.share for _, share in those],
            y=[i for i, _ in those],
            error_x=_interval([(share.share, share.low, share.high) for _, share in those], SURVIVES),
            mode="markers",
            marker={"color": SURVIVES, "size": 9},
            hovertext=[_share_hover(conditions[i], share) for i, share in those],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="Verdicts that stay (%)", range=[0, 102], zeroline=False)
    label_conditions(figure, conditions)
    return finished(figure, height=120 + 22 * len(conditions), has_legend=False)


def label_conditions(figure: go.Figure, conditions: Sequence[Condition]) -> None:
    """Titles of rows down the left, a thin line between families."""
    for i, (above, below) in enumerate(itertools.pairwise(conditions)):
        if (above.family, above.name == CLEAN.name) != (below.family, below.name == CLEAN.name):
            figure.add_hline(y=i + 0.5, line={"color": "rgba(140,140,140,0.6)", "width": 1}, layer="below")
    figure.update_yaxes(
        tickvals=list(range(len(conditions))),
        ticktext=[text_of(condition.title) for condition in conditions],
        range=[len(conditions) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )


def _interval(values: Sequence[tuple[float, float | None, float | None]], colour: str) -> dict:
    return {
        "array": [0.0 if high is None else 100 * (high - value) for value, _, high in values],
        "arrayminus": [0.0 if low is None else 100 * (value - low) for value, low, _ in values],
        "color": colour,
        "thickness": 1.5,
        "width": 0,
    }


def _in_cell(cell: StressCell | None, shown: Shown) -> str:
    """What is asked for in bold, the other figure after it; an arrow where the difference is more than chance."""
    if cell is None or cell.eer is None:
        return "–"
    eer = f"{100 * cell.eer:.1f}"
    if cell.change is None:
        return f"<b>{eer}</b>" if shown == "eer" else eer
    arrow = "" if not is_change(cell) else " ▲" if cell.change > 0 else " ▼"
    change = f"{100 * cell.change:+.1f}"
    return f"<b>{eer}</b>  {change}{arrow}" if shown == "eer" else f"<b>{change}</b>{arrow}"


def _cell_hover(table: StressTable, condition: Condition, attack: str, cell: StressCell | None) -> str:
    lines = [f"<b>{text_of(condition.title)}</b>, {text_of(attack_title(attack))}", wrapped(condition.summary, num_chars=60)]
    if cell is not None and cell.eer is not None:
        lines.append(f"EER {stress_words(cell, 'eer')}")
        if cell.change is not None:
            clean = table.cells[CLEAN.name].get(attack)
            before = "" if clean is None else f", from {metric_words('eer', clean.eer)}"
            lines.append(f"difference to clean {stress_words(cell, 'change')} points{before}")
        lines.append(f"{cell.num_spoof:,} spoofs, {cell.num_bona_fide:,} bona fide")
    if cell is not None and cell.note:
        lines.append(wrapped(cell.note, num_chars=60))
    return "<br>".join(lines)


def _share_hover(condition: Condition, share: VerdictShare) -> str:
    counts = (
        f"{share.num_same:,} stay",
        f"{share.num_opposite:,} turn over",
        f"{share.num_inconclusive:,} inconclusive",
        f"{share.num_refused:,} refused",
    )
    heading = f"<b>{text_of(condition.title)}</b>: {metric_words('accuracy', share.share)} of {share.num:,}"
    return "<br>".join((heading, ", ".join(counts), wrapped(condition.summary, num_chars=60)))
