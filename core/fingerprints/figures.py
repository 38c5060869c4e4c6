"""Plotly figures of fingerprints: two groups over bands, over time and over zones, and all groups as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.figure_style import finished, text_of, wrapped
from core.fingerprints.records import (
    BONA_FIDE,
    NUM_RELATIVE,
    ONSET_EDGES_S,
    ZONES,
    Curve,
    Fingerprint,
    FingerprintComparison,
    FingerprintSet,
    FingerprintSummary,
    Frames,
    TimeAxis,
)
from core.palette import BLUISH_GREEN, DEEP_BLUE, GREY, ORANGE, PAPER, PINK

FIRST, SECOND, REFERENCE = DEEP_BLUE, ORANGE, GREY
_FILLS = {FIRST: "rgba(0,114,178,0.22)", SECOND: "rgba(213,94,0,0.22)", REFERENCE: "rgba(140,140,140,0.18)"}
_MARK = "rgba(204,121,167,0.28)"
"""Behind bands in which two groups differ."""
_LEVELS = "Cividis"
_DIFFERENCES = ((0.0, DEEP_BLUE), (0.5, PAPER), (1.0, ORANGE))
_TICK = PINK
_TOP = {"lenmode": "pixels", "len": 260, "y": 1, "yanchor": "top"}
"""A colour bar that can be seen beside the first rows of a long heat map."""
_EVEN = "times an even spread"


def band_comparison_figure(
    measured: FingerprintSet, comparison: FingerprintComparison, fingerprints: Sequence[Fingerprint]
) -> go.Figure:
    """Mean saliency over bands of two groups and of bona fide speech; below, the difference, with the bands that stand out.

    Args:
        measured: for the bands.
        comparison: of the two.
        fingerprints: all of the grouping: the two and bona fide are drawn.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.62, 0.38])
    centres = _centres(measured)
    for fingerprint, colour in _drawn(fingerprints, comparison.first, comparison.second):
        _add_curve(figure, centres, fingerprint.bands[comparison.frames], text_of(fingerprint.key), colour, row=1)
    name = f"{text_of(comparison.first)} less {text_of(comparison.second)}"
    _add_curve(figure, centres, comparison.difference, name, REFERENCE, row=2, colour_of_line=BLUISH_GREEN)
    scale = _scale(measured.summary)
    for bands in comparison.differing:
        for row in (1, 2):
            figure.add_vrect(bands.low / scale, bands.high / scale, fillcolor=_MARK, line_width=0, layer="below", row=row, col=1)
    figure.add_hline(1, line={"color": REFERENCE, "dash": "dot", "width": 1}, row=1, col=1)
    figure.add_hline(0, line={"color": REFERENCE, "dash": "dot", "width": 1}, row=2, col=1)
    figure.update_yaxes(title_text=f"Saliency ({_EVEN})", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="Difference", zeroline=False, row=2, col=1)
    edges = measured.band_edges / scale
    figure.update_xaxes(range=[edges[0], edges[-1]], zeroline=False)
    figure.update_xaxes(title_text=_band_title(measured.summary), row=2, col=1)
    return finished(figure, height=560)


def time_figure(first: Fingerprint, second: Fingerprint, reference: Fingerprint | None, *, axis: TimeAxis) -> go.Figure:
    """Mean saliency over time, aligned to where the recording begins to sound, and in between to where it ends.

    Args:
        first: drawn in blue.
        second: drawn in vermilion.
        reference: bona fide speech, in grey; None where it is one of the two or has no maps.
        axis: `relative` from the first sound to the last, or `onset`: seconds from the first sound.
    """
    figure = go.Figure()
    for fingerprint, colour in ((reference, REFERENCE), (first, FIRST), (second, SECOND)):
        if fingerprint is not None:
            _add_curve(figure, time_centres(axis), getattr(fingerprint, axis), text_of(fingerprint.key), colour)
    figure.add_hline(1, line={"color": REFERENCE, "dash": "dot", "width": 1})
    title = "Time from the first sound (s)" if axis == "onset" else "From the first sound (0 %) to the last (100 %)"
    figure.update_xaxes(title_text=title, zeroline=axis == "onset")
    figure.update_yaxes(title_text=f"Saliency ({_EVEN})", rangemode="tozero")
    return finished(figure, height=380)


def zone_figure(first: Fingerprint, second: Fingerprint, reference: Fingerprint | None) -> go.Figure:
    """Share of the saliency before the onset, in speech, in pauses and after the end, with the share of the time beside it."""
    figure = go.Figure()
    drawn = [(f, colour) for f, colour in ((first, FIRST), (second, SECOND), (reference, REFERENCE)) if f is not None]
    height = 0.8 / len(drawn)
    for i, (fingerprint, colour) in enumerate(drawn):
        places = np.arange(len(fingerprint.zones)) + height * (i + 0.5) - 0.4
        shares = np.array([[zone.share.value, zone.share.low, zone.share.high] for zone in fingerprint.zones]) * 100
        times = [100 * zone.of_time for zone in fingerprint.zones]
        figure.add_bar(
            y=places,
            x=shares[:, 0],
            width=0.9 * height,
            error_x={
                "array": shares[:, 2] - shares[:, 0],
                "arrayminus": shares[:, 0] - shares[:, 1],
                "symmetric": False,
                "color": REFERENCE,
                "thickness": 1.5,
            },
            name=text_of(fingerprint.key),
            orientation="h",
            marker_color=colour,
            opacity=0.85,
            customdata=[[zone.zone, time] for zone, time in zip(fingerprint.zones, times, strict=True)],
            hovertemplate="%{customdata[0]}: %{x:.1f} % of the saliency, %{customdata[1]:.1f} % of the time"
            "<extra>%{fullData.name}</extra>",
        )
        tick = {"symbol": "line-ns", "size": 240 * height / len(ZONES), "line": {"width": 2.5, "color": _TICK}}
        figure.add_scatter(
            y=places, x=times, mode="markers", marker=tick, name="share of the time", showlegend=i == 0, hoverinfo="skip"
        )
    figure.update_xaxes(title_text="Share of the saliency (%)", rangemode="tozero")
    figure.update_yaxes(tickvals=list(range(len(ZONES))), ticktext=list(ZONES), range=[len(ZONES) - 0.5, -0.5], zeroline=False)
    return finished(figure, height=380)


