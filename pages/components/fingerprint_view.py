"""Two groups' fingerprints side by side, all groups as a heat map, and what may be concluded from them."""

from __future__ import annotations

import streamlit as st

from core.fingerprints.figures import band_comparison_figure, heat_figure, time_figure, zone_figure
from core.fingerprints.frames import band_frame, size_frame, time_frame
from core.fingerprints.groups import with_at_least
from core.fingerprints.records import FRAME_TITLES, FingerprintSet
from core.fingerprints.words import (
    HOW_TO_READ,
    common_words,
    difference_words,
    measured_words,
    reliability_words,
    resolution_words,
    size_words,
    words_of_tests,
)
from pages.components.figure_view import show_figure
from pages.components.fingerprint_choices import Pair
from pages.components.frame import escaped

_AXES = {"From the first sound to the last": "relative", "Seconds from the first sound": "onset"}
_LEAST = (1, 2, 3, 5, 8, 10, 20)
_HEAT = {"As it is": False, "Less bona fide": True}


def show_said(measured: FingerprintSet, pair: Pair) -> None:
    """The comparison in sentences, and what it rests on."""
    sentences = difference_words(pair.comparison, measured.summary)
    with st.container(border=True):
        st.markdown("\n".join(f"- {escaped(sentence)}" for sentence in sentences))
        warning = reliability_words(pair.comparison)
        if warning:
            st.warning(escaped(warning), icon=":material/warning:")
        for fingerprint in (pair.first, pair.second):
            words = " ".join(filter(None, (f"{fingerprint.key}: {size_words(fingerprint)}.", common_words(fingerprint))))
            st.caption(escaped(words))


def show_bands(measured: FingerprintSet, pair: Pair) -> None:
    """Both groups over bands, and their difference."""
    comparison = pair.comparison
    drawn = [f for f in (pair.first, pair.second, pair.reference) if f is not None]
    show_figure(
        band_comparison_figure(measured, comparison, pair.fingerprints),
        key="fingerprint-bands",
        words=f"Mean saliency over bands of {comparison.first} and {comparison.second}, and their difference",
        numbers=band_frame(measured, drawn, comparison.frames),
        title=f"Over frequency: {FRAME_TITLES[comparison.frames].lower()}" if measured.summary.has_frequencies else "Over bands",
    )
    st.caption(
        "Above: means with 95 % intervals, each band by itself. Below: the difference, with an interval that holds for all bands "
        "at once (speakers are shuffled between the two); where it keeps off 0 the bands are shaded. "
        f"{resolution_words(measured.summary)}"
    )


def show_time(pair: Pair) -> None:
    """Where in the recording both look: speech and pauses, and time."""
    left, right = st.columns(2, gap="medium")
    with left:
        drawn = [f for f in (pair.first, pair.second, pair.reference) if f is not None]
        show_figure(
            zone_figure(pair.first, pair.second, pair.reference),
            key="fingerprint-zones",
            words="Share of the saliency in speech, in pauses, before the first sound and after the last",
            numbers=size_frame(drawn),
            title="Speech and pauses",
        )
        st.caption(
            "Bars: share of the saliency, with 95 % intervals. Ticks: share of the time; bars beyond their tick are sought out."
        )
    with right:
        st.markdown("**Over time**")
        chosen = st.segmented_control(
            "Over time", list(_AXES), default=next(iter(_AXES)), required=True, key="fingerprint-axis", label_visibility="collapsed"
        )
        show_figure(
            time_figure(pair.first, pair.second, pair.reference, axis=_AXES[chosen]),
            key="fingerprint-time",
            words="Mean saliency over time, aligned to the first sound",
            numbers=time_frame(drawn, _AXES[chosen]),
        )
        if _AXES[chosen] == "onset":
            st.caption("Steps that fewer than half of a group's recordings reach are left out.")


def show_groups(measured: FingerprintSet, pair: Pair) -> None:
    """Every group over bands."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    view = row.segmented_control("Show", list(_HEAT), default="As it is", required=True, key="fingerprint-heat")
    usual = 3 if pair.grouping == "family" else 5
    least = row.select_slider(
        "At least so many recordings", _LEAST, value=usual, key=f"fingerprint-least-{pair.grouping}", width=260
    )
    shown = with_at_least(pair.fingerprints, least)
    has_reference = any(f.key == "bona fide" for f in shown)
    show_figure(
        heat_figure(measured, shown, frames=pair.comparison.frames, less_bona_fide=_HEAT[view] and has_reference),
        key="fingerprint-groups",
        words="Mean saliency of every group over bands",
        numbers=band_frame(measured, shown, pair.comparison.frames),
    )
    st.caption("In brackets the number of recordings. Rows of a handful of recordings are mostly chance.")


def show_sizes(pair: Pair) -> None:
    """How many recordings each rests on, and where its saliency lies."""
    with st.expander("Numbers of all groups"):
        frame = size_frame(pair.fingerprints)
        percent = st.column_config.NumberColumn(format="percent")
        shares = [name for name in frame.columns if frame[name].dtype == "float64"]
        st.dataframe(frame, hide_index=True, column_config=dict.fromkeys(shares, percent), alt="Size and shares of every group")


def show_limits(measured: FingerprintSet) -> None:
    """What these figures do not say."""
    with st.expander("How to read this, and what it does not say", expanded=True):
        st.markdown(HOW_TO_READ)
        st.markdown(words_of_tests(measured))
        st.caption(escaped(measured_words(measured.summary)))
