"""Where more systems come from: score files, and audits that are given labels. Closed until it is wanted."""

from __future__ import annotations

import streamlit as st

from core.evaluation.labelled_audits import audit_of_key, key_of_audit
from core.evaluation.systems import attach_protocol
from core.records import Audit
from core.store.store import Store
from pages.components import resources
from pages.components.frame import plain, telling_failures
from pages.components.links import AUDIT_PAGE
from pages.components.score_import import IMPORT_ROUND, read_uploaded_protocol, show_score_import
from pages.components.sign_in import allows, signed_in_name
from pages.components.system_picker import open_systems


def show_add_systems(store: Store) -> None:
    """An expander with both ways, closed again after an import."""
    number = st.session_state.setdefault(IMPORT_ROUND, 0)
    with st.expander("Add systems", icon=":material/upload_file:", key=f"add-systems-{number}"):
        if not allows("make"):
            return
        files, audits = st.tabs(["Score files", "An audit"])
        with files, telling_failures():
            show_score_import()
        with audits, telling_failures():
            _show_audits(store)


def _show_audits(store: Store) -> None:
    """A protocol for an audit that has none; reviews need no attaching."""
    st.markdown(
        "An audit is a system as soon as the truth about its recordings is known. Recordings that were **reviewed** as spoof or "
        "bona fide count by themselves: such audits are in the list of trials above. Or attach a **protocol**, by file name:"
    )
    listing = {audit.id: audit for audit in store.recent_audits(100)}
    if not listing:
        st.info("No audits yet: score a folder first.", icon=":material/folder_open:")
        st.page_link(AUDIT_PAGE, label="Batch audit", icon=":material/arrow_forward:")
        return
    left, right = st.columns(2)
    audit_id = left.selectbox("Audit", list(listing), format_func=lambda key: _title(listing[key]), key="label-audit")
    sets = {summary.key: summary for summary in resources.trial_sets() if audit_of_key(summary.key) is None}
    key = right.selectbox(
        "Labels of",
        list(sets),
        index=None,
        format_func=lambda key: plain(sets[key].name),
        key="label-set",
        placeholder="a protocol file",
    )
    text = "Of any ASVspoof, or a table with the columns utterance and label; also gzipped."
    upload = None if key else st.file_uploader("Protocol", key="label-protocol", help=text)
    labels = resources.stored_set(sets[key]) if key else read_uploaded_protocol(upload, key="label") if upload else None
    if st.button("Attach the labels", icon=":material/label:", disabled=labels is None, key="label-attach"):
        num = attach_protocol(store, audit_id, labels, by=signed_in_name())
        st.session_state[IMPORT_ROUND] += 1
        st.toast(f"{num:,} recordings of audit {audit_id} have labels now.")
        open_systems(key_of_audit(audit_id), [])


def _title(audit: Audit) -> str:
    return plain(f"Audit {audit.id}: {audit.folder}, {audit.num_done:,} files")
