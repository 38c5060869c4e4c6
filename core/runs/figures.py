"""Plotly figures of training runs: loss, accuracy, error rate and throughput over epochs, a colour per run."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from core.palette import BLUE, GREEN, GREY, OCHRE, ORANGE, PURPLE, TEAL, VIOLET
from core.runs.metrics import Metrics

RUN_COLOURS = (BLUE, ORANGE, GREEN, OCHRE, PURPLE, VIOLET, GREY, TEAL)
"""After Okabe and Ito (2002), shaded to be legible on white and on the dark theme."""
MAX_POINTS = 1_000
"""Points drawn of a curve."""
_TRANSPARENT = "rgba(0,0,0,0)"


def loss_figure(runs: Sequence[tuple[str, Metrics]]) -> go.Figure:
    """Loss over epochs: a thin line for train, a thick one with points for dev."""
    figure = _train_lines(runs, lambda point: point.loss, "%{y:.4f}")
    return _curves(_dev_lines(figure, runs, lambda point: point.loss, "%{y:.4f}"), "Loss")


def accuracy_figure(runs: Sequence[tuple[str, Metrics]]) -> go.Figure:
    """Accuracy over epochs, per cent: thin for train, thick for dev."""
    figure = _train_lines(runs, lambda point: 100 * point.accuracy, "%{y:.1f} %")
    return _curves(_dev_lines(figure, runs, lambda point: 100 * point.accuracy, "%{y:.1f} %"), "Accuracy (%)")


def eer_figure(runs: Sequence[tuple[str, Metrics]]) -> go.Figure:
    """EER on dev over epochs, per cent, with a star at the best."""
    figure = _dev_lines(go.Figure(), runs, lambda point: 100 * point.eer, "%{y:.2f} %")
    for i, (name, metrics) in enumerate(runs):
        if best := metrics.best:
            figure.add_scatter(
                x=[best.epoch],
                y=[100 * best.eer],
                mode="markers",
                marker={"symbol": "star", "size": 13, "color": run_colour(i)},
                hovertemplate=f"{_text(name)}, best<br>%{{y:.2f}} %<extra></extra>",
            )
    figure.update_yaxes(rangemode="tozero")
    return _curves(figure, "EER on dev (%)")


def throughput_figure(runs: Sequence[tuple[str, Metrics]]) -> go.Figure:
    """Samples per second of training over epochs."""
    figure = _train_lines(runs, lambda point: point.samples_per_s, "%{y:,.0f} per s", width=2)
    figure.update_yaxes(rangemode="tozero")
    return _curves(figure, "Throughput (samples/s)")


def _train_lines(runs: Sequence[tuple[str, Metrics]], value: Callable[..., float], words: str, width: float = 1) -> go.Figure:
    figure = go.Figure()
    for i, (name, metrics) in enumerate(runs):
        points = metrics.train[:: -(-len(metrics.train) // MAX_POINTS) or 1]
        figure.add_scatter(
            x=[point.epoch for point in points],
            y=[value(point) for point in points],
            mode="lines" if len(points) > 1 else "markers",
            line={"width": width, "color": run_colour(i)},
            hovertemplate=f"{_text(name)}, train<br>epoch %{{x:.2f}}: {words}<extra></extra>",
        )
    return figure


def _dev_lines(figure: go.Figure, runs: Sequence[tuple[str, Metrics]], value: Callable[..., float], words: str) -> go.Figure:
    for i, (name, metrics) in enumerate(runs):
        figure.add_scatter(
            x=[point.epoch for point in metrics.dev],
            y=[value(point) for point in metrics.dev],
            mode="lines+markers",
            line={"width": 2.5, "color": run_colour(i)},
            marker={"size": 6},
            hovertemplate=f"{_text(name)}, dev<br>epoch %{{x:.0f}}: {words}<extra></extra>",
        )
    return figure


def _curves(figure: go.Figure, title: str) -> go.Figure:
    figure.update_xaxes(title_text="Epoch", rangemode="tozero")
    figure.update_yaxes(title_text=title)
    figure.update_layout(height=280, margin={"l": 10, "r": 10, "t": 10, "b": 10}, showlegend=False, hovermode="closest")
    # A constant revision keeps the analyst's zoom while the curves grow.
    return figure.update_layout(paper_bgcolor=_TRANSPARENT, plot_bgcolor=_TRANSPARENT, uirevision="curves")


def run_colour(i: int) -> str:
    """The colour of the run at that position of a comparison."""
    return RUN_COLOURS[i % len(RUN_COLOURS)]


def _text(name: str) -> str:
    """A name as Plotly text, which is a kind of HTML."""
    return html.escape(name, quote=False).replace("%{", "% {")
