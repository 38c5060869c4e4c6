"""Plotly figures of the shortcut audit: what trivial features give away of a set, and how a detector moves with them."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.figure_style import finished, text_of, wrapped
from core.palette import BLUE, GREEN, GREY, ORANGE
from core.shortcuts.records import InterventionEffect, Probe, ShortcutReport

LEAKS, CLEAN = ORANGE, BLUE
"""Vermilion and a diamond where a feature gives labels away or moves a detector, blue and a circle where not."""
_LABEL_COLOURS = {"bona fide": BLUE, "spoof": ORANGE, "all": GREEN}
_LABEL_SYMBOLS = {"bona fide": "circle", "spoof": "diamond", "all": "square"}


def probe_figure(report: ShortcutReport) -> go.Figure:
    """The EER of each trivial feature alone with its 95 % interval; 50 % is chance."""
    figure = go.Figure()
    probes = list(enumerate(report.probes))
    for name, colour, symbol, is_leak in (("gives labels away", LEAKS, "diamond", True), ("no leak shown", CLEAN, "circle", False)):
        those = [(i, probe) for i, probe in probes if probe.is_leak is is_leak]
        figure.add_scatter(
            x=[100 * probe.eer for _, probe in those],
            y=[i for i, _ in those],
            error_x={
                "array": [100 * (probe.high - probe.eer) for _, probe in those],
                "arrayminus": [100 * (probe.eer - probe.low) for _, probe in those],
                "color": colour,
                "thickness": 1.5,
                "width": 0,
            },
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10},
            name=name,
            hovertext=[_probe_hover(probe) for _, probe in those],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    figure.add_vline(x=50, line={"color": "grey", "width": 1, "dash": "dash"})
    figure.update_xaxes(title_text="EER of the feature alone (%), dashed: chance", rangemode="tozero", zeroline=False)
    _label_rows(figure, [probe.title for _, probe in probes])
    return finished(figure, height=150 + 28 * len(probes))


def intervention_figure(effects: Sequence[InterventionEffect], *, score_words: str) -> go.Figure:
    """How far the score moves on average when one trivial feature is changed, with 95 % intervals; full where it matters.

    Args:
        effects: of one detector; those of one intervention share a row, by class where labels are known.
        score_words: what its scores are called, with their unit.
    """
    figure = go.Figure()
    effects = by_class(effects)
    names = list(dict.fromkeys(effect.name for effect in effects))
    titles = {effect.name: effect.title for effect in effects}
    labels = list(dict.fromkeys(effect.label for effect in effects))
    for j, label in enumerate(labels):
        those = [effect for effect in effects if effect.label == label]
        colour, symbol = _LABEL_COLOURS.get(label, GREY), _LABEL_SYMBOLS.get(label, "circle")
        figure.add_scatter(
            x=[effect.shift for effect in those],
            y=[names.index(effect.name) + 0.5 * ((j + 0.5) / len(labels) - 0.5) for effect in those],
            error_x={
                "array": [effect.high - effect.shift for effect in those],
                "arrayminus": [effect.shift - effect.low for effect in those],
                "color": colour,
                "thickness": 1.5,
                "width": 0,
            },
            mode="markers",
            marker={
                "color": colour,
                "symbol": [symbol + ("" if effect.is_sensitive else "-open") for effect in those],
                "size": 10,
                "line": {"width": 2, "color": colour},
            },
            name=text_of(label if label != "all" else "all recordings"),
            hovertext=[_effect_hover(effect) for effect in those],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": "grey", "width": 1})
    unit = score_words[0].lower() + score_words[1:]
    figure.update_xaxes(title_text=f"Mean shift of the {text_of(unit)}<br>to the right: likelier spoof", zeroline=False)
    _label_rows(figure, [titles[name] for name in names])
    return finished(figure, height=150 + max(28, 18 * len(labels)) * len(names))


def by_class(effects: Sequence[InterventionEffect]) -> tuple[InterventionEffect, ...]:
    """Those of each class; of all recordings where labels are not known."""
    return tuple(effect for effect in effects if effect.label != "all") or tuple(effects)


def _label_rows(figure: go.Figure, titles: Sequence[str]) -> None:
    figure.update_yaxes(
        tickvals=list(range(len(titles))),
        ticktext=[wrapped(title, num_chars=26) for title in titles],
        range=[len(titles) - 0.5, -0.5],
        zeroline=False,
    )


def _probe_hover(probe: Probe) -> str:
    figures = f"EER {100 * probe.eer:.1f} % ({100 * probe.low:.1f} to {100 * probe.high:.1f}), p = {probe.p_value:.3g}"
    return "<br>".join((f"<b>{text_of(probe.title)}</b>", figures, wrapped(probe.finding, num_chars=60)))


def _effect_hover(effect: InterventionEffect) -> str:
    figures = f"{effect.label}: {effect.shift:+.2f} ({effect.low:+.2f} to {effect.high:+.2f}), n {effect.num:,}"
    flipped = "" if effect.share_flipped is None else f"{100 * effect.share_flipped:.1f} % of the verdicts change"
    lines = (f"<b>{text_of(effect.title)}</b>", text_of(figures), flipped, wrapped(effect.finding, num_chars=60))
    return "<br>".join(line for line in lines if line)
