"""Plotly figures of score distributions and curves: histograms, DET, reliability, and two systems against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from scipy.special import ndtri

from core.evaluation.confusion import ScoreHistogram
from core.evaluation.curves import ReliabilityCurve
from core.evaluation.inconclusive_band import COLUMNS, BandCoverage
from core.evaluation.operating_points import DetLine
from core.figure_style import SYMBOLS, finished, text_of
from core.figures import VERDICT_COLOURS
from core.records import Verdict
from core.runs.figures import run_colour

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_DET_TICKS = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 0.95, 0.99)
_DET_ENDS = (0.0002, 0.6)
"""What is shown at first, as rates: 0.02 % to 60 %, as in NIST's plots."""
_THIN = {"color": "grey", "width": 1, "dash": "dot"}
CLASS_COLOURS = {"bona fide": VERDICT_COLOURS[Verdict.BONA_FIDE], "spoof": VERDICT_COLOURS[Verdict.SPOOF]}


def det_figure(lines: Sequence[DetLine]) -> go.Figure:
    """Missed spoofs against false alarms at every threshold, on normal deviates, with the marked operating points.

    Source: Martin et al. (1997), "The DET curve in assessment of detection task performance".
    """
    figure = go.Figure()
    for i, line in enumerate(lines):
        # Rates of exactly 0 and 1 lie at infinity: they are put beyond the axes' ends.
        miss, false_alarm = (np.clip(rate, 1e-6, 1 - 1e-6) for rate in (line.curve.miss, line.curve.false_alarm))
        figure.add_scatter(
            x=ndtri(false_alarm),
            y=ndtri(miss),
            mode="lines",
            line={"color": run_colour(i), "width": 2, "dash": _DASHES[i % len(_DASHES)]},
            name=text_of(line.name),
            legendgroup=str(i),
            customdata=np.stack([100 * line.curve.false_alarm, 100 * line.curve.miss, line.curve.thresholds], axis=1),
            hovertemplate="%{customdata[0]:.2f} % of bona fide called spoof<br>%{customdata[1]:.2f} % of spoofs missed"
            "<br>from a score of %{customdata[2]:.3f} on<extra>%{fullData.name}</extra>",
        )
        figure.add_scatter(
            x=ndtri(np.clip([mark.false_alarm for mark in line.marks], 1e-6, 1 - 1e-6)),
            y=ndtri(np.clip([mark.miss for mark in line.marks], 1e-6, 1 - 1e-6)),
            mode="markers",
            marker={
                "color": run_colour(i),
                "symbol": [SYMBOLS[k % len(SYMBOLS)] for k in range(len(line.marks))],
                "size": 11,
                "line": {"width": 1.5, "color": "#FFFFFF"},
            },
            legendgroup=str(i),
            showlegend=False,
            customdata=[(mark.title, 100 * mark.false_alarm, 100 * mark.miss, mark.threshold) for mark in line.marks],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]:.2f} % of bona fide called spoof"
            "<br>%{customdata[2]:.2f} % of spoofs missed<br>score %{customdata[3]:.3f}"
            f"<extra>{text_of(line.name)}</extra>",
        )
    ticks = {"tickvals": ndtri(_DET_TICKS), "ticktext": [f"{100 * tick:g}" for tick in _DET_TICKS], "range": ndtri(_DET_ENDS)}
    figure.update_xaxes(title_text="Bona fide called spoof (%)", zeroline=False, **ticks)
    figure.update_yaxes(title_text="Spoofs missed (%)", zeroline=False, **ticks)
    diagonal = ndtri(_DET_ENDS)
    figure.add_shape(type="line", x0=diagonal[0], y0=diagonal[0], x1=diagonal[1], y1=diagonal[1], line=_THIN)
    return finished(figure, height=420)


