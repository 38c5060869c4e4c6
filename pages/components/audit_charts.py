"""An audit as a whole: its scores, its folders, what its verdicts are worth at a prevalence."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import Detector
from core.figures import folder_share_figure, score_histogram_figure
from core.records import Audit
from core.store.store import Store
from core.store.triage import folder_shares, score_histogram
from pages.components.prevalence_box import show_prevalence_box


def show_charts(store: Store, audit: Audit, detector: Detector | None) -> None:
    """Without the detector, only what the store alone tells."""
    left, right = st.columns(2)
    right.plotly_chart(folder_share_figure(folder_shares(store, audit.id)), key="folders")
    if detector is None:
        return
    manifest = detector.manifest
    bins = score_histogram(store, audit.id, bin_width=0.5 if manifest.calibration else None)
    figure = score_histogram_figure(bins, manifest.thresholds, score_words=manifest.score_words)
    left.plotly_chart(figure, key="histogram")
    show_prevalence_box(store, audit, detector)
