"""Putting what an audit found into a case bundle: who asks, how far it is, the bundle."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.evidence.bundling import bundle_zip, bundling, is_bundled, start_bundling
from core.evidence.records import SEAL
from core.jobs import Job
from core.records import TriageFilter
from core.store.store import Store
from pages.components.frame import escaped, plain, telling_failures

REFRESH_S = 1.0


def show_bundling(store: Store, audit_id: int, chosen: TriageFilter, num_matching: int) -> None:
    """The form, and the last bundle of this audit."""
    last = bundling(store, audit_id)
    with st.form(f"bundle-{audit_id}", border=False):
        row = st.container(horizontal=True, vertical_alignment="bottom")
        name = row.text_input("Your name, for the log", key=f"bundle-by-{audit_id}", max_chars=80)
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
    if last is not None:
        _show_last(store, audit_id)


def _show_last(store: Store, audit_id: int) -> None:
    was_running = bundling(store, audit_id).is_running

    @st.fragment(run_every=REFRESH_S if was_running else None)
    def outcome() -> None:
        job = bundling(store, audit_id)
        if was_running and not job.is_running:
            st.rerun()
        _show_job(job, audit_id)

    outcome()


def _show_job(job: Job, audit_id: int) -> None:
    if job.is_running:
        st.info("Making the bundle; each recording is read once more.", icon=":material/hourglass_top:")
        st.text(plain(job.last_words()))
    elif is_bundled(job):
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
        st.text(plain(job.last_words(3)))
    else:
        words = job.last_words() or "The process ended without a word."
        st.error(f"The bundle could not be made. {escaped(words.removeprefix('error: '))}", icon=":material/error:")
