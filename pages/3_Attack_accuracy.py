"""Which fakes does a detector miss? Figures per attack of systems side by side, with their errors. `?set=KEY&system=NAME` links."""

from __future__ import annotations

import streamlit as st

from pages.components import resources
from pages.components.add_systems import show_add_systems
from pages.components.error_list import show_errors
from pages.components.figure_view import choose_picture_format
from pages.components.frame import open_page, telling_failures
from pages.components.group_table import show_groups
from pages.components.inconclusive_view import show_inconclusive
from pages.components.operating_point import choose_thresholds
from pages.components.system_picker import choose_systems

open_page(
    "Attack accuracy",
    icon="🎯",
    lead="Which fakes does a detector miss? Systems side by side, per attack, with intervals, and their errors to listen to.",
)
choose_picture_format()
with telling_failures():
    chosen = choose_systems()
    show_add_systems(resources.store())
    if chosen:
        thresholds = choose_thresholds(chosen.systems)
        clicked = show_groups(chosen, thresholds)
        if clicked:
            show_errors(resources.store(), clicked, thresholds[clicked.system.name])
        else:
            st.caption("Click a cell of the table to see what that system got wrong there.")
        show_inconclusive(chosen)
