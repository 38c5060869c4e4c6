"""Analysts' reviews of an audit: how far they agree, what is to be looked at again. `?audit=ID` opens an audit's."""

from __future__ import annotations

import streamlit as st

from pages.components import resources
from pages.components.agreement_view import show_agreement
from pages.components.frame import open_page, plain, telling_failures
from pages.components.links import linked_id

open_page(
    "Reviews",
    icon="🧑‍⚖️",
    lead="See how far analysts agree on an audit's recordings, and settle what they see differently.",
)
with telling_failures():
    store = resources.store()
    audits = {audit.id: audit for audit in store.recent_audits(100)}
    linked = linked_id("audit")
    if linked is not None and linked not in audits:
        audits[linked] = store.audit(linked)
    if not audits:
        st.info("No audits yet. **Batch audit** scores a folder; its recordings are reviewed there.", icon=":material/folder_open:")
    else:
        numbers = list(audits)
        chosen = st.selectbox(
            "Audit",
            numbers,
            numbers.index(linked) if linked is not None else 0,
            format_func=lambda number: plain(f"{number}: {audits[number].folder}"),
            key=f"reviews-audit-{linked}",
        )
        show_agreement(store, chosen)
        st.header("What reviews are good for")
        st.markdown(
            "They are labels: **Attack accuracy** measures detectors on them, and "
            f"`python -m core calibrate-detector {chosen} --reviews --name NEW` makes a new detector whose scores fit them. The "
            "old one stays, and the new one says which reviews it was fitted to and what that was worth on recordings that the fit "
            "did not see."
        )
