"""Explaining the files of an audit that match the filters: how many, by which method, how far it is, the result."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.checkpoints import Detector
from core.explanation.audit_explaining import explaining, explanations_zip, is_explained, start_explaining
from core.explanation.records import METHOD_NAMES, available_methods
from core.jobs import Job
from core.records import TriageFilter
from core.store.store import Store
from pages.components.frame import telling_failures
from pages.components.job_outcome import show_outcome
from pages.components.sign_in import allows

MAX_EXPLAINED = 500


def show_explaining(store: Store, audit_id: int, detector: Detector, chosen: TriageFilter, num_matching: int) -> None:
    """The form, and the last explaining of this audit."""
    if not allows("make"):
        return
    last = explaining(store, audit_id)
    with st.form(f"explain-{audit_id}", border=False):
        row = st.container(horizontal=True, vertical_alignment="bottom")
        most = max(1, min(MAX_EXPLAINED, num_matching))
        limit = row.number_input(
            f"The first, of {num_matching:,} that match the filters", 1, most, min(20, most), key=f"explain-limit-{audit_id}"
        )
        methods = available_methods(detector)
        method = row.selectbox("Method", methods, format_func=METHOD_NAMES.__getitem__, key=f"explain-method-{audit_id}")
        is_running = last is not None and last.is_running
        if row.form_submit_button("Explain them", icon=":material/center_focus_strong:", disabled=is_running or not num_matching):
            with telling_failures():
                start_explaining(store, audit_id, chosen, limit=limit, method=method)
                st.rerun()
    st.caption(
        "What the detector looked at in each, tested as on the page **Saliency**: a page to read, a table, pictures and arrays. "
        "A few seconds per file; it goes on when this tab is closed, and goes on where it stopped when started again."
    )
    show_outcome(
        lambda: explaining(store, audit_id),
        running="Explaining, the first one takes longest.",
        is_done=is_explained,
        show_result=lambda job: _show_maps(job, audit_id),
        failed="The files could not be explained.",
    )


def _show_maps(job: Job, audit_id: int) -> None:
    st.download_button(
        "The maps (ZIP)",
        partial(explanations_zip, job),
        file_name=f"audit-{audit_id}-explanations.zip",
        mime="application/zip",
        key=f"explain-zip-{audit_id}",
        icon=":material/download:",
        on_click="ignore",
        help="Unpack it and open index.html. Filters that were changed since then are not in it: explain again.",
    )
