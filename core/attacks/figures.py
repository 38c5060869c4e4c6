"""Plotly figures of the Attack lab: what detectors say of sources and spoofs, and a spoof drawn beside its source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.attacks.lab import ROOM, SOURCE, LabRow, LabScale, LabVerdict
from core.figure_style import SYMBOLS, colours_of, finished, text_of, wrapped
from core.figures import spectrogram_trace
from core.palette import AMBER
from core.preview import preview_samples
from core.records import Verdict
from core.runs.figures import run_colour

_ROW_PX = 34
_FILL = {Verdict.SPOOF: "", Verdict.INCONCLUSIVE: "-open-dot", Verdict.BONA_FIDE: "-open"}
"""How a verdict changes a symbol: full for spoof, empty for bona fide, with a dot for neither."""
_BAND = "rgba(140,140,140,0.18)"


def lab_score_figure(verdicts: Sequence[LabVerdict], rows: Sequence[LabRow], scales: Sequence[LabScale]) -> go.Figure:
    """A point per recording and detector: a row per attack, scores to the right are likelier spoof.

    A colour and a shape per detector; full where it says spoof, empty where it says bona fide. The inconclusive band is drawn
    where there is one detector only, since each has its own.

    Args:
        verdicts: of the detectors of `scales`; refusals are not drawn.
        rows: from the top.
        scales: the detectors; all of one kind of scores.
    """
    figure, num = go.Figure(), len(scales)
    places = {row.attack: i for i, row in enumerate(rows)}
    for j, scale in enumerate(scales):
        shown = [v for v in verdicts if v.detector == scale.detector and v.score is not None and v.attack in places]
        symbol = SYMBOLS[j % len(SYMBOLS)]
        figure.add_scatter(
            x=[verdict.score for verdict in shown],
            y=[places[verdict.attack] + 0.64 * ((j + 0.5) / num - 0.5) for verdict in shown],
            mode="markers",
            marker={
                "color": run_colour(j),
                "symbol": [symbol + _FILL[verdict.verdict] for verdict in shown],
                "size": 10,
                "line": {"width": 1.5, "color": run_colour(j)},
            },
            name=text_of(scale.detector),
            hovertext=[_hover(verdict, rows[places[verdict.attack]].title) for verdict in shown],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    if num == 1 and (thresholds := scales[0].thresholds) is not None:
        _add_band(figure, thresholds.lower, thresholds.upper)
    num_real = sum(not row.is_spoof for row in rows)
    if 0 < num_real < len(rows):
        figure.add_hline(y=num_real - 0.5, line={"color": "grey", "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=f"{scales[0].score_words}: likelier spoof to the right", zeroline=False)
    titles = [wrapped(row.title, num_chars=22) for row in rows]
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=titles, range=[len(rows) - 0.5, -0.5], zeroline=False)
    return finished(figure, height=120 + max(_ROW_PX, 14 * num) * len(rows), has_legend=True)


def lab_colours(share_right: float | None) -> tuple[str, str] | None:
    """Background and text colour of a cell: blue where all were called right, orange where none was."""
    return None if share_right is None else colours_of(1.0 - share_right)


def pair_figure(
    source: np.ndarray, spoof: np.ndarray, *, spoof_title: str, spans: Sequence[tuple[float, float]], is_partial: bool
) -> go.Figure:
    """Spectrograms of a source and of what was made of it, one above the other on one time axis.

    Args:
        source: `[time]` at 16 kHz.
        spoof: `[time]` at 16 kHz; speech made of text has its own length.
        spoof_title: what was done.
        spans: spoofed stretches in s, framed where they are not the whole.
        is_partial: whether the spoof is a part of the recording.
    """
    titles = ("Source", wrapped(spoof_title, num_chars=60))
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.14, subplot_titles=titles)
    for row, samples in enumerate((source, spoof), start=1):
        preview = preview_samples(np.ascontiguousarray(samples, dtype=np.float32))
        figure.add_trace(spectrogram_trace(preview, colorbar={}, showscale=row == 1), row=row, col=1)
        figure.update_yaxes(title_text="kHz", row=row, col=1)
    for start_s, end_s in spans if is_partial else ():
        figure.add_vrect(x0=start_s, x1=end_s, line={"color": AMBER, "width": 2.5}, row=2, col=1)
    figure.update_annotations(font_size=13, x=0, xanchor="left")
    figure.update_xaxes(title_text="Time (s)", row=2, col=1)
    return finished(figure, height=420, has_legend=False)


def lab_words(verdicts: Sequence[LabVerdict]) -> str:
    """For those who cannot see the figure: how often spoofs are called spoof."""
    spoofs = [verdict for verdict in verdicts if verdict.attack not in (SOURCE, ROOM)]
    found = sum(verdict.verdict is Verdict.SPOOF for verdict in spoofs)
    return f"Scores of detectors for each recording and each spoof made of it; {found} of {len(spoofs)} spoofs are called spoof"


def _add_band(figure: go.Figure, lower: float, upper: float) -> None:
    if lower < upper:
        figure.add_vrect(x0=lower, x1=upper, fillcolor=_BAND, line_width=0, layer="below")
    for value in {lower, upper}:
        figure.add_vline(x=value, line={"color": "grey", "width": 1, "dash": "dash"})


def _hover(verdict: LabVerdict, title: str) -> str:
    lines = (
        f"<b>{text_of(title)}</b>",
        text_of(verdict.source),
        f"{text_of(verdict.detector)}: {verdict.score:+.2f}, {verdict.verdict}",
    )
    return "<br>".join(lines)
