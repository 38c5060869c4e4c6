"""Plotly figures from records. Colours are Okabe and Ito's, safe for the colour-blind; words stand beside them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.calibration import Thresholds
from core.preview import RecordingPreview
from core.records import FolderShare, HistogramBin, SegmentScore, Verdict

VERDICT_COLOURS = {
    Verdict.SPOOF: "#D55E00",
    Verdict.INCONCLUSIVE: "#B07F00",
    Verdict.BONA_FIDE: "#1F83C2",
    Verdict.REFUSED: "#8C8C8C",
}
"""After Okabe and Ito (2002), "Color Universal Design"; shaded to be legible on white and on the dark theme."""
_TRANSPARENT = "rgba(0,0,0,0)"
_MAX_SEGMENTS = 2_000
"""More lines than this are more than a screen shows, and megabytes."""


def recording_figure(preview: RecordingPreview, segments: Sequence[SegmentScore], thresholds: Thresholds) -> go.Figure:
    """Waveform, spectrogram and segment scores of one channel, on one time axis in s."""
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.24, 0.44, 0.32])
    _add_waveform(figure, preview)
    figure.add_trace(
        go.Heatmap(
            x=preview.time_s,
            y=preview.frequency_hz / 1_000,
            z=preview.level_db,
            zmin=-80,
            zmax=0,
            colorscale="Cividis",
            colorbar={"title": {"text": "dB", "side": "right"}, "len": 0.44, "y": 0.54, "thickness": 12},
            hovertemplate="%{x:.2f} s, %{y:.2f} kHz: %{z} dB<extra></extra>",
        ),
        row=2,
        col=1,
    )
    num_merged = -(-len(segments) // _MAX_SEGMENTS)
    _add_segments(figure, _highest_of_each(segments, num_merged), thresholds)
    figure.update_xaxes(range=[0, preview.duration_s])
    figure.update_xaxes(title_text="Time (s)", row=3, col=1)
    figure.update_yaxes(title_text="Amplitude", row=1, col=1, zeroline=False)
    figure.update_yaxes(title_text="Frequency (kHz)", row=2, col=1)
    merged = f"<br>highest of each {num_merged}" if num_merged > 1 else ""
    figure.update_yaxes(title_text=f"Spoof score (nats){merged}", row=3, col=1)
    return _finished(figure, height=560)


def score_histogram_figure(bins: Sequence[HistogramBin], thresholds: Thresholds) -> go.Figure:
    """How many recordings have which spoof score, coloured by verdict, with the thresholds."""
    figure = go.Figure()
    centres = [(item.low + item.high) / 2 for item in bins]
    for verdict in (Verdict.BONA_FIDE, Verdict.INCONCLUSIVE, Verdict.SPOOF):
        chosen = [(x, item) for x, item in zip(centres, bins, strict=True) if thresholds.verdict(x) is verdict]
        figure.add_bar(
            x=[x for x, _ in chosen],
            y=[item.num for _, item in chosen],
            width=[item.high - item.low for _, item in chosen],
            name=str(verdict),
            marker_color=VERDICT_COLOURS[verdict],
            customdata=[(item.low, item.high) for _, item in chosen],
            hovertemplate="%{customdata[0]:.1f} to %{customdata[1]:.1f} nats: %{y} recordings<extra></extra>",
        )
    for value in sorted({thresholds.lower, thresholds.upper}):
        figure.add_vline(x=value, line_dash="dash", line_color="grey", line_width=1)
    figure.update_layout(barmode="overlay", bargap=0.05)
    figure.update_xaxes(title_text="Spoof score (nats)<br>dashed: thresholds")
    figure.update_yaxes(title_text="Recordings")
    return _finished(figure, height=300)


def folder_share_figure(shares: Sequence[FolderShare]) -> go.Figure:
    """Verdicts by folder, as stacked counts, most spoof at the top."""
    figure = go.Figure()
    shown = list(reversed(shares))
    counts = {
        Verdict.SPOOF: [share.num_spoof for share in shown],
        Verdict.INCONCLUSIVE: [share.num_inconclusive for share in shown],
        Verdict.BONA_FIDE: [share.num_bona_fide for share in shown],
        Verdict.REFUSED: [share.num_refused for share in shown],
    }
    for verdict, values in counts.items():
        figure.add_bar(
            y=list(range(len(shown))),
            x=values,
            customdata=[_label(share.folder, max_chars=200) for share in shown],
            name=str(verdict),
            orientation="h",
            marker_color=VERDICT_COLOURS[verdict],
            hovertemplate="%{customdata}: %{x} " + str(verdict) + "<extra></extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="Recordings")
    # By position, not by name: two long names can look the same.
    names = [_label(share.folder, max_chars=40) for share in shown]
    figure.update_yaxes(tickmode="array", tickvals=list(range(len(shown))), ticktext=names, automargin=True)
    return _finished(figure, height=max(220, 90 + 26 * len(shown)))


def _add_waveform(figure: go.Figure, preview: RecordingPreview) -> None:
    half_column_s = (preview.time_s[1] - preview.time_s[0]) / 2 if len(preview.time_s) > 1 else 0.0
    style = {"mode": "lines", "line": {"width": 0.5, "color": "#56B4E9"}, "showlegend": False, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(x=preview.time_s + half_column_s, y=preview.low, **style), row=1, col=1)
    figure.add_trace(go.Scatter(x=preview.time_s + half_column_s, y=preview.high, fill="tonexty", **style), row=1, col=1)


def _add_segments(figure: go.Figure, segments: Sequence[SegmentScore], thresholds: Thresholds) -> None:
    """A line per segment over its time, coloured by what it would be called alone; grey at the band where skipped."""
    middle = (thresholds.lower + thresholds.upper) / 2
    for verdict in (Verdict.SPOOF, Verdict.INCONCLUSIVE, Verdict.BONA_FIDE, Verdict.REFUSED):
        x, y, hover = [], [], []
        for segment in segments:
            skipped = math.isnan(segment.spoof_score)
            if verdict is not (Verdict.REFUSED if skipped else thresholds.verdict(segment.spoof_score)):
                continue
            value = middle if skipped else segment.spoof_score
            said = "too little sound, not judged" if skipped else f"{segment.spoof_score:+.2f} nats, {verdict}"
            text = f"{segment.start_s:.1f} to {segment.end_s:.1f} s: {said}"
            # A point in the middle carries the hover text; None ends the line.
            x += [segment.start_s, (segment.start_s + segment.end_s) / 2, segment.end_s, None]
            y += [value, value, value, None]
            hover += [text, text, text, None]
        if x:
            name = "not judged" if verdict is Verdict.REFUSED else str(verdict)
            line = {"width": 4, "color": VERDICT_COLOURS[verdict], "dash": "dot" if verdict is Verdict.REFUSED else "solid"}
            trace = go.Scatter(x=x, y=y, text=hover, hoverinfo="text", mode="lines", line=line, name=name)
            figure.add_trace(trace, row=3, col=1)
    figure.add_hrect(y0=thresholds.lower, y1=thresholds.upper, fillcolor="grey", opacity=0.15, line_width=0, row=3, col=1)
    for value in sorted({thresholds.lower, thresholds.upper}):
        figure.add_hline(y=value, line_dash="dash", line_color="grey", line_width=1, row=3, col=1)


def _finished(figure: go.Figure, *, height: int) -> go.Figure:
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}
    figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 30, "b": 10}, legend=legend)
    figure.update_layout(paper_bgcolor=_TRANSPARENT, plot_bgcolor=_TRANSPARENT, hovermode="closest")
    return figure


def _highest_of_each(segments: Sequence[SegmentScore], num: int) -> Sequence[SegmentScore]:
    """Of every `num` segments the one with the highest score; one that was not judged only among its like."""
    if num <= 1:
        return segments
    groups = (segments[i : i + num] for i in range(0, len(segments), num))
    return [max(group, key=lambda segment: (not math.isnan(segment.spoof_score), segment.spoof_score)) for group in groups]


def _label(folder: str, *, max_chars: int) -> str:
    """A folder's name as Plotly text, which is a kind of HTML; a long one loses its beginning."""
    name = "(top folder)" if folder == "." else folder
    return html.escape(name if len(name) <= max_chars else "..." + name[3 - max_chars :], quote=False)
