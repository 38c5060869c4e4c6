"""Plotly figures of a network: its feature maps as boxes in space, and one layer's maps as a grid of images."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from core.networks.activations import Activations, FeatureMaps
from core.networks.anatomy import FeatureBox
from core.palette import ORANGE, PALE_BLUE

_TRANSPARENT = "rgba(0,0,0,0)"
_ACCENT = ORANGE
_PLAIN = PALE_BLUE
_SMALLEST = 1e-6
"""Levels below this, such as those of a layer that stays silent, are drawn as this: the colours are logarithmic."""


def network_figure(boxes: Sequence[FeatureBox], *, activations: Activations | None = None, chosen: int | None = None) -> go.Figure:
    """A network in space: a box per feature map, from the image on the left to the logits on the right.

    Height and width grow with the logarithm of rows and columns, depth with the logarithm of channels.

    Args:
        boxes: the image first.
        activations: when given, boxes are coloured by their level.
        chosen: position of the box to outline.
    """
    spans = _spans(boxes)
    levels = [activations.of(box) for box in boxes] if activations else None
    figure = go.Figure(_box_mesh(boxes, spans, levels))
    figure.add_trace(_box_edges(spans, width=1.5, colour="rgba(128,128,128,0.9)"))
    if chosen is not None:
        figure.add_trace(_box_edges([spans[chosen]], width=7, colour=_ACCENT))
    labels = [(0, "image", 1), (len(boxes) - 1, "logits", 1)]
    if chosen is not None:
        labels.append((chosen, _text(boxes[chosen].title), -1))
    figure.add_scatter3d(
        x=[sum(spans[i][0]) / 2 for i, _, _ in labels],
        # The ends above the far edge, the chosen one below the near edge: no box stands before them.
        y=[side * spans[i][1][1] for i, _, side in labels],
        z=[side * (spans[i][2][1] + (0.8 if side > 0 else 2.0)) for i, _, side in labels],
        text=[words for _, words, _ in labels],
        mode="text",
        textfont={"size": 13},
        hoverinfo="skip",
        showlegend=False,
    )
    axis = {"visible": False, "showspikes": False}
    figure.update_layout(
        height=460,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        paper_bgcolor=_TRANSPARENT,
        uirevision="network",
        scene={
            "xaxis": axis,
            "yaxis": axis,
            "zaxis": axis,
            "aspectmode": "manual",
            "aspectratio": {"x": 1.75, "y": 0.85, "z": 0.85},
            # Without perspective sizes can be compared; from before the image, so that it also fits into a narrow window.
            "camera": {
                "projection": {"type": "orthographic"},
                "eye": {"x": -1.1, "y": -1.6, "z": 0.8},
                "center": {"x": 0, "y": 0, "z": -0.05},
            },
        },
    )
    return figure


def feature_map_figure(maps: FeatureMaps) -> go.Figure:
    """A layer's maps as a grid of small images (frequency rising, time to the right), or its values as bars."""
    if maps.maps[0].size == 1:
        return _value_bars(maps)
    num, height, width = maps.maps.shape
    num_columns = min(num, 8)
    gap = max(1, width // 14)
    num_rows = -(-num // num_columns)
    mosaic = np.full((num_rows * (height + gap) - gap, num_columns * (width + gap) - gap), np.nan, dtype=np.float32)
    numbers = np.full(mosaic.shape, -1, dtype=np.int32)
    for i in range(num):
        row, column = (num_rows - 1 - i // num_columns) * (height + gap), i % num_columns * (width + gap)
        mosaic[row : row + height, column : column + width] = maps.maps[i]
        numbers[row : row + height, column : column + width] = maps.channels[i]
    figure = go.Figure(
        go.Heatmap(
            z=mosaic,
            customdata=numbers,
            colorscale="Cividis",
            hoverongaps=False,
            colorbar={"title": {"text": "Value", "side": "right"}, "thickness": 12},
            hovertemplate="channel %{customdata}: %{z:.3g}<extra></extra>",
        )
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x", constrain="domain")
    figure.update_layout(height=120 + 110 * num_rows, margin={"l": 0, "r": 0, "t": 10, "b": 10}, paper_bgcolor=_TRANSPARENT)
    return figure.update_layout(plot_bgcolor=_TRANSPARENT)


def _value_bars(maps: FeatureMaps) -> go.Figure:
    """Values of a layer without rows and columns, by channel."""
    order = np.argsort(maps.channels)
    figure = go.Figure(go.Bar(x=np.asarray(maps.channels)[order], y=maps.maps[order, 0, 0], marker_color=_PLAIN))
    figure.update_traces(hovertemplate="channel %{x}: %{y:.3g}<extra></extra>")
    figure.update_xaxes(title_text="Channel")
    figure.update_yaxes(title_text="Value")
    if len(order) <= 16:
        figure.update_xaxes(dtick=1)
    figure.update_layout(height=260, margin={"l": 10, "r": 10, "t": 10, "b": 10}, paper_bgcolor=_TRANSPARENT)
    return figure.update_layout(plot_bgcolor=_TRANSPARENT)


Span = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""A box's extent along the network, over time, and over frequency."""


def _spans(boxes: Sequence[FeatureBox]) -> list[Span]:
    spans, x, width_before = [], 0.0, 0.0
    for box in boxes:
        depth, width, height = (math.log2(1 + size) for size in (box.num_channels, box.width, box.height))
        x += 1.2 + 1.5 * max(0.0, width_before - width)  # a smaller box is not hidden by the one before it
        spans.append(((x, x + 0.5 * depth), (-width / 2, width / 2), (-height / 2, height / 2)))
        x, width_before = x + 0.5 * depth, width
    return spans


# Corner k of a box takes the upper end along axis a where bit a of k is set; each side is two triangles.
_TRIANGLES = np.array(
    [
        (0, 2, 6),
        (0, 6, 4),
        (1, 3, 7),
        (1, 7, 5),
        (0, 1, 5),
        (0, 5, 4),
        (2, 3, 7),
        (2, 7, 6),
        (0, 1, 3),
        (0, 3, 2),
        (4, 5, 7),
        (4, 7, 6),
    ]
)
_EDGES = [(a, a | 1 << bit) for a in range(8) for bit in range(3) if not a >> bit & 1]


def _corners(span: Span) -> np.ndarray:
    """`[8, 3]` corners of a box."""
    return np.array([[span[axis][corner >> axis & 1] for axis in range(3)] for corner in range(8)])


def _box_mesh(boxes: Sequence[FeatureBox], spans: Sequence[Span], levels: Sequence[float] | None) -> go.Mesh3d:
    """All boxes as one mesh, coloured by level where there is one."""
    corners = np.concatenate([_corners(span) for span in spans])
    triangles = np.concatenate([_TRIANGLES + 8 * i for i in range(len(boxes))])
    hover = [_box_words(box, levels[i] if levels else None) for i, box in enumerate(boxes)]
    mesh = go.Mesh3d(
        x=corners[:, 0],
        y=corners[:, 1],
        z=corners[:, 2],
        i=triangles[:, 0],
        j=triangles[:, 1],
        k=triangles[:, 2],
        text=[text for text in hover for _ in range(8)],
        hovertemplate="%{text}<extra></extra>",
        flatshading=True,
        lighting={"ambient": 0.75, "diffuse": 0.5, "specular": 0.05},
    )
    if levels is None:
        return mesh.update(color=_PLAIN)
    logs = [math.log10(max(level, _SMALLEST)) for level in levels]
    low, high = min(logs), max(max(logs), min(logs) + 0.1)
    ticks = [
        m * 10.0**e
        for e in range(math.floor(low), math.ceil(high) + 1)
        for m in (1, 2, 5)
        if low <= math.log10(m * 10.0**e) <= high
    ]
    bar = {"title": {"text": "Mean |activation|", "side": "right"}, "thickness": 12, "len": 0.75}
    bar |= {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [f"{tick:g}" for tick in ticks]}
    return mesh.update(intensity=np.repeat(logs, 12), intensitymode="cell", cmin=low, cmax=high, colorscale="Plasma", colorbar=bar)


def _box_edges(spans: Sequence[Span], *, width: float, colour: str) -> go.Scatter3d:
    lines = [point for span in spans for a, b in _EDGES for point in (*_corners(span)[[a, b]], [None] * 3)]
    x, y, z = zip(*lines, strict=True)
    line = {"width": width, "color": colour}
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _box_words(box: FeatureBox, level: float | None) -> str:
    words = f"{_text(box.title)}<br>{box.num_channels} x {box.height} x {box.width}"
    return words if level is None else f"{words}<br>mean |activation| {level:.3g}"


def _text(name: str) -> str:
    """A name as Plotly text, which is a kind of HTML."""
    return html.escape(name, quote=False).replace("%{", "% {")
