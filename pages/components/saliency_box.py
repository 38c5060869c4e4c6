"""The score without a box of time and frequency: how to draw one, one typed by numbers, and what each detector says without it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.explanation.excerpts import Excerpt
from core.explanation.records import CounterfactualScore, TimeFrequencyBox
from core.explanation.saliency_words import box_words, counterfactual_words
from pages.components import resources
from pages.components.frame import escaped, telling_failures
from pages.components.saliency_map import TestedMap, held_box, hold_box
from pages.components.saliency_subject import Subject


def show_box(subject: Subject, excerpt: Excerpt, maps: Sequence[TestedMap]) -> None:
    """The box, and what taking it out does to the score of each detector."""
    st.header("What if a part were not there?", anchor=False)
    if error := st.session_state.pop("saliency-box-error", None):
        st.error(error, icon=":material/error:")
    box = held_box(subject, excerpt)
    row = st.container(horizontal=True, vertical_alignment="center")
    with row:
        _show_numbers(subject, excerpt, box)
        if box is not None and st.button("Remove the box", icon=":material/close:", key="saliency-box-remove"):
            hold_box(subject, excerpt, None)
            st.rerun()
    if box is None:
        st.info(
            "Drag a box over the spectrogram, or give it by numbers: what lies in it is silenced, and the recording is scored "
            "again. It answers whether the place matters, whatever the map says.",
            icon=":material/crop_free:",
        )
        return
    st.caption(f"The box: {box_words(box, offset_s=excerpt.start_s)}")
    for shown in {shown.choice.detector.hash: shown for shown in maps}.values():
        with telling_failures():
            score = score_without(subject, excerpt, shown, box)
            detector = shown.choice.detector
            unit = " nats" if detector.manifest.calibration else ""
            columns = st.container(horizontal=True, gap="medium", vertical_alignment="center")
            columns.metric(
                f"Without the box, {escaped(detector.name)}",
                "not judged" if score.score_after is None else f"{score.score_after:+.2f}",
                None if score.change is None else f"{score.change:+.2f}",
                delta_color="off",
                width="content",
            )
            columns.markdown(escaped(counterfactual_words(score, unit=unit)), width=480)


def score_without(subject: Subject, excerpt: Excerpt, shown: TestedMap, box: TimeFrequencyBox) -> CounterfactualScore:
    """The score of an excerpt without the box, by the detector of a map.

    Raises:
        CoreError: nothing lies in the box.
    """
    detector = shown.choice.detector
    identity = (subject.sha256, subject.detection.channel, excerpt.start_s, detector.hash, box)
    return resources.without_box(*identity, _excerpt=excerpt, _detector=detector)


def _show_numbers(subject: Subject, excerpt: Excerpt, box: TimeFrequencyBox | None) -> None:
    """The box by numbers, for those who cannot drag and for what must be exact."""
    with st.popover("By numbers", icon=":material/tune:"), st.form("saliency-box-form", border=False):
        first_s, last_s = excerpt.start_s, excerpt.end_s
        from_s = st.number_input("From (s)", first_s, last_s, first_s + (box.start_s if box else 0.0), step=0.1, format="%.2f")
        to_s = st.number_input(
            "To (s)", first_s, last_s, first_s + (box.end_s if box else excerpt.duration_s), step=0.1, format="%.2f"
        )
        low_hz = st.number_input("From (Hz)", 0.0, 8_000.0, box.low_hz if box else 4_000.0, step=100.0, format="%.0f")
        high_hz = st.number_input("To (Hz)", 0.0, 8_000.0, box.high_hz if box else 8_000.0, step=100.0, format="%.0f")
        if st.form_submit_button("Score without it", type="primary"):
            with telling_failures():
                typed = TimeFrequencyBox(start_s=from_s - first_s, end_s=to_s - first_s, low_hz=low_hz, high_hz=high_hz)
                hold_box(subject, excerpt, typed)
                st.rerun()
