"""Plotly figures from records. Colours are Okabe and Ito's, safe for the colour-blind; words stand beside them."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.calibration import Thresholds, verdict_of
from core.palette import BLUE, GREY, OCHRE, ORANGE, SKY
from core.preview import PART_S, RecordingPreview
from core.records import FolderShare, HistogramBin, SegmentScore, Verdict
from core.reports import clock_words

VERDICT_COLOURS = {
    Verdict.SPOOF: ORANGE,
    Verdict.INCONCLUSIVE: OCHRE,
    Verdict.BONA_FIDE: BLUE,
    Verdict.REFUSED: GREY,
}
"""After Okabe and Ito (2002), "Color Universal Design"; shaded to be legible on white and on the dark theme."""
_TRANSPARENT = "rgba(0,0,0,0)"
_MAX_STRETCHES = 300
"""Of a timeline: shorter lines than two or three pixels nobody sees."""


def recording_figure(
    preview: RecordingPreview,
    segments: Sequence[SegmentScore],
    thresholds: Thresholds | None,
    *,
    score_words: str = "Spoof score (nats)",
) -> go.Figure:
    """Waveform, spectrogram and segment scores of a recording or of a part of it, on one time axis.

    Args:
        preview: what was heard.
        segments: what was said of the recording; those that reach into the part are drawn.
        thresholds: None where every verdict is inconclusive.
        score_words: what the scores are called, with their unit.
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.24, 0.44, 0.32])
    add_waveform(figure, preview)
    figure.add_trace(spectrogram_trace(preview, colorbar={"len": 0.44, "y": 0.54}), row=2, col=1)
    end_s = preview.start_s + preview.duration_s
    add_segments(figure, [s for s in segments if s.end_s > preview.start_s and s.start_s < end_s], thresholds, row=3)
    figure.update_xaxes(range=[preview.start_s, end_s])
    figure.update_xaxes(title_text="Time (s)", row=3, col=1)
    figure.update_yaxes(title_text="Amplitude", row=1, col=1, zeroline=False)
    figure.update_yaxes(title_text="Frequency (kHz)", row=2, col=1)
    figure.update_yaxes(title_text=score_words, row=3, col=1)
    return _finished(figure if end_s <= PART_S else _on_clock(figure), height=560)


def timeline_figure(
    segments: Sequence[SegmentScore],
    thresholds: Thresholds | None,
    *,
    duration_s: float,
    part_s: tuple[float, float],
    score_words: str = "Spoof score (nats)",
) -> go.Figure:
    """The segment scores of a long recording over all of its time, in hours, minutes and seconds.

    Args:
        segments: what was said of the recording; where they are many, the highest and the mean of each stretch of them are drawn.
        thresholds: None where every verdict is inconclusive.
        duration_s: of the recording.
        part_s: first and last moment of the part that is looked at, which is marked.
        score_words: what the scores are called, with their unit.
    """
    figure = make_subplots(rows=1, cols=1)
    num_merged = -(-len(segments) // _MAX_STRETCHES)
    stretches = [segments[i : i + num_merged] for i in range(0, len(segments), num_merged)]
    if num_merged > 1:
        means = [_merged(stretch, statistics.fmean) for stretch in stretches]
        x, y = [(one.start_s + one.end_s) / 2 for one in means], [one.spoof_score for one in means]
        line = {"width": 1, "color": GREY}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name=f"mean of each {num_merged}", hoverinfo="skip")
    add_segments(figure, [_merged(stretch, max) for stretch in stretches], thresholds, row=1)
    figure.update_xaxes(range=[0, duration_s], title_text="Time (h:min:s)")
    highest = f"<br>highest of each {num_merged}" if num_merged > 1 else ""
    figure.update_yaxes(title_text=f"{score_words}{highest}")
    figure = _on_clock(figure)
    figure.add_vrect(*_moments(part_s), fillcolor=SKY, opacity=0.3, line_width=0, layer="below")
    return _finished(figure, height=260)


