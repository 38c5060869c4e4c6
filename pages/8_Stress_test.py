"""Does a verdict survive a phone call? Attacks under each condition, one recording, shortcuts. `?view=NAME&entry=ID` links."""

from __future__ import annotations

import streamlit as st

from pages.components.figure_view import choose_picture_format
from pages.components.frame import open_page, telling_failures
from pages.components.shortcut_report import show_shortcut_tab
from pages.components.stress_card import show_recording_tab
from pages.components.stress_heat import show_heat_tab
from pages.components.stress_subject import first_view

open_page(
    "Stress test",
    icon="🌩️",
    lead="Does a verdict survive a phone call, a codec, noise, a room? See what changes error rates, what flips one recording, and "
    "whether trivial features give labels away.",
)
choose_picture_format()
conditions, recording, shortcuts = st.tabs(
    ["Conditions", "One recording", "Shortcuts"], default=first_view(), key="stress-tab", on_change="rerun"
)
if conditions.open:
    with conditions, telling_failures():
        show_heat_tab()
if recording.open:
    with recording, telling_failures():
        show_recording_tab()
if shortcuts.open:
    with shortcuts, telling_failures():
        show_shortcut_tab()
