"""One tested map on the Saliency page: badge, picture with the box to drag, the sounds, and what the tests measured."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.calibration import verdict_of
from core.errors import CoreError
from core.explanation.excerpts import Excerpt
from core.explanation.records import EvidenceAudio, Explanation, SaliencyTest, TimeFrequencyBox
from core.explanation.saliency_figures import drawn_box, evidence_figure
from core.explanation.saliency_words import badge_words, change_words, empty_words, picture_words, test_lines
from core.preview import wav_bytes
from pages.components import resources
from pages.components.frame import escaped
from pages.components.saliency_choices import MapChoice
from pages.components.saliency_subject import Subject

_BOX, _NUM_BOXES = "saliency-box", "saliency-num-boxes"


@dataclass(frozen=True, slots=True)
class TestedMap:
    """A map with what it is of and how it was made."""

    choice: MapChoice
    explanation: Explanation
    test: SaliencyTest


def make_map(subject: Subject, excerpt: Excerpt, choice: MapChoice) -> TestedMap:
    """The map of a choice and its test, computed once.

    Raises:
        CoreError: the detector cannot be explained so, or there is too little sound.
    """
    made = resources.tested_map(*_identity(subject, excerpt, choice), _excerpt=excerpt, _detector=choice.detector)
    return TestedMap(choice, *made)


def make_sounds(subject: Subject, excerpt: Excerpt, shown: TestedMap, quantile: float) -> EvidenceAudio:
    """What the marked part sounds like, and the rest.

    Raises:
        CoreError: there is too little sound.
    """
    return resources.evidence_sounds(
        *_identity(subject, excerpt, shown.choice),
        quantile,
        _excerpt=excerpt,
        _detector=shown.choice.detector,
        _explanation=shown.explanation,
    )


def show_head(shown: TestedMap) -> None:
    """Score, verdict and badge: what one reads before the picture."""
    manifest = shown.choice.detector.manifest
    score = shown.explanation.spoof_score
    row = st.container(horizontal=True, gap="medium", vertical_alignment="center")
    row.metric(
        manifest.score_words,
        f"{score:+.2f}",
        verdict_of(score, manifest.thresholds),
        delta_arrow="off",
        delta_color="off",
        width="content",
    )
    with row:
        icon = ":material/verified:" if shown.test.passes else ":material/block:"
        st.badge(badge_words(shown.test), icon=icon, color="green" if shown.test.passes else "gray", help=shown.test.words)


def show_picture(subject: Subject, excerpt: Excerpt, shown: TestedMap, *, opacity: float, number: int) -> None:
    """Waveform, sound and pauses, spectrogram, map and segments; a box can be dragged over the spectrogram."""
    manifest = shown.choice.detector.manifest
    figure = evidence_figure(
        excerpt,
        shown.explanation,
        thresholds=manifest.thresholds,
        score_words=manifest.score_words,
        opacity=opacity,
        is_trusted=shown.test.passes,
        box=held_box(subject, excerpt),
    )
    # A new key where a box was taken away: Plotly would keep its frame.
    key = f"saliency-figure-{number}-{subject.key}-{excerpt.start_s}-{st.session_state.get(_NUM_BOXES, 0)}"
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: _take_box(key, subject, excerpt),
        selection_mode="box",
        config={"toImageButtonOptions": {"filename": "saliency", "scale": 2}, "displaylogo": False},
        alt="Waveform, sound and pauses, spectrogram with the saliency map, and segment scores on one time axis",
    )
    st.caption(picture_words(shown.explanation))
    if shown.explanation.is_empty:
        st.warning(escaped(empty_words(shown.explanation)), icon=":material/visibility_off:")
    elif not shown.test.passes:
        st.warning(f"{shown.test.words} It is drawn in grey; do not read it as evidence.", icon=":material/block:")


def show_sounds(subject: Subject, excerpt: Excerpt, shown: TestedMap, quantile: float) -> None:
    """The marked part and the rest, each with its player and what it does to the score."""
    audio = make_sounds(subject, excerpt, shown, quantile)
    row = st.container(horizontal=True, gap="medium")
    parts = (("Only the evidence", audio.only, audio.score_only), ("Without the evidence", audio.without, audio.score_without))
    for title, samples, score in parts:
        with row.container(width=300):
            st.markdown(f"**{title}**")
            st.audio(wav_bytes(samples), format="audio/wav", alt=title)
            st.caption(change_words(audio.score, score))
    if not shown.explanation.has_frequencies:
        st.caption("This detector is shown no frequencies: the evidence is moments in time, at all frequencies.")


def show_tests(shown: TestedMap) -> None:
    """What is behind the badge."""
    lines = test_lines(shown.test)
    frame = pd.DataFrame(
        {
            "Test": [line.name for line in lines],
            "This map": [line.value for line in lines],
            "To hold it against": [line.baseline for line in lines],
            "Meaning": [line.meaning for line in lines],
        }
    )
    st.caption(escaped(shown.test.words))
    st.table(frame.set_index("Test"))
    st.caption(f"Measured on the {shown.test.num_windows} window(s) with the most saliency, in the network's own units.")


def held_box(subject: Subject, excerpt: Excerpt) -> TimeFrequencyBox | None:
    """The box that was drawn or typed for this excerpt."""
    held = st.session_state.get(_BOX)
    return held[1] if held and held[0] == (subject.key, excerpt.start_s) else None


def hold_box(subject: Subject, excerpt: Excerpt, box: TimeFrequencyBox | None) -> None:
    """Keeps a box for this excerpt, or forgets it."""
    st.session_state[_BOX] = ((subject.key, excerpt.start_s), box)
    st.session_state[_NUM_BOXES] = st.session_state.get(_NUM_BOXES, 0) + 1


def _take_box(key: str, subject: Subject, excerpt: Excerpt) -> None:
    """Runs when a box was dragged over a figure, or its frame was clicked away."""
    try:
        box = drawn_box(st.session_state[key].selection.box, excerpt)
    except CoreError as error:
        st.session_state["saliency-box-error"] = str(error)
        return
    st.session_state[_BOX] = ((subject.key, excerpt.start_s), box)


def _identity(subject: Subject, excerpt: Excerpt, choice: MapChoice) -> tuple:
    return (
        subject.sha256,
        subject.detection.channel,
        excerpt.start_s,
        choice.detector.hash,
        choice.method,
        choice.layer,
        choice.target,
    )