def score_histogram_figure(
    bins: Sequence[HistogramBin], thresholds: Thresholds | None, *, score_words: str = "Spoof score (nats)"
) -> go.Figure:
    """How many recordings have which spoof score, coloured by verdict, with the thresholds.

    Args:
        bins: of equal width.
        thresholds: None where every verdict is inconclusive.
        score_words: what the scores are called, with their unit.
    """
    figure = go.Figure()
    centres = [(item.low + item.high) / 2 for item in bins]
    for verdict in (Verdict.BONA_FIDE, Verdict.INCONCLUSIVE, Verdict.SPOOF):
        chosen = [(x, item) for x, item in zip(centres, bins, strict=True) if verdict_of(x, thresholds) is verdict]
        figure.add_bar(
            x=[x for x, _ in chosen],
            y=[item.num for _, item in chosen],
            width=[item.high - item.low for _, item in chosen],
            name=str(verdict),
            marker_color=VERDICT_COLOURS[verdict],
            customdata=[(item.low, item.high) for _, item in chosen],
            hovertemplate="%{customdata[0]:.4~g} to %{customdata[1]:.4~g}: %{y} recordings<extra></extra>",
        )
    limits = sorted({thresholds.lower, thresholds.upper}) if thresholds else []
    for value in limits:
        figure.add_vline(x=value, line_dash="dash", line_color="grey", line_width=1)
    figure.update_layout(barmode="overlay", bargap=0.05)
    figure.update_xaxes(title_text=f"{score_words}<br>dashed: thresholds" if limits else score_words)
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


def spectrogram_trace(preview: RecordingPreview, *, colorbar: dict[str, float], showscale: bool | None = None) -> go.Heatmap:
    """Levels over time in s and frequency in kHz; the colour bar at the given place."""
    return go.Heatmap(
        x=preview.time_s,
        y=preview.frequency_hz / 1_000,
        z=preview.level_db,
        zmin=-80,
        zmax=0,
        colorscale="Cividis",
        showscale=showscale,
        colorbar={"title": {"text": "dB", "side": "right"}, "thickness": 12} | colorbar,
        hovertemplate="%{x:.2f} s, %{y:.2f} kHz: %{z} dB<extra></extra>",
    )


def add_waveform(figure: go.Figure, preview: RecordingPreview, *, offset_s: float = 0.0) -> None:
    """The envelope of a recording in the first row; its first sample is at `offset_s`."""
    half_column_s = (preview.time_s[1] - preview.time_s[0]) / 2 if len(preview.time_s) > 1 else 0.0
    x = preview.time_s + offset_s + half_column_s
    style = {"mode": "lines", "line": {"width": 0.5, "color": SKY}, "showlegend": False, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(x=x, y=preview.low, **style), row=1, col=1)
    figure.add_trace(go.Scatter(x=x, y=preview.high, fill="tonexty", **style), row=1, col=1)


def add_segments(figure: go.Figure, segments: Sequence[SegmentScore], thresholds: Thresholds | None, *, row: int) -> None:
    """A line per segment over its time, coloured by what it would be called alone; grey at the band where skipped."""
    middle = _middle(segments, thresholds)
    for verdict in (Verdict.SPOOF, Verdict.INCONCLUSIVE, Verdict.BONA_FIDE, Verdict.REFUSED):
        x, y, hover = [], [], []
        for segment in segments:
            skipped = math.isnan(segment.spoof_score)
            if verdict is not (Verdict.REFUSED if skipped else verdict_of(segment.spoof_score, thresholds)):
                continue
            value = middle if skipped else segment.spoof_score
            said = "too little sound, not judged" if skipped else f"{segment.spoof_score:+.2f}, {verdict}"
            said += " (estimated: the fast network alone judged this window)" if segment.is_estimated else ""
            text = f"{_span_words(segment)}: {said}"
            # A point in the middle carries the hover text; None ends the line.
            x += [segment.start_s, (segment.start_s + segment.end_s) / 2, segment.end_s, None]
            y += [value, value, value, None]
            hover += [text, text, text, None]
        if x:
            name = "not judged" if verdict is Verdict.REFUSED else str(verdict)
            line = {"width": 4, "color": VERDICT_COLOURS[verdict], "dash": "dot" if verdict is Verdict.REFUSED else "solid"}
            trace = go.Scatter(x=x, y=y, text=hover, hoverinfo="text", mode="lines", line=line, name=name)
            figure.add_trace(trace, row=row, col=1)
    drawn = [segment.spoof_score for segment in segments if not math.isnan(segment.spoof_score)]
    drawn += [thresholds.lower, thresholds.upper] if thresholds else []
    if drawn:  # plotly's own range ends at the outermost line and cuts it in half
        margin = 0.1 * max(max(drawn) - min(drawn), 1.0)
        figure.update_yaxes(range=[min(drawn) - margin, max(drawn) + margin], row=row, col=1)
    if thresholds is None:
        return
    figure.add_hrect(y0=thresholds.lower, y1=thresholds.upper, fillcolor="grey", opacity=0.15, line_width=0, row=row, col=1)
    for value in sorted({thresholds.lower, thresholds.upper}):
        figure.add_hline(y=value, line_dash="dash", line_color="grey", line_width=1, row=row, col=1)


