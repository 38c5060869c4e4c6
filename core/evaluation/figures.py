"""Plotly figures of evaluations: the table per group as a heat map and as intervals, confusion matrices, verdicts per attack.

Colours run from blue (good) to orange (bad), which no common colour blindness confuses; the numbers stand in the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import plotly.graph_objects as go

from core.evaluation.confusion import ConfusionMatrix, VerdictTable
from core.evaluation.records import HIGHER_IS_BETTER, METRIC_TITLES, Cell, GroupTable, Metric, ReferenceColumn
from core.figure_style import SYMBOLS, cell_heat, cell_texts, colours_of, finished, text_of, wrapped
from core.records import Verdict
from core.runs.figures import run_colour

_WORST: dict[Metric, float] = {"accuracy": 1.0, "eer": 0.5, "miss_rate": 1.0, "auc": 0.5}
"""How far from perfect is as bad as chance, or all wrong."""


def metric_words(metric: Metric, value: float | None) -> str:
    """A figure as it is written: per cent, the area under the curve as a number."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4f}" if metric == "auc" else f"{100 * value:.2f} %"


def cell_words(metric: Metric, cell: Cell, *, line_break: str = "  ") -> str:
    """A cell as it is written: value, 95 % interval, number of trials; the reason where there is no value."""
    if cell.value is None:
        return f"– {cell.note}" if cell.note else "–"
    words = metric_words(metric, cell.value)
    if cell.low is not None and cell.high is not None:
        scale, digits = (1, 4) if metric == "auc" else (100, 2)
        words += f"{line_break}({scale * cell.low:.{digits}f} to {scale * cell.high:.{digits}f})"
    return words + (f"{line_break}n {cell.num_trials:,}" if cell.num_trials else "")


def badness(metric: Metric, value: float) -> float:
    """0 for perfect, 1 for as bad as chance or worse; the root spreads out the good end, where systems differ."""
    off = 1.0 - value if HIGHER_IS_BETTER[metric] else value
    return min(1.0, max(0.0, off / _WORST[metric])) ** 0.5


def cell_colours(metric: Metric, cell: Cell) -> tuple[str, str] | None:
    """Background and text colour of a cell; None where it has no value."""
    return None if cell.value is None else colours_of(badness(metric, cell.value))


def with_published(table: GroupTable, references: Sequence[ReferenceColumn]) -> GroupTable:
    """The table with published figures as further columns."""
    cells = tuple(
        (*cells, *(column.cell(row.key) for column in references)) for row, cells in zip(table.rows, table.cells, strict=True)
    )
    return replace(table, systems=(*table.systems, *(column.name for column in references)), cells=cells)


def group_heat_figure(table: GroupTable) -> go.Figure:
    """The table as a picture: a row per group, a column per system, value, interval and count in each cell."""
    rows = [text_of(row.title) for row in table.rows]
    places = [(i, j) for i in range(len(table.rows)) for j in range(len(table.systems))]
    badnesses = [[None if cell.value is None else badness(table.metric, cell.value) for cell in row] for row in table.cells]
    figure = go.Figure(cell_heat(badnesses))
    for has_value in (True, False):
        shown = [place for place in places if (_cell(table, place).value is not None) is has_value]
        texts = [_in_two_lines(table, place) if has_value else "–" for place in shown]
        colours = [colour[1] for place in shown if (colour := cell_colours(table.metric, _cell(table, place)))]
        hovers = [_hover(table, place) for place in shown]
        figure.add_trace(cell_texts(shown, texts, colours=colours, hovers=hovers))
    names = [wrapped(name) for name in table.systems]
    figure.update_xaxes(side="top", tickvals=list(range(len(names))), ticktext=names, showgrid=False, zeroline=False)
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", showgrid=False, zeroline=False)
    return finished(figure, height=90 + 36 * len(rows), has_legend=False)


