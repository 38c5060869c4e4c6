"""One file of an audit, opened: the detector's evidence, the review history, copies."""

from __future__ import annotations

import os
import time

import streamlit as st

from core.checkpoints import Detector
from core.errors import CoreError
from core.records import EntryDetail, TriageRow, Verdict
from core.store.store import Store
from core.store.triage import entry_detail
from pages.components import resources
from pages.components.detection_view import show_detections
from pages.components.entry_links import show_entry_links
from pages.components.frame import plain
from pages.components.links import linked_entry


def opened_entry(store: Store, audit_id: int, selected: tuple[TriageRow, ...]) -> EntryDetail | None:
    """The file that is selected or linked; None where there is none.

    Raises:
        CoreError: there is no such file, or it belongs to another audit.
    """
    entry_id = linked_entry(selected)
    if entry_id is None:
        return None
    detail = entry_detail(store, entry_id)
    if detail.audit_id != audit_id:
        raise CoreError(f"The address names file {entry_id}, which belongs to audit {detail.audit_id}, not {audit_id}.")
    return detail


def show_entry(detail: EntryDetail, detector: Detector, *, plays: bool = False) -> None:
    """Everything that is known of a file; `plays`: it is heard at once."""
    st.text(plain(detail.row.path))
    path = detail.absolute_path
    if not os.path.exists(path):
        st.warning("The file is no longer where it was; it cannot be played. What was found is below.")
        path = None
    elif detail.sha256 is not None and resources.content_hash(path) != detail.sha256:
        st.warning("The file has changed since the audit; what was found of the old one is below. Audit the folder again.")
        path = None
    if path is not None and any(detection.verdict is not Verdict.REFUSED for detection in detail.detections):
        show_entry_links(detail.row.entry_id, detail.audit_id)
    if detail.detections:
        key = f"entry-{detail.row.entry_id}"
        show_detections(path, detail.row.path, detail.sha256, detail.info, detail.detections, detector, key=key, plays=plays)
    else:
        st.info("This file is still to be scored.")
    if detail.duplicates:
        with st.expander(f"{len(detail.duplicates)} more file(s) hold the same bytes; a review counts for all"):
            st.text("\n".join(map(plain, detail.duplicates[:100])))
    for review in detail.reviews:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(review.created_at))
        st.text(plain(f"{when}  {review.reviewer}: {review.verdict}{' - ' + review.note if review.note else ''}"))