def _span_words(segment: SegmentScore) -> str:
    if segment.end_s <= PART_S:
        return f"{segment.start_s:.1f} to {segment.end_s:.1f} s"
    return f"{clock_words(segment.start_s)} to {clock_words(segment.end_s)}"


def _on_clock(figure: go.Figure) -> go.Figure:
    """Turns the time axis from seconds into hours, minutes and seconds, whose ticks follow when one zooms in."""
    for trace in figure.data:
        trace.x = _moments(trace.x)
        if trace.hovertemplate:
            trace.hovertemplate = trace.hovertemplate.replace("%{x:.2f} s", "%{x|%-H:%M:%S}")
    for axis in figure.select_xaxes():
        axis.update(type="date", tickformat="%-H:%M:%S", range=_moments(axis.range))
        axis.title.text = axis.title.text and axis.title.text.replace("(s)", "(h:min:s)")
    return figure


def _moments(time_s: Sequence[float | None]) -> np.ndarray:
    """Seconds as moments of the first day of 1970, which is how Plotly knows a clock; a gap stays one."""
    milliseconds = np.array(time_s, dtype=float) * 1_000
    moments = np.full(len(milliseconds), np.datetime64("NaT"), dtype="datetime64[ms]")
    is_time = ~np.isnan(milliseconds)
    moments[is_time] = milliseconds[is_time].round().astype("datetime64[ms]")
    return moments


def _middle(segments: Sequence[SegmentScore], thresholds: Thresholds | None) -> float:
    """Where segments without a score are drawn: inside the band, or among the scores where there is none."""
    if thresholds:
        return (thresholds.lower + thresholds.upper) / 2
    scores = [segment.spoof_score for segment in segments if not math.isnan(segment.spoof_score)]
    return (min(scores) + max(scores)) / 2 if scores else 0.0


def _finished(figure: go.Figure, *, height: int) -> go.Figure:
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}
    figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 30, "b": 10}, legend=legend)
    figure.update_layout(paper_bgcolor=_TRANSPARENT, plot_bgcolor=_TRANSPARENT, hovermode="closest")
    return figure


def _merged(stretch: Sequence[SegmentScore], reduce: Callable[[list[float]], float]) -> SegmentScore:
    """One segment over the time of several, with the highest or the mean of their scores; not judged where none of them was."""
    scores = [segment.spoof_score for segment in stretch if not math.isnan(segment.spoof_score)]
    score = reduce(scores) if scores else math.nan
    return SegmentScore(start_s=stretch[0].start_s, end_s=stretch[-1].end_s, spoof_score=score)


def _label(folder: str, *, max_chars: int) -> str:
    """A folder's name as Plotly text, which is a kind of HTML; a long one loses its beginning."""
    name = "(top folder)" if folder == "." else folder
    return html.escape(name if len(name) <= max_chars else "..." + name[3 - max_chars :], quote=False)
