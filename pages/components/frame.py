"""The frame of every page: title, sidebar with the detector in use, and how a failure is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.checkpoints import detector_named
from core.errors import CoreError
from core.hostile_text import visible
from pages.components.sign_in import require_sign_in

_LIMITS = (
    "A score is evidence, not proof. It holds for recordings like those the detector was measured on; "
    "read the error rates in its card before you rely on it."
)
_DARK_STYLE = """<style>
[data-testid=stBaseButton-primary] p, [data-testid=stBaseButton-primaryFormSubmit] p, [data-testid=stMultiSelect] span[title]
{ color: #11181F !important; }
</style>"""
"""Streamlit writes white on the dark theme's light blue, 2.3:1; no one blue keeps 4.5:1 both under white and on the background."""


def open_page(title: str, *, icon: str, lead: str) -> None:
    """Sets the page up; the first call of every page.

    Args:
        title: the analyst's task.
        icon: an emoji; the tab's Material symbols would be fetched from Google, and this program calls nobody.
        lead: one sentence on what the page does.
    """
    st.set_page_config(page_title=f"{title} - Earwitness", page_icon=icon, layout="wide")
    require_sign_in()
    if st.context.theme.type == "dark":
        st.html(_DARK_STYLE)
    st.title(title)
    st.markdown(lead)
    with st.sidebar:
        st.markdown("**Earwitness**")
        try:
            detector = detector_named()
            st.caption(f"Detector in use: **{escaped(detector.name)}**  \n`{detector.hash[:12]}`")
        except CoreError:
            st.caption("No detector in use.")
        st.caption(_LIMITS)
        st.page_link("pages/11_Help.py", label="What detection cannot do", icon=":material/help:", query_params={"doc": "limits"})


@contextmanager
def telling_failures() -> Iterator[None]:
    """Shows a failure that the user can mend in its own words; bugs pass through."""
    try:
        yield
    except CoreError as error:
        st.error(escaped(str(error)), icon=":material/error:")


def plain(text: str) -> str:
    """Hostile text with what cannot be seen (line breaks, marks that turn the reading direction) spelled out."""
    return visible(text)


def escaped(text: str) -> str:
    """Hostile text (file names, metadata) made harmless inside Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>$~:&-])", r"\\\1", plain(text))
