"""A file opened for review: its neighbours in the table, what the detector says of it, and the analyst's verdict beside that."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import Detector
from core.records import EntryDetail, TriageFilter, TriagePage
from core.store.store import Store
from pages.components.entry_view import show_entry
from pages.components.links import open_entry
from pages.components.review_form import show_review_form


def show_desk(store: Store, opened: EntryDetail, page: TriagePage, chosen: TriageFilter, detector: Detector | None) -> None:
    """Everything that a review takes, without going back to the table between two files.

    Args:
        store: with the audit.
        opened: the file.
        page: the rows of the table, in its order.
        chosen: the filter that they match.
        detector: that of the audit; None where it is no longer installed.
    """
    ids = [row.entry_id for row in page.rows]
    place = ids.index(opened.row.entry_id) if opened.row.entry_id in ids else None
    before = ids[place - 1] if place else None
    after = ids[place + 1] if place is not None and place + 1 < len(ids) else None
    st.header("Recording" if place is None else f"Recording {place + 1} of {len(ids)} on this page of the table")
    with st.container(horizontal=True, vertical_alignment="center"):
        by_key = st.session_state.get("desk-keys", True)
        _show_way("Previous", before, icon=":material/navigate_before:", shortcut="P" if by_key else None)
        _show_way("Next", after, icon=":material/navigate_next:", shortcut="N" if by_key else None)
        st.toggle("Keys", value=True, key="desk-keys", help="S, I, B: save your verdict and open the next. P, N: previous, next.")
        plays = st.toggle("Play at once", key="desk-plays", help="A file is heard as soon as it is opened.")
    left, right = st.columns([5, 2], gap="medium")
    with right:
        show_review_form(store, opened.audit_id, (opened.row,), chosen, page.num_rows, by_key=by_key, then=after)
    with left:
        if detector:
            show_entry(opened, detector, plays=plays)


def _show_way(label: str, entry_id: int | None, *, icon: str, shortcut: str | None) -> None:
    st.button(
        label,
        icon=icon,
        shortcut=shortcut,
        disabled=entry_id is None,
        on_click=open_entry,
        args=(entry_id,),
        key=f"desk-{label}",
    )
