"""Choosing one of the installed detectors."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import Detector, detector_named
from pages.components import resources
from pages.components.frame import plain


def pick_detector(*, key: str) -> Detector:
    """A list of the installed detectors; the one in use when none is chosen comes first.

    Args:
        key: of the widget, unique on the page.

    Raises:
        DetectorError: there is none.
    """
    default = detector_named()
    others = [detector for detector in resources.detectors() if detector.hash != default.hash]
    detectors = [default, *others]
    chosen = st.selectbox("Detector", range(len(detectors)), format_func=lambda i: plain(detectors[i].name), key=key)
    return detectors[chosen]
