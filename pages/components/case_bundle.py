"""Putting what an audit found into a case bundle: who asks, how far it is, the bundle."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.evidence.bundling import bundle_zip, bundling, is_bundled, start_bundling
from core.evidence.records import SEAL
from core.jobs import Job
from core.records import TriageFilter
from core.store.store import Store
from pages.components.frame import plain, telling_failures
from pages.components.job_outcome import show_outcome
from pages.components.sign_in import allows, name_field


def show_bundling(store: Store, audit_id: int, chosen: TriageFilter, num_matching: int) -> None:
    """The form, and the last bundle of this audit."""
    if not allows("bundle"):
        return
    last = bundling(store, audit_id)
    with st.form(f"bundle-{audit_id}", border=False):
        row = st.container(horizontal=True, vertical_alignment="bottom")
        name = name_field(row, "Your name, for the log", key=f"bundle-by-{audit_id}")
        is_running = last is not None and last.is_running
        words = f"Make a case bundle of the {num_matching:,} files that match"
        if row.form_submit_button(words, icon=":material/folder_zip:", disabled=is_running or not num_matching):
            with telling_failures():
                start_bundling(store, audit_id, chosen, made_by=name)
                st.rerun()
    st.caption(
        "A report to read and print, every score and segment with the recordings' hashes, reviews, the detector and the log of who "
        "did what when, in one ZIP. `python -m core verify` checks it: any changed byte is named, and every score can be derived "
        "again."
    )
    show_outcome(
        lambda: bundling(store, audit_id),
        running="Making the bundle; each recording is read once more.",
        is_done=is_bundled,
        show_result=lambda job: _show_bundle(job, audit_id),
        failed="The bundle could not be made.",
    )


def _show_bundle(job: Job, audit_id: int) -> None:
    st.download_button(
        "The case bundle (ZIP)",
        partial(bundle_zip, job),
        file_name=f"audit-{audit_id}-bundle.zip",
        mime="application/zip",
        key=f"bundle-zip-{audit_id}",
        icon=":material/download:",
        on_click="ignore",
        help=f"Unpack it and open report.html. {SEAL} and the log's newest hash prove it later, if you keep them elsewhere.",
    )
    st.text("\n".join(map(plain, job.last_words(3).splitlines())))
