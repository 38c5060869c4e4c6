"""What the verdict "inconclusive" costs and gives: the present band's shares with intervals, and a curve over other widths."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.evaluation.curve_figures import band_figure
from core.evaluation.inconclusive_band import band_frame, share_words
from core.terms import explained
from pages.components import resources
from pages.components.figure_view import show_figure
from pages.components.frame import escaped, plain
from pages.components.system_picker import Chosen

_HEADS = ("Bona fide undecided", "Spoofs undecided", "Decided bona fide wrong", "Decided spoofs wrong")


def show_inconclusive(chosen: Chosen) -> None:
    """A table of the systems with verdicts of their own, and the curve of one of them; nothing where there is none."""
    measured = {system.name: resources.bands(chosen.fingerprint, system, name=system.name) for system in chosen.systems}
    bands = {name: found for name, found in measured.items() if found}
    if not bands:
        return
    st.header("What do verdicts leave undecided?")
    rows = []
    for name, found in bands.items():
        present = next(band for band in found if band.width == 1)
        limits = f"{present.thresholds.lower:+.2f} to {present.thresholds.upper:+.2f}"
        shares = zip(_HEADS, map(share_words, present.shares), strict=True)
        rows.append({"System": plain(name), "Inconclusive": limits} | dict(shares))
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="bands")
    st.caption(
        "At the detector's own thresholds, on this set. A score between the two is inconclusive; errors are those among the "
        "recordings that got a verdict. With 95 % intervals over speakers where they are known.",
        help=explained("Inconclusive", "Threshold", "95 % interval"),
    )
    name = st.selectbox("Were the band wider or narrower", list(bands), format_func=plain, key="band-system")
    show_figure(
        band_figure(bands[name]),
        key="inconclusive-band",
        words=f"Shares that {name} leaves undecided and gets wrong, against the width of its inconclusive band",
        numbers=band_frame(bands[name]),
    )
    st.caption(
        f"The band of {escaped(name)} widened and narrowed around its middle. The detector's thresholds stay as they are: "
        "this shows what others would be worth. Choosing them by this very set makes them look better than they are."
    )
