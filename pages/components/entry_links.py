"""The ways from a recording to the pages about one recording."""

from __future__ import annotations

import streamlit as st

from pages.components.attack_sources import LAB_PAGE
from pages.components.saliency_subject import SALIENCY_PAGE
from pages.components.stress_subject import STRESS_PAGE

_WAYS = (
    (SALIENCY_PAGE, "See, hear and test what the detector looked at", ":material/center_focus_strong:"),
    (STRESS_PAGE, "Does the verdict survive a phone call?", ":material/phone_in_talk:"),
    (LAB_PAGE, "Make spoofs of it", ":material/science:"),
)


def show_recording_links() -> None:
    """A link to each page that takes along the recording that is chosen here."""
    with st.container(horizontal=True):
        st.page_link(SALIENCY_PAGE, label=_WAYS[0][1], icon=_WAYS[0][2])
        st.page_link(STRESS_PAGE, label=_WAYS[1][1], icon=_WAYS[1][2], query_params={"view": "recording"})


def show_entry_links(entry_id: int, audit_id: int) -> None:
    """A link to each page, with the file in its address."""
    with st.container(horizontal=True):
        for page, label, icon in _WAYS:
            st.page_link(page, label=label, icon=icon, query_params={"audit": str(audit_id), "entry": str(entry_id)})