def group_interval_figure(table: GroupTable) -> go.Figure:
    """Each group's figure as a point with its 95 % interval, a colour and a shape per system."""
    figure, num_systems = go.Figure(), len(table.systems)
    scale = 1.0 if table.metric == "auc" else 100.0
    for j, name in enumerate(table.systems):
        places = [(i, j) for i in range(len(table.rows)) if _cell(table, (i, j)).value is not None]
        cells = [_cell(table, place) for place in places]
        values = [scale * cell.value for cell in cells]
        figure.add_scatter(
            x=values,
            y=[i + (0.6 * (j + 0.5) / num_systems - 0.3) for i, _ in places],
            error_x={
                "array": [0.0 if cell.high is None else scale * cell.high - value for cell, value in zip(cells, values)],
                "arrayminus": [0.0 if cell.low is None else value - scale * cell.low for cell, value in zip(cells, values)],
                "color": run_colour(j),
                "thickness": 1.5,
                "width": 0,
            },
            mode="markers",
            marker={"color": run_colour(j), "symbol": SYMBOLS[j % len(SYMBOLS)], "size": 8},
            name=text_of(name),
            hovertext=[_hover(table, place) for place in places],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    rows = [text_of(row.title) for row in table.rows]
    figure.update_xaxes(title_text=METRIC_TITLES[table.metric] + ("" if table.metric == "auc" else " (%)"))
    if not HIGHER_IS_BETTER[table.metric]:
        figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", zeroline=False)
    return finished(figure, height=110 + max(26, 12 * num_systems) * len(rows))


def confusion_figure(matrix: ConfusionMatrix) -> go.Figure:
    """Two by two: rows are what the recording is, columns what the system says; count and share of the row in each cell."""
    return _matrix_figure(
        rows=("spoof", "bona fide"),
        columns=("spoof", "bona fide"),
        counts=((matrix.true_spoof, matrix.missed), (matrix.false_alarm, matrix.true_bona_fide)),
        is_right=lambda i, j: i == j,
        height=230,
    )


def verdict_figure(table: VerdictTable) -> go.Figure:
    """A row per attack, a column per verdict; count and share of the row in each cell."""
    columns = tuple(str(verdict) for verdict in (Verdict.BONA_FIDE, Verdict.INCONCLUSIVE, Verdict.SPOOF, Verdict.REFUSED))

    def is_right(i: int, j: int) -> bool | None:
        if columns[j] not in (Verdict.BONA_FIDE, Verdict.SPOOF):
            return None
        return (columns[j] == Verdict.SPOOF) is table.rows[i].is_spoof

    figure = _matrix_figure(
        rows=[row.title for row in table.rows],
        columns=columns,
        counts=[(row.num_bona_fide, row.num_inconclusive, row.num_spoof, row.num_refused) for row in table.rows],
        is_right=is_right,
        height=80 + 36 * len(table.rows),
    )
    return figure.update_xaxes(title_text="The verdict")


def _matrix_figure(
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    counts: Sequence[Sequence[int]],
    is_right: Callable[[int, int], bool | None],
    height: int,
) -> go.Figure:
    """Counts and shares of each row: blue where right, orange where wrong, pale where neither."""
    places = [(i, j) for i in range(len(rows)) for j in range(len(columns))]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    signs = {True: -0.5, False: 0.5, None: 0.0}
    z = [[0.5 + signs[is_right(i, j)] * share for j, share in enumerate(row)] for i, row in enumerate(shares)]
    figure = go.Figure(cell_heat(z))
    figure.add_scatter(
        x=[j for _, j in places],
        y=[i for i, _ in places],
        text=[f"<b>{counts[i][j]:,}</b><br>{100 * shares[i][j]:.1f} %" for i, j in places],
        mode="text",
        textfont={"color": [colours_of(z[i][j])[1] for i, j in places]},
        hovertext=[f"{text_of(rows[i])} called {text_of(columns[j])}: {counts[i][j]:,} of {sum(counts[i]):,}" for i, j in places],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(tickvals=list(range(len(columns))), ticktext=[text_of(name) for name in columns], side="top")
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=[text_of(name) for name in rows], autorange="reversed")
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(showgrid=False, zeroline=False)
    return finished(figure, height=height, has_legend=False)


def _cell(table: GroupTable, place: tuple[int, int]) -> Cell:
    return table.cells[place[0]][place[1]]


def _in_two_lines(table: GroupTable, place: tuple[int, int]) -> str:
    """The figure, and below it what is known of it: narrow columns hold it."""
    figure, *others = cell_words(table.metric, _cell(table, place), line_break="\n").split("\n")
    return "<br>".join(filter(None, (f"<b>{text_of(figure)}</b>", text_of(" ".join(others)))))


def _hover(table: GroupTable, place: tuple[int, int]) -> str:
    row, cell = table.rows[place[0]], _cell(table, place)
    heading = f"<b>{text_of(row.title)}</b>, {text_of(table.systems[place[1]])}"
    words = [
        heading,
        text_of(row.description),
        METRIC_TITLES[table.metric] + " " + cell_words(table.metric, cell),
        text_of(cell.note),
    ]
    return "<br>".join(word for word in words if word)
