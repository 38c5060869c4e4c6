"""Choosing the threshold at which all systems of a page are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.evaluation.evaluate import threshold_range
from core.evaluation.operating_points import OperatingPoint, PointKind, has_own_thresholds, thresholds_at
from core.evaluation.system_records import System
from pages.components.frame import escaped

_TITLES: dict[PointKind, str] = {
    "eer": "Where both errors are equal",
    "false alarm": "Same false alarms",
    "score": "Same score",
    "own": "Their own",
}
_SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5)
_HELP = """A score at or above the threshold is called spoof.

- **Where both errors are equal**: each system at its own EER on this set.
- **Same false alarms**: each system where this share of bona fide speech is called spoof. Fair where scores have different scales.
- **Same score**: one number for all. Sensible where scores are calibrated.
- **Their own**: from which score on each detector says spoof."""


def choose_thresholds(systems: Sequence[System]) -> dict[str, float]:
    """Widgets for one rule, and the threshold it gives each system."""
    kinds = [kind for kind in _TITLES if kind != "own" or has_own_thresholds(systems)]
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    kind = left.segmented_control(
        "Threshold",
        kinds,
        default="eer",
        required=True,
        format_func=_TITLES.get,
        key=f"point-kind-{len(kinds)}",
        help=_HELP,
        persist_state="session",
        wrap=True,
    )
    thresholds = thresholds_at(systems, OperatingPoint(kind=kind, value=_value(kind, systems, right)))
    words = ", ".join(f"{escaped(name)} {escaped(f'{threshold:+.3f}')}" for name, threshold in thresholds.items())
    st.caption(f"Called spoof from this score on: {words}.")
    return thresholds


def _value(kind: PointKind, systems: Sequence[System], place: st.delta_generator.DeltaGenerator) -> float | None:
    """The slider of those rules that have one."""
    if kind == "false alarm":
        return place.select_slider(
            "Bona fide called spoof",
            _SHARES,
            value=0.01,
            format_func=lambda share: f"{100 * share:g} %",
            key="point-share",
            persist_state="session",
        )
    if kind != "score":
        return None
    low, high = threshold_range(systems)
    first = thresholds_at(systems[:1], OperatingPoint(kind="eer"))[systems[0].name]
    return place.slider(
        "Score",
        low,
        high,
        value=min(high, max(low, first)),
        step=(high - low) / 1_000,
        format="%.3f",
        key=f"point-score-{low}-{high}",
    )
