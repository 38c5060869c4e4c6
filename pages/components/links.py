"""Deep links: which audit and which file the address names, the file that is opened next, and the way back from the file."""

from __future__ import annotations

import streamlit as st

from core.errors import CoreError
from core.records import EntryDetail, TriageRow
from pages.components.frame import plain

AUDIT_PAGE = "pages/1_Batch_audit.py"
_MAX_DIGITS = 9
"""PostgreSQL's integers end at 2,147,483,647."""


def linked_id(name: str) -> int | None:
    """The number in the address under this name; None where it is absent.

    Raises:
        CoreError: it is not a number, or more than databases count to.
    """
    text = st.query_params.get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise CoreError(f"The address says {name}={text[:40]}; a number is expected. Open the page from the menu instead.")
    return int(text)


def linked_entry(selected: tuple[TriageRow, ...]) -> int | None:
    """The file to open: the one selected row, else the one that the address names. Keeps the address up to date."""
    if len(selected) == 1:
        st.query_params["entry"] = str(selected[0].entry_id)
        st.session_state["entry-selected"] = st.query_params["entry"]
    elif selected or ("entry" in st.query_params and st.query_params["entry"] == st.session_state.get("entry-selected")):
        # Deselected. One that came by link stays.
        keep_entry_open()
        st.query_params.pop("entry", None)
    return linked_id("entry")


def keep_entry_open() -> None:
    """Leaves the opened file open although its row is about to be deselected."""
    st.session_state["entry-selected"] = None


def open_entry(entry_id: int) -> None:
    """Opens a file from outside the table: its row is selected when the table is drawn next, and the address names it."""
    turn_table()
    keep_entry_open()
    st.session_state["triage-open"] = entry_id
    st.query_params["entry"] = str(entry_id)


def turn_table() -> None:
    """Has the table drawn anew, with nothing selected but what `open_entry` names."""
    st.session_state["triage-turn"] = st.session_state.get("triage-turn", 0) + 1


def show_opened_entry(detail: EntryDetail, *, page: str, query_params: dict[str, str]) -> None:
    """A file that came by link: the way back to its audit, the way to another recording on this page, its name."""
    with st.container(horizontal=True):
        st.page_link(
            AUDIT_PAGE,
            label=f"Back to audit {detail.audit_id}",
            icon=":material/arrow_back:",
            query_params={"audit": str(detail.audit_id), "entry": str(detail.row.entry_id)},
        )
        st.page_link(page, label="Another recording", icon=":material/folder_open:", query_params=query_params)
    st.text(plain(detail.row.path))
