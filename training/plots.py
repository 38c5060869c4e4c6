"""Pictures of a comparison as PNG files, by matplotlib without a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from core.metrics import error_rates
from training.compare import Comparison
from training.evaluate import is_spoof

# Okabe and Ito (2002), "Color Universal Design", without the yellow that is too light for lines on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_STYLES = ("-", "--", ":", "-.")
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_DOTS_PER_INCH = 130


def draw_plots(comparison: Comparison, folder: Path) -> tuple[Path, ...]:
    """Draws what the comparison has figures for.

    Returns:
        The files: `eer.png`, `trade-off.png`, and where there is something to show `families.png` and `cost.png`.
    """
    drawings = {"eer.png": _draw_eers, "trade-off.png": _draw_trade_off, "families.png": _draw_families, "cost.png": _draw_cost}
    written = []
    for name, draw in drawings.items():
        figure = draw(comparison)
        if figure is not None:
            figure.savefig(folder / name, dpi=_DOTS_PER_INCH, bbox_inches="tight")
            written.append(folder / name)
    return tuple(written)


def _draw_eers(c: Comparison) -> Figure | None:
    results = [*reversed(c.probes), *reversed(c.results)]
    figure, axes = _new(width=7.0, height=1.2 + 0.38 * len(results))
    pooled, within = [result.figure("EER") for result in results], [result.within_sources for result in results]
    for offset, colour, figures, label in (
        (0.12, _COLOURS[0], pooled, "pooled (interval over speakers)"),
        (-0.12, _COLOURS[1], within, "mean within sources (interval over sources)"),
    ):
        drawn = [(row, f) for row, f in enumerate(figures) if f is not None]
        if drawn:
            values = 100 * np.array([(f.value, f.low, f.high) for _, f in drawn])
            heights = [row + offset for row, _ in drawn]
            axes.hlines(heights, values[:, 1], values[:, 2], color=colour, linewidth=2)
            axes.plot(values[:, 0], heights, "o", color=colour, label=label, markersize=5)
    axes.set_yticks(range(len(results)), [result.system.name for result in results])
    axes.set_xlabel("EER (%)")
    axes.set_xlim(left=0)
    axes.axvline(50, color="grey", linewidth=0.8, linestyle=":")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8)
    return figure


def _draw_trade_off(c: Comparison) -> Figure | None:
    figure, axes = _new(width=6.0, height=6.0)
    for i, result in enumerate(c.results):
        spoof = is_spoof(result.system)
        _, miss, false_alarm = error_rates(result.system.scores, spoof)
        # A rate of 0 has no normal deviate: it is drawn at half a trial.
        half_spoof, half_bona_fide = 0.5 / spoof.sum(), 0.5 / (~spoof).sum()
        x = norm.ppf(np.clip(false_alarm, half_bona_fide, 1 - half_bona_fide))
        y = norm.ppf(np.clip(miss, half_spoof, 1 - half_spoof))
        style = {"color": _COLOURS[i % len(_COLOURS)], "linestyle": _STYLES[i // len(_COLOURS) % len(_STYLES)]}
        axes.plot(x, y, label=f"{result.system.name} ({100 * result.figures[0].value:.1f} %)", **style)
    ticks = norm.ppf(_TICKS)
    labels = [f"{100 * tick:.0f}" for tick in _TICKS]
    axes.set(xticks=ticks, yticks=ticks, xticklabels=labels, yticklabels=labels)
    axes.set(xlim=(ticks[0], ticks[-1]), ylim=(ticks[0], ticks[-1]))
    axes.set_aspect("equal")
    axes.set_xlabel("Bona fide called spoof (%)")
    axes.set_ylabel("Spoofs missed (%)")
    axes.plot(ticks[[0, -1]], ticks[[0, -1]], color="grey", linewidth=0.6)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, title="System (EER)", title_fontsize=8)
    return figure


def _draw_families(c: Comparison) -> Figure | None:
    families = sorted(set(c.results[0].system.index["family"].dropna())) if c.results else []
    rows = [family for family in families if c.results[0].figure(f"EER, {family}") is not None]
    if not rows:
        return None
    values = np.array([[100 * result.figure(f"EER, {family}").value for result in c.results] for family in rows])
    figure, axes = _new(width=2.5 + 0.75 * len(c.results), height=1.6 + 0.42 * len(rows))
    axes.imshow(values, cmap="cividis", vmin=0, vmax=50, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if value < 27 else "black")
    counts = [c.results[0].figure(f"EER, {family}").num_spoof for family in rows]
    axes.set_yticks(range(len(rows)), [f"{family} ({num:,})" for family, num in zip(rows, counts, strict=True)], fontsize=8)
    names = [result.system.name for result in c.results]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axes.set_title("EER (%) by family of attack (number of spoofs)", fontsize=9)
    return figure


def _draw_cost(c: Comparison) -> Figure | None:
    measured = [result for result in c.results if result.cost is not None]
    if not measured:
        return None
    figure, axes = _new(width=6.0, height=4.0)
    for i, result in enumerate(measured):
        eer, speed = result.figures[0], result.cost.segments_per_s
        axes.vlines(speed, 100 * eer.low, 100 * eer.high, color=_COLOURS[i % len(_COLOURS)], linewidth=2)
        axes.plot(speed, 100 * eer.value, "o", color=_COLOURS[i % len(_COLOURS)])
        axes.annotate(result.system.name, (speed, 100 * eer.value), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"Segments/s on {measured[0].cost.num_cores} cores (logarithmic)")
    axes.set_ylabel("EER (%)")
    axes.grid(alpha=0.3)
    return figure


def _new(*, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()
