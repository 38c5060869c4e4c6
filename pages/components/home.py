"""What Home shows below its title: one recording checked, recent audits, the detector in use."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import detector_named
from core.records import Verdict
from pages.components import resources
from pages.components.audit_progress import show_recent_audits
from pages.components.detection_view import show_detections, show_figures, show_missing_calibration
from pages.components.detector_import import show_detector_import
from pages.components.detector_picker import pick_detector
from pages.components.entry_links import show_recording_links
from pages.components.first_steps import show_first_steps
from pages.components.frame import telling_failures
from pages.components.recording_input import choose_recording


def show_home() -> None:
    """Draws it."""
    with telling_failures():
        show_first_steps(resources.store())
    with telling_failures():
        detector = pick_detector(key="home-detector")
        show_missing_calibration(detector)
        with choose_recording() as chosen:
            if chosen is None:
                st.info(
                    "Nothing chosen yet. To check a whole folder, go to **Batch audit**; "
                    "to hear what this is about, try a sample: all of them are synthetic.",
                    icon=":material/arrow_upward:",
                )
            else:
                record = resources.scored(chosen.path, detector, chosen.channels)
                show_detections(chosen.path, chosen.name, record.sha256, record.info, record.detections, detector, key="home")
                if any(detection.verdict is not Verdict.REFUSED for detection in record.detections):
                    show_recording_links()

    st.divider()
    st.header("Recent audits")
    with telling_failures():
        show_recent_audits(resources.store())

    st.divider()
    st.header("The detector in use")
    with telling_failures():
        show_figures(detector_named())
        show_detector_import()
