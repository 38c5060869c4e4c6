"""One file of an audit, opened: the detector's evidence, the review history, copies."""

from __future__ import annotations

import os
import time

import streamlit as st

from core.checkpoints import Detector
from core.store import Store
from core.triage import entry_detail
from pages.components.detection_view import show_detections


def show_entry(store: Store, entry_id: int, detector: Detector) -> None:
    """Everything that is known of a file."""
    detail = entry_detail(store, entry_id)
    st.subheader("Recording")
    st.text(detail.row.path)
    if not os.path.exists(detail.absolute_path):
        st.warning("The file is no longer where it was; it cannot be played. What was found is below.")
    if detail.detections:
        sha256 = detail.sha256 if os.path.exists(detail.absolute_path) else None
        show_detections(
            detail.absolute_path, detail.row.path, sha256, detail.info, detail.detections, detector, key=f"entry-{entry_id}"
        )
    else:
        st.info("This file is still to be scored.")
    if detail.duplicates:
        with st.expander(f"{len(detail.duplicates)} more file(s) hold the same bytes; a review counts for all"):
            st.text("\n".join(detail.duplicates[:100]))
    for review in detail.reviews:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(review.created_at))
        st.text(f"{when}  {review.reviewer}: {review.verdict}{' - ' + review.note if review.note else ''}")
