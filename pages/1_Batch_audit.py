"""Audit a folder: start, watch, triage, review, export. `?audit=ID` reopens an audit, `&entry=ID` a file of it."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import detector_named
from core.store.store import Store
from pages.components import resources
from pages.components.audit_charts import show_charts
from pages.components.audit_progress import show_newer_button, show_progress, show_recent_audits
from pages.components.case_bundle import show_bundling
from pages.components.detection_view import show_missing_calibration
from pages.components.entry_view import opened_entry
from pages.components.explain_selection import show_explaining
from pages.components.export_buttons import show_exports
from pages.components.frame import open_page, telling_failures
from pages.components.links import linked_id
from pages.components.new_audit import show_new_audit
from pages.components.review_desk import show_desk
from pages.components.review_form import show_review_form
from pages.components.telephone_advice import advise_on_audit
from pages.components.triage_table import choose_filter, show_table


def show_start(store: Store) -> None:
    """No audit is chosen: a new one, or one from before."""
    show_new_audit(store)
    st.divider()
    st.header("Earlier audits")
    show_recent_audits(store, limit=20)


def show_audit(store: Store, audit_id: int) -> None:
    """One audit: how far it is, charts, triage, the opened file, exports."""
    audit = store.audit(audit_id)
    st.page_link("pages/1_Batch_audit.py", label="All audits, new audit", icon=":material/arrow_back:", query_params={})
    st.text(f"Audit {audit.id}: {audit.folder}\nDetector: {audit.detector_name} {audit.detector_hash[:12]}")
    show_progress(store, audit_id)
    if not audit.num_done:
        st.info("The first results appear here as soon as they are in.")
        return
    detector = None
    with telling_failures():  # without it the scores stand, their thresholds and pictures do not
        detector = detector_named(audit.detector_hash)
    is_calibrated = detector is None or detector.manifest.calibration is not None
    if detector:
        show_missing_calibration(detector)
        advise_on_audit(store, audit, detector)
    table, charts = st.tabs(["Triage", "Charts"])
    with table:
        chosen = choose_filter(store, audit, is_calibrated=is_calibrated)
        show_newer_button(audit)
        selected, page = show_table(store, audit_id, chosen, is_calibrated=is_calibrated)
        message = st.empty()  # always there, so that what follows keeps its place and its half-filled fields
        if saved := st.session_state.pop("review-saved", None):
            message.success(saved)
        opened = opened_entry(store, audit_id, selected)
        if opened:
            show_desk(store, opened, page, chosen, detector)
        elif selected:
            show_review_form(store, audit_id, selected, chosen, page.num_rows)
        if detector and page.num_rows:
            st.header("What did the detector look at?")
            show_explaining(store, audit_id, detector, chosen, page.num_rows)
        st.header("Export")
        show_exports(store, audit_id, chosen, page.num_rows)
        st.header("Case bundle")
        show_bundling(store, audit_id, chosen, page.num_rows)
    with charts:  # after the table, which is what is waited for
        show_charts(store, audit, detector)


open_page(
    "Batch audit",
    icon="🗂️",
    lead="Score every recording of a folder, sort them by risk, listen, decide, export. An audit goes on when this tab is closed.",
)
with telling_failures():
    audit_id = linked_id("audit")
    if audit_id is None:
        show_start(resources.store())
    else:
        show_audit(resources.store(), audit_id)