def heat_figure(
    measured: FingerprintSet, fingerprints: Sequence[Fingerprint], *, frames: Frames, less_bona_fide: bool
) -> go.Figure:
    """All groups over bands: a row each, from the top.

    Args:
        measured: for the bands.
        fingerprints: a row each.
        frames: of which the means are.
        less_bona_fide: draws what a row has more or less than bona fide speech.
    """
    values = heat_values(fingerprints, frames=frames, less_bona_fide=less_bona_fide)
    scale: dict = {"colorscale": _LEVELS}
    if less_bona_fide:
        limit = float(np.nanmax(np.abs(values))) or 1.0
        scale = {"colorscale": _DIFFERENCES, "zmin": -limit, "zmax": limit}
    names = [wrapped(f"{fingerprint.key} ({fingerprint.size.num_recordings})", num_chars=28) for fingerprint in fingerprints]
    title = "more or less than bona fide" if less_bona_fide else _EVEN
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=_centres(measured),
            y=list(range(len(names))),
            colorbar={"title": {"text": title, "side": "right"}, "thickness": 12, **_TOP},
            hovertemplate="%{customdata}<br>%{x:.2f}: %{z:.2f}<extra></extra>",
            customdata=[[name] * values.shape[1] for name in names],
            **scale,
        )
    )
    figure.update_xaxes(title_text=_band_title(measured.summary))
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False)
    row_px = 34 if any("<br>" in name for name in names) else 26
    return finished(figure, height=140 + row_px * len(names), has_legend=False)


def heat_values(fingerprints: Sequence[Fingerprint], *, frames: Frames, less_bona_fide: bool) -> np.ndarray:
    """What the heat map shows, `[group, band]`."""
    values = np.stack([fingerprint.bands[frames].value for fingerprint in fingerprints])
    if less_bona_fide:
        values = values - next(f.bands[frames].value for f in fingerprints if f.key == BONA_FIDE)
    return values


def time_centres(axis: TimeAxis) -> np.ndarray:
    """Middle of each step of a time profile: s from the onset, or % of the way from the first sound to the last."""
    if axis == "onset":
        return (np.array(ONSET_EDGES_S[1:]) + np.array(ONSET_EDGES_S[:-1])) / 2
    return (np.arange(NUM_RELATIVE) + 0.5) * 100 / NUM_RELATIVE


def _drawn(fingerprints: Sequence[Fingerprint], first: str, second: str) -> list[tuple[Fingerprint, str]]:
    """Bona fide below the two, unless it is one of them."""
    by_key = {fingerprint.key: fingerprint for fingerprint in fingerprints}
    colours = {BONA_FIDE: REFERENCE} | {first: FIRST, second: SECOND}
    return [(by_key[key], colour) for key, colour in colours.items() if key in by_key]


def _add_curve(
    figure: go.Figure,
    x: np.ndarray,
    curve: Curve,
    name: str,
    colour: str,
    *,
    row: int | None = None,
    colour_of_line: str | None = None,
) -> None:
    """A line in its interval; the reference is dashed."""
    place = {} if row is None else {"row": row, "col": 1}
    seen = np.isfinite(curve.low) & np.isfinite(curve.high)
    figure.add_scatter(
        x=np.concatenate([x[seen], x[seen][::-1]]),
        y=np.concatenate([curve.high[seen], curve.low[seen][::-1]]),
        fill="toself",
        fillcolor=_FILLS[colour],
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        **place,
    )
    is_reference = colour == REFERENCE and colour_of_line is None
    figure.add_scatter(
        x=x,
        y=curve.value,
        mode="lines",
        name=name,
        line={"color": colour_of_line or colour, "width": 2, "dash": "dash" if is_reference else "solid"},
        customdata=np.stack([curve.low, curve.high], axis=1),
        hovertemplate="%{x:.2f}: %{y:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra>%{fullData.name}</extra>",
        **place,
    )


def _centres(measured: FingerprintSet) -> np.ndarray:
    edges = measured.band_edges / _scale(measured.summary)
    return (edges[1:] + edges[:-1]) / 2


def _scale(summary: FingerprintSummary) -> float:
    return 1_000.0 if summary.has_frequencies else 1.0


def _band_title(summary: FingerprintSummary) -> str:
    return "Frequency (kHz)" if summary.has_frequencies else summary.row_label
