"""What figures of evaluations share: colours from good to bad, shapes, layout, and hostile names made harmless. Draws nothing."""

from __future__ import annotations

import html
import itertools
import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go

from core.hostile_text import visible
from core.palette import AMBER, PAPER

SCALE = ((0.0, "#6FB1DC"), (0.25, "#B5D5EA"), (0.5, PAPER), (0.75, "#F5BE8B"), (1.0, AMBER))
"""Badness -> colour, between blue and vermilion (after Okabe and Ito 2002)."""
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "cross", "pentagon")
"""A shape per system, beside its colour."""


def colours_of(share: float) -> tuple[str, str]:
    """Background of the scale at 0..1 and black or white text, whichever stands out more."""
    (low, first), (high, second) = next(pair for pair in itertools.pairwise(SCALE) if share <= pair[1][0])
    part = (share - low) / (high - low)
    mixed = [round(a + part * (b - a)) for a, b in zip(_channels(first), _channels(second), strict=True)]
    return "#{:02X}{:02X}{:02X}".format(*mixed), "#000000" if _luminance(mixed) > 0.18 else "#FFFFFF"


def cell_heat(shares: Sequence[Sequence[float | None]]) -> go.Heatmap:
    """Cells `[row][column]` coloured from good (0) to bad (1), None left clear; what is written in them is laid over it."""
    return go.Heatmap(
        x=list(range(len(shares[0]) if shares else 0)),
        y=list(range(len(shares))),
        z=shares,
        zmin=0,
        zmax=1,
        colorscale=SCALE,
        showscale=False,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
    )


def cell_texts(
    places: Sequence[tuple[int, int]], texts: Sequence[str], *, colours: Sequence[str], hovers: Sequence[str]
) -> go.Scatter:
    """What is written in the cells at these places (row, column); without colours in the page's own."""
    return go.Scatter(
        x=[j for _, j in places],
        y=[i for i, _ in places],
        text=texts,
        mode="text",
        textfont={"color": colours, "size": 11} if colours else {"size": 11},
        hovertext=hovers,
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )


def finished(figure: go.Figure, *, height: int, has_legend: bool = True) -> go.Figure:
    """The layout that all figures of evaluations share. No background of its own: it takes the page's, and so do its pictures."""
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}
    figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 40, "b": 10}, legend=legend, showlegend=has_legend)
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure.update_layout(hovermode="closest")


def text_of(name: str) -> str:
    """A name as Plotly text, which is a kind of HTML; what cannot be seen is spelled out."""
    return html.escape(visible(name), quote=False).replace("%{", "% {")


def wrapped(name: str, *, num_chars: int = 18) -> str:
    """A heading in lines of about so many characters."""
    return "<br>".join(text_of(line) for line in textwrap.wrap(name, num_chars, break_long_words=True) or [""])


def _channels(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _luminance(channels: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (channel / 255 for channel in channels)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
