"""Is one system better than another, really? Differences, disagreements, scores. `?set=KEY&system=A&system=B` links."""

from __future__ import annotations

import streamlit as st

from pages.components import resources
from pages.components.add_systems import show_add_systems
from pages.components.comparison_view import compare, show_answer, show_differences, show_disagreements, show_scatter
from pages.components.figure_view import choose_picture_format
from pages.components.frame import open_page, telling_failures
from pages.components.operating_point import choose_thresholds
from pages.components.system_picker import choose_pair

open_page(
    "Compare",
    icon="⚖️",
    lead="Is one better than the other, really? Two systems on the same recordings: what differs by more than chance, and where "
    "they disagree.",
)
choose_picture_format()
with telling_failures():
    chosen = choose_pair()
    show_add_systems(resources.store())
    if chosen:
        thresholds = choose_thresholds(chosen.systems)
        comparison = compare(chosen, thresholds)
        show_answer(chosen, comparison)
        differences, disagreements, scores = st.tabs(
            ["Differences", "Disagreements", "Scores"], key="compare-tab", on_change="rerun"
        )
        if differences.open:
            with differences:
                show_differences(comparison)
        if disagreements.open:
            with disagreements:
                show_disagreements(resources.store(), comparison)
        if scores.open:
            with scores:
                show_scatter(chosen, comparison)
