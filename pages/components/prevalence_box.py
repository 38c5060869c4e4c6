"""What the verdicts of an audit are worth: expected errors for a share of spoofs and a ratio of costs that the analyst chooses."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.checkpoints import Detector
from core.evaluation.verdict_policy import COST_RATIOS, PREVALENCES, Policy, outlooks
from core.records import Audit, TriageFilter
from core.reports import percent
from core.store.store import Store
from core.store.triage import triage_page
from pages.components.frame import escaped

_HEADS = (
    "Verdicts",
    "False accusations",
    "Missed spoofs",
    "Inconclusive",
    "Innocent among accused",
    "Called spoof here",
)


def show_prevalence_box(store: Store, audit: Audit, detector: Detector) -> None:
    """The two sliders and a row for the stored verdicts and for the cheapest threshold."""
    thresholds = detector.manifest.thresholds
    if thresholds is None or detector.manifest.calibration is None:
        return
    st.header("How many of these verdicts would be wrong?")
    left, right = st.columns(2)
    prevalence = left.select_slider(
        "Share of spoofs that you expect in this folder", PREVALENCES, 0.05, format_func=percent, key="policy-prevalence"
    )
    ratio = right.select_slider(
        "A false accusation costs as much as so many missed spoofs", COST_RATIOS, 1.0, format_func="{:g}".format, key="policy-cost"
    )
    policy = Policy(prevalence=prevalence, cost_ratio=ratio)
    rows = outlooks(detector.name, thresholds, policy, audit.num_judged) if detector.is_shipped else ()
    if not rows:
        st.info(
            f"No test scores of {detector.name} are shipped, so its error rates are not known here. "
            "**Attack accuracy** measures them on an audit with labels."
        )
        return
    counts = [triage_page(store, audit.id, TriageFilter(min_score=row.thresholds.upper), limit=1).num_rows for row in rows]
    table = [dict(zip(_HEADS, (*row.cells, f"{num:,}"), strict=True)) for row, num in zip(rows, counts, strict=True)]
    st.dataframe(pd.DataFrame(table), hide_index=True, key="policy-table")
    for row in rows:
        if row.beyond:
            st.warning(f"**{escaped(row.title)}.** {escaped(row.beyond)}", icon=":material/unknown_med:")
    st.caption(
        f"Expected of {audit.num_judged:,} judged recordings, with 95 % intervals, by the error rates measured on the shipped test "
        "set. They hold for recordings like those: on telephone lines, in noise and against new systems there are more errors "
        "(page **Stress test**). The stored verdicts stay as they are."
    )