def score_spread_figure(histogram: ScoreHistogram, thresholds: Mapping[str, float]) -> go.Figure:
    """How a system's scores spread in each class, as shares of the class, with lines at thresholds.

    Args:
        thresholds: what a line is -> score.
    """
    figure = go.Figure()
    classes = (
        ("bona fide", histogram.bona_fide_share, histogram.num_bona_fide, ""),
        ("spoof", histogram.spoof_share, histogram.num_spoof, "/"),
    )
    for name, shares, counts, pattern in classes:
        figure.add_bar(
            x=(histogram.edges[:-1] + histogram.edges[1:]) / 2,
            width=np.diff(histogram.edges),
            y=100 * shares,
            name=name,
            opacity=0.65,
            marker={"color": CLASS_COLOURS[name], "pattern": {"shape": pattern, "size": 6, "solidity": 0.4}, "line": {"width": 0}},
            customdata=np.stack([histogram.edges[:-1], histogram.edges[1:], counts], axis=1),
            hovertemplate="score %{customdata[0]:.3f} to %{customdata[1]:.3f}<br>%{y:.2f} % of "
            + name
            + " (%{customdata[2]:,} trials)<extra></extra>",
        )
    for title, threshold in thresholds.items():
        figure.add_vline(
            x=threshold, line=_THIN | {"dash": "dash"}, annotation={"text": text_of(title), "textangle": -90, "xanchor": "right"}
        )
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title_text="Spoof score", zeroline=False)
    figure.update_yaxes(title_text="Share of the class (%)")
    return finished(figure, height=300)


def band_figure(bands: Sequence[BandCoverage]) -> go.Figure:
    """Shares left undecided and wrong among the decided, of both classes, against the width of the inconclusive band."""
    figure = go.Figure()
    for i, name in enumerate(COLUMNS):
        drawn = [(band, share) for band in bands if (share := band.shares[i]) is not None]
        figure.add_scatter(
            x=[band.width for band, _ in drawn],
            y=[100 * share.value for _, share in drawn],
            error_y={
                "array": [100 * (share.high - share.value) for _, share in drawn],
                "arrayminus": [100 * (share.value - share.low) for _, share in drawn],
                "width": 0,
                "thickness": 1,
            },
            mode="lines+markers",
            line={"color": CLASS_COLOURS["spoof" if i % 2 else "bona fide"], "dash": "dash" if i < 2 else "solid", "width": 2},
            marker={"symbol": SYMBOLS[i], "size": 8},
            name=name,
            customdata=[(band.thresholds.lower, band.thresholds.upper, 100 * share.low, 100 * share.high) for band, share in drawn],
            hovertemplate="%{y:.1f} % (%{customdata[2]:.1f} to %{customdata[3]:.1f})<br>bona fide below %{customdata[0]:+.2f},"
            f" spoof from %{{customdata[1]:+.2f}}<extra>{name}</extra>",
        )
    figure.add_vline(x=1, line=_THIN, annotation={"text": "as it is", "yanchor": "top"})
    figure.update_xaxes(title_text="Width of the inconclusive band (1: the detector's own)", zeroline=False)
    figure.update_yaxes(title_text="Share (%)", rangemode="tozero")
    return finished(figure, height=380)


def reliability_figure(curves: Mapping[str, ReliabilityCurve]) -> go.Figure:
    """Observed share of spoofs against the probability that each system's scores claim, with intervals; system -> curve."""
    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line=_THIN)
    for i, (name, curve) in enumerate(curves.items()):
        figure.add_scatter(
            x=[item.predicted for item in curve.bins],
            y=[item.observed for item in curve.bins],
            error_y={
                "array": [item.high - item.observed for item in curve.bins],
                "arrayminus": [item.observed - item.low for item in curve.bins],
                "width": 0,
                "thickness": 1,
            },
            mode="lines+markers",
            line={"color": run_colour(i), "width": 2, "dash": _DASHES[i % len(_DASHES)]},
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8},
            name=f"{text_of(name)} (mean distance {curve.calibration_error:.3f})",
            customdata=[(item.lower, item.upper, item.count, item.low, item.high) for item in curve.bins],
            hovertemplate="claimed %{x:.3f}, observed %{y:.3f} (%{customdata[3]:.3f} to %{customdata[4]:.3f})"
            "<br>%{customdata[2]:,} trials claimed %{customdata[0]:.2f} to %{customdata[1]:.2f}"
            f"<extra>{text_of(name)}</extra>",
        )
    figure.update_xaxes(title_text="Claimed probability of spoof", range=[-0.02, 1.02], zeroline=False)
    figure.update_yaxes(title_text="Observed share of spoofs", range=[-0.02, 1.02], zeroline=False)
    return finished(figure, height=420)
