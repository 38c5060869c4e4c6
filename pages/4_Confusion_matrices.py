"""What systems call spoof and bona fide, beside a detector that always says spoof; their scores, DET and verdicts per attack."""

from __future__ import annotations

import streamlit as st

from pages.components import resources
from pages.components.add_systems import show_add_systems
from pages.components.confusion_view import show_det, show_histograms, show_matrices, show_reliability, show_verdicts
from pages.components.figure_view import choose_picture_format
from pages.components.frame import open_page, telling_failures
from pages.components.operating_point import choose_thresholds
from pages.components.system_picker import choose_systems

open_page(
    "Confusion matrices",
    icon="🧮",
    lead="How often is speech called fake, and a fake called speech? Systems at one threshold or each at its own, beside the "
    "detector that always says spoof.",
)
choose_picture_format()
with telling_failures():
    chosen = choose_systems()
    show_add_systems(resources.store())
    if chosen:
        thresholds = choose_thresholds(chosen.systems)
        show_matrices(chosen, thresholds)
        scores, det, reliability, verdicts = st.tabs(
            ["Scores", "DET", "Reliability", "Verdicts by attack"], key="confusion-tab", on_change="rerun"
        )
        if scores.open:
            with scores:
                show_histograms(chosen, thresholds)
        if det.open:
            with det:
                show_det(chosen, thresholds)
        if reliability.open:
            with reliability:
                show_reliability(chosen)
        if verdicts.open:
            with verdicts, telling_failures():
                show_verdicts(chosen)
