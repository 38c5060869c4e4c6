"""Downloads of an audit's rows; each file is made when its button is pressed."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.records import TriageFilter
from core.store.exports import EXPORT_FORMATS, export_bytes
from core.store.store import Store
from pages.components.sign_in import signed_in_name


@st.fragment  # a file holds what was chosen when the page was last drawn, which must not lag behind the toggle
def show_exports(store: Store, audit_id: int, chosen: TriageFilter, num_matching: int) -> None:
    """A button per format, for all files or those that match the filters."""
    only = st.toggle(f"Only the {num_matching:,} files that match the filters", key=f"export-filtered-{audit_id}")
    wanted = chosen if only else TriageFilter()
    row = st.container(horizontal=True)
    for suffix, media_type in EXPORT_FORMATS.items():
        row.download_button(
            suffix.removeprefix(".").upper(),
            partial(export_bytes, store, audit_id, suffix, wanted, by=signed_in_name()),
            file_name=f"audit-{audit_id}{'-filtered' if only else ''}{suffix}",
            mime=media_type,
            key=f"export-{audit_id}-{suffix}",
            icon=":material/download:",
            on_click="ignore",
        )
