"""What can be taken away from the Saliency page: one HTML file of all of it, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.explanation.excerpts import Excerpt
from core.explanation.files import draw_explanation
from core.explanation.report import ReportedMap, SaliencyReport, report_html
from pages.components.saliency_box import score_without
from pages.components.saliency_map import TestedMap, held_box, make_sounds
from pages.components.saliency_subject import Subject


def show_exports(
    subject: Subject, excerpt: Excerpt, maps: Sequence[TestedMap], *, agreement: float | None, quantile: float, opacity: float
) -> None:
    """Buttons; each file is made when its button is pressed."""
    st.header("Take it with you", anchor=False)

    box = held_box(subject, excerpt)
    report = SaliencyReport(
        name=subject.name,
        sha256=subject.sha256,
        excerpt=excerpt,
        maps=tuple(_reported(subject, excerpt, shown, quantile) for shown in maps),
        agreement=agreement,
        box=box,
        opacity=opacity,
    )
    row = st.container(horizontal=True)
    row.download_button(
        "All of it (HTML)",
        partial(report_html, report),
        file_name="saliency.html",
        mime="text/html",
        key="saliency-html",
        icon=":material/download:",
        on_click="ignore",
        help="One file that opens anywhere, without a connection: pictures to zoom into, sounds to play, tests, versions.",
    )
    for i, shown in enumerate(maps):
        picture = partial(draw_explanation, shown.explanation, test=shown.test, samples=excerpt.samples)
        row.download_button(
            "Picture (PNG)" if len(maps) == 1 else f"Picture {i + 1} (PNG)",
            picture,
            file_name=f"saliency-{i + 1}.png",
            mime="image/png",
            key=f"saliency-png-{i}",
            icon=":material/image:",
            on_click="ignore",
            help="Spectrogram and map with their axes. The camera above a figure takes the picture as it is on the screen.",
        )


def _reported(subject: Subject, excerpt: Excerpt, shown: TestedMap, quantile: float) -> ReportedMap:
    """A map with its sounds and its counterfactual, which the page has shown already."""
    manifest, box = shown.choice.detector.manifest, held_box(subject, excerpt)
    return ReportedMap(
        explanation=shown.explanation,
        test=shown.test,
        audio=make_sounds(subject, excerpt, shown, quantile),
        thresholds=manifest.thresholds,
        score_words=manifest.score_words,
        counterfactual=None if box is None else score_without(subject, excerpt, shown, box),
    )
