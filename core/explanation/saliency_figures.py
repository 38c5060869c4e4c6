"""Plotly figures of what a detector looked at: the recording with the map on one time axis, and bars of frequency bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.calibration import Thresholds
from core.errors import CoreError
from core.explanation.band_importance import BandImportance
from core.explanation.excerpts import Excerpt
from core.explanation.records import Explanation, TimeFrequencyBox
from core.figure_style import finished
from core.figures import add_segments, add_waveform
from core.palette import DEEP_BLUE, GREY, MARK, ORANGE, SKY
from core.records import SegmentScore

BOX_AXIS = "y3"
"""The axis of the spectrogram, on which a box can be drawn, in every figure of a recording."""
SOUND_COLOUR, PAUSE_COLOUR = SKY, "rgba(140,140,140,0.35)"
_SALIENCY_SCALE = (
    (0.0, "rgba(255,214,10,0)"),
    (0.25, "rgba(255,200,0,0.12)"),
    (0.5, "rgba(255,160,0,0.45)"),
    (0.75, "rgba(245,90,0,0.8)"),
    (1.0, "rgba(214,0,40,1)"),
)
"""From nothing over yellow and orange to red on a grey spectrogram, which shows through where the map is weak."""
_GREYED_SCALE = ((0.0, "rgba(128,128,128,0)"), (0.5, "rgba(128,128,128,0.5)"), (1.0, "rgba(128,128,128,0.9)"))
_LEVEL_SCALE = "Greys"
_MAX_COLUMNS = 1_000
_FULL_COLOUR_QUANTILE = 0.99
_GRID = (64, 32)
"""Columns and rows of the invisible points that make a box on the spectrogram selectable: a heat map alone is not."""


def evidence_figure(
    excerpt: Excerpt,
    explanation: Explanation,
    *,
    thresholds: Thresholds | None,
    score_words: str = "Spoof score (nats)",
    opacity: float = 0.7,
    is_trusted: bool = True,
    box: TimeFrequencyBox | None = None,
) -> go.Figure:
    """Waveform, sound and pauses, spectrogram, map and segment scores of an excerpt, on one time axis.

    The map lies over the spectrogram; of detectors that are shown no frequencies it has a row of its own.

    Args:
        excerpt: what was heard.
        explanation: the map of the excerpt.
        thresholds: of the detector; None where it has none.
        score_words: what its scores are called, with their unit.
        opacity: of the map, 0 to 1.
        is_trusted: False draws it in grey and says why.
        box: drawn as a frame; its times count from the excerpt's beginning, as the map's do.
    """
    has_own_row = not explanation.has_frequencies
    heights = [0.15, 0.03, 0.35, 0.27, 0.2] if has_own_row else [0.15, 0.03, 0.59, 0.23]
    last = len(heights)
    figure = make_subplots(rows=last, cols=1, shared_xaxes=True, vertical_spacing=0.025, row_heights=heights)
    offset_s = excerpt.start_s
    add_waveform(figure, excerpt.preview, offset_s=offset_s)
    _add_strip(figure, excerpt)
    _add_spectrogram(figure, excerpt)
    map_row = 4 if has_own_row else 3
    if explanation.row_label.startswith("Amplitude"):
        _add_outline(figure, excerpt, row=map_row)
    _add_map(figure, explanation, offset_s=offset_s, opacity=opacity, is_trusted=is_trusted, row=map_row)
    _add_grid(figure, excerpt)
    add_segments(figure, _moved(explanation.segments, offset_s), thresholds, row=last)
    if box is not None:
        _add_box(figure, box, offset_s)
    figure.update_xaxes(range=[excerpt.start_s, excerpt.end_s])
    figure.update_xaxes(title_text="Time (s)", row=last, col=1)
    figure.update_yaxes(title_text="Amplitude", zeroline=False, row=1, col=1)
    figure.update_yaxes(visible=False, range=[0, 1], fixedrange=True, row=2, col=1)
    figure.update_yaxes(title_text="Frequency (kHz)", range=[0, 8], row=3, col=1)
    if has_own_row:
        figure.update_yaxes(title_text=_wrapped(explanation.row_label), row=4, col=1)
    figure.update_yaxes(title_text=_wrapped(score_words), row=last, col=1)
    if not is_trusted:
        _add_warning(figure, row=map_row)
    finished(figure, height=720 if has_own_row else 640)
    figure.update_layout(dragmode="select", legend_traceorder="normal")
    return figure


def band_figure(importances: Mapping[str, Sequence[BandImportance]], *, row_label: str) -> go.Figure:
    """Bars of how the saliency of one map or more spreads over bands, the lowest at the bottom, beside an even spread.

    Args:
        importances: name of a map -> its bands, the same for all.
        row_label: what the bands are of, with its unit.
    """
    figure = go.Figure()
    colours = (DEEP_BLUE, ORANGE)
    for (name, bands), colour in zip(importances.items(), colours):
        figure.add_bar(
            y=[band.title for band in bands],
            x=[100 * band.share for band in bands],
            name=name,
            orientation="h",
            marker_color=colour,
            hovertemplate="%{y}: %{x:.1f} % of the saliency<extra></extra>",
        )
    first = next(iter(importances.values()))
    figure.add_scatter(
        y=[band.title for band in first],
        x=[100 * band.even_share for band in first],
        name="if it were spread evenly",
        mode="markers",
        marker={"symbol": "line-ns", "size": 16, "line": {"width": 2, "color": GREY}},
        hovertemplate="%{y}: %{x:.1f} % if spread evenly<extra></extra>",
    )
    figure.update_xaxes(title_text="Share of the saliency (%)", rangemode="tozero")
    figure.update_yaxes(title_text=row_label.partition(" (")[0], automargin=True)
    return finished(figure, height=140 + 26 * len(first) * len(importances))


def drawn_box(boxes: Sequence[Mapping], excerpt: Excerpt) -> TimeFrequencyBox | None:
    """The last box that was dragged over the spectrogram, within the excerpt; None where none was.

    Args:
        boxes: as Plotly reports them: `yref`, and two corners `x` in s of the recording and `y` in kHz.
        excerpt: on which it was drawn.

    Raises:
        CoreError: it has no width or no height.
    """
    corners = [box for box in boxes if box.get("yref") == BOX_AXIS]
    if not corners:
        return None
    start_s, end_s = np.clip(sorted(corners[-1]["x"]), excerpt.start_s, excerpt.end_s) - excerpt.start_s
    low_hz, high_hz = np.clip(sorted(corners[-1]["y"]), 0, 8) * 1_000
    if start_s >= end_s or low_hz >= high_hz:
        raise CoreError("The box lies outside the spectrogram or has no extent; drag a larger one over the spectrogram.")
    return TimeFrequencyBox(start_s=float(start_s), end_s=float(end_s), low_hz=float(low_hz), high_hz=float(high_hz))


def _add_strip(figure: go.Figure, excerpt: Excerpt) -> None:
    """Sound and pauses as a strip of two colours, one trace each."""
    for is_active, name, colour in ((True, "sound", SOUND_COLOUR), (False, "pause", PAUSE_COLOUR)):
        spans = [span for span in excerpt.spans if span.is_active is is_active]
        figure.add_trace(
            go.Bar(
                x=[excerpt.start_s + (span.start_s + span.end_s) / 2 for span in spans],
                y=[1.0] * len(spans),
                width=[span.end_s - span.start_s for span in spans],
                customdata=[(excerpt.start_s + span.start_s, excerpt.start_s + span.end_s) for span in spans],
                marker={"color": colour, "line": {"width": 0}},
                name=name,
                hovertemplate="%{customdata[0]:.2f} to %{customdata[1]:.2f} s: " + name + "<extra></extra>",
            ),
            row=2,
            col=1,
        )


def _add_spectrogram(figure: go.Figure, excerpt: Excerpt) -> None:
    preview = excerpt.preview
    figure.add_trace(
        go.Heatmap(
            x=excerpt.start_s + preview.time_s + _half_step(preview.time_s),
            y=preview.frequency_hz / 1_000,
            z=preview.level_db,
            zmin=-80,
            zmax=0,
            colorscale=_LEVEL_SCALE,
            reversescale=True,
            colorbar=_colour_bar("dB", y=0.34, tickvals=[-80, -60, -40, -20, 0]),
            hovertemplate="%{x:.2f} s, %{y:.2f} kHz: %{z} dB<extra></extra>",
        ),
        row=3,
        col=1,
    )


def _add_map(figure: go.Figure, explanation: Explanation, *, offset_s: float, opacity: float, is_trusted: bool, row: int) -> None:
    time_s, saliency = _thinned(explanation.time_s, explanation.saliency)
    # In per mille, as small whole numbers. Integrated gradients have a few cells far above all others: full colour from the
    # strongest hundredth on, else nothing would be seen; a point of the mouse tells the value.
    permille = np.round(1_000 * saliency).astype(np.uint16)
    full = max(float(np.quantile(permille, _FULL_COLOUR_QUANTILE)), 1.0)
    is_hz = explanation.has_frequencies
    unit = "%{y:.2f} kHz" if is_hz else "%{y:.3~g}"
    colour_bar = _colour_bar("map, %", y=0.66, tickvals=[0, full / 2, full])
    colour_bar["ticktext"] = ["0", f"{full / 20:.3g}", f"{'' if full >= permille.max() else '≥ '}{full / 10:.3g}"]
    figure.add_trace(
        go.Heatmap(
            x=offset_s + time_s,
            y=explanation.rows / 1_000 if is_hz else explanation.rows,
            z=permille,
            zmin=0,
            zmax=full,
            opacity=opacity,
            colorscale=_SALIENCY_SCALE if is_trusted else _GREYED_SCALE,
            colorbar=colour_bar,
            hovertemplate="%{x:.2f} s, " + unit + ": %{z} ‰ of the map's peak<extra></extra>",
        ),
        row=row,
        col=1,
    )


def _add_outline(figure: go.Figure, excerpt: Excerpt, *, row: int) -> None:
    """The waveform again, scaled to its peak, under a map whose rows are amplitudes."""
    preview = excerpt.preview
    peak = max(float(np.abs([preview.low, preview.high]).max()), 1e-9)
    style = {"mode": "lines", "line": {"width": 0.5, "color": GREY}, "showlegend": False, "hoverinfo": "skip"}
    x = excerpt.start_s + preview.time_s + _half_step(preview.time_s)
    figure.add_trace(go.Scatter(x=x, y=preview.low / peak, **style), row=row, col=1)
    figure.add_trace(go.Scatter(x=x, y=preview.high / peak, fill="tonexty", **style), row=row, col=1)


def _add_grid(figure: go.Figure, excerpt: Excerpt) -> None:
    num_columns, num_rows = _GRID
    x, y = np.meshgrid(np.linspace(excerpt.start_s, excerpt.end_s, num_columns), np.linspace(0, 8, num_rows))
    unseen = {"marker": {"opacity": 0}}
    figure.add_trace(
        go.Scatter(
            x=x.ravel().astype(np.float32),
            y=y.ravel().astype(np.float32),
            mode="markers",
            marker={"opacity": 0, "size": 1},
            selected=unseen,
            unselected=unseen,
            hoverinfo="skip",
            showlegend=False,
        ),
        row=3,
        col=1,
    )


def _add_box(figure: go.Figure, box: TimeFrequencyBox, offset_s: float) -> None:
    figure.add_shape(
        type="rect",
        x0=offset_s + box.start_s,
        x1=offset_s + box.end_s,
        y0=box.low_hz / 1_000,
        y1=box.high_hz / 1_000,
        line={"color": MARK, "width": 2.5},
        row=3,
        col=1,
    )


def _add_warning(figure: go.Figure, *, row: int) -> None:
    figure.add_annotation(
        text="no evidence: fails its test",
        x=0.5,
        y=0.97,
        xref=f"x{row} domain",
        yref=f"y{row} domain",
        yanchor="top",
        showarrow=False,
        bgcolor="rgba(60,60,60,0.85)",
        font={"color": "#FFFFFF", "size": 13},
    )


def _colour_bar(title: str, *, y: float, tickvals: Sequence[float]) -> dict:
    return {
        "title": {"text": title, "side": "top", "font": {"size": 11}},
        "len": 0.3,
        "y": y,
        "thickness": 10,
        "tickvals": list(tickvals),
    }


def _moved(segments: Sequence[SegmentScore], offset_s: float) -> list[SegmentScore]:
    return [SegmentScore(start_s=s.start_s + offset_s, end_s=s.end_s + offset_s, spoof_score=s.spoof_score) for s in segments]


def _thinned(time_s: np.ndarray, saliency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_MAX_COLUMNS` columns: the highest of each so many, so that no peak is lost."""
    num = -(-len(time_s) // _MAX_COLUMNS)
    if num <= 1:
        return time_s, saliency
    firsts = np.arange(0, len(time_s), num)
    widths = np.diff([*firsts, len(time_s)])
    return np.add.reduceat(time_s, firsts) / widths, np.maximum.reduceat(saliency, firsts, axis=1)


def _half_step(time_s: np.ndarray) -> float:
    return float(time_s[1] - time_s[0]) / 2 if len(time_s) > 1 else 0.0


def _wrapped(label: str) -> str:
    return label.replace(" (", "<br>(", 1)
